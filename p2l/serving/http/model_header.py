"""The header by which an endpoint names its model, so that kept answers can be told from those of another model."""

from collections.abc import Mapping

MODEL_HEADER = "x-p2l-model"  # value: ``Predictor.fingerprint``


def model_of(headers: Mapping[str, str]) -> str | None:
    """Return the name of the model in an endpoint's headers; published endpoints send none."""
    return next((value for name, value in headers.items() if name.lower() == MODEL_HEADER), None)


def list_of(identity: str | None) -> str:
    """Return the part of a model's name that stands for the list of ranked models and the family."""
    return "" if identity is None else identity.partition(".")[0]
