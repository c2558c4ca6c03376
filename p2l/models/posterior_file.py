"""The posterior of the head in a checkpoint folder: ``posterior.npz``, which the published format does not have.

A reader may skip it. As with the costs, it is no safetensors file, whose numbers a loader would take for weights.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from torch import Tensor

from p2l.errors import CheckpointError
from p2l.head_posterior import HeadPosterior
from p2l.heads.posterior_head import PosteriorHead
from p2l.models.cost_file import name_difference
from p2l.models.fingerprint import head_digest

POSTERIOR_FILE = "posterior.npz"
_ARRAYS = ("centre", "directions", "curvature", "output_directions", "output_information", "level_covariance")
_NUMBERS = ("scale", "residual")
_REFIT = f"fit it again (p2l posterior), or delete {POSTERIOR_FILE} to go without intervals"


def save_posterior(
    folder: Path, posterior: HeadPosterior, models: Sequence[str], weights: Mapping[str, Tensor]
) -> None:
    """Write the file; ``weights``: the ``head.*`` tensors beside it without their prefix, by which it is recognised.

    Raises CheckpointError, and writes nothing, if ``load_posterior`` would refuse the numbers.
    """
    arrays = {name: getattr(posterior, name).astype(np.float32) for name in _ARRAYS}
    numbers = {name: float(getattr(posterior, name)) for name in _NUMBERS}
    if problem := _problem(arrays, numbers, len(posterior.centre), len(posterior.output_information)):
        raise CheckpointError(f"the posterior {problem}; it is not written")
    texts = {"beside": np.array(head_digest(weights)), "report": np.array(json.dumps(posterior.report))}
    with (folder / POSTERIOR_FILE).open("xb") as file:
        np.savez(file, allow_pickle=False, models=np.array(models), **arrays, **numbers, **texts)


def load_posterior(
    folder: Path, models: Sequence[str], hidden_size: int, num_outputs: int, weights: Mapping[str, Tensor]
) -> PosteriorHead | None:
    """Read the file; None if there is none.

    Raises CheckpointError if it is damaged, or was not written for these models, sizes and weights.
    """
    path = folder / POSTERIOR_FILE
    if not path.exists():
        return None
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: _real(file[name]) for name in _ARRAYS}
            numbers = {name: float(file[name]) for name in _NUMBERS}
            named, beside = [str(name) for name in file["models"]], str(file["beside"])
            report = json.loads(str(file["report"]))
    except (OSError, ValueError, KeyError, TypeError, BadZipFile, EOFError) as error:
        raise CheckpointError(f"{path} cannot be read ({type(error).__name__}: {error}); {_REFIT}") from error
    if named != list(models):
        raise CheckpointError(f"{path} is of {name_difference(named, models)}; {_REFIT}")
    if problem := _problem(arrays, numbers, hidden_size, num_outputs):
        raise CheckpointError(f"{path} {problem}; {_REFIT}")
    if beside != head_digest(weights):
        raise CheckpointError(f"{path} was written beside other weights, whose errors it does not describe; {_REFIT}")
    return PosteriorHead(
        HeadPosterior(
            **arrays, scale=numbers["scale"], residual=numbers["residual"], num_models=len(named), report=report
        )
    )


def _real(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind != "f":
        raise ValueError(f"expected real numbers, found {values.dtype}")
    return values.astype(np.float64)


def _problem(
    arrays: Mapping[str, np.ndarray], numbers: Mapping[str, float], hidden_size: int, num_outputs: int
) -> str | None:
    """Return what is wrong with the numbers; None if they fit."""
    sizes = {"centre": (hidden_size,), "directions": (hidden_size, hidden_size), "curvature": (hidden_size,)}
    sizes |= dict.fromkeys(("output_directions", "level_covariance"), (num_outputs, num_outputs))
    sizes["output_information"] = (num_outputs,)
    for name, wanted in sizes.items():
        if arrays[name].shape != wanted:
            return f"has {name} of shape {arrays[name].shape}; {wanted} is needed"
    if not all(np.isfinite(values).all() for values in (*arrays.values(), *map(np.asarray, numbers.values()))):
        return "holds numbers that are not finite"
    if min(arrays["curvature"].min(), arrays["output_information"].min(), numbers["residual"]) < 0:
        return "holds negative information or a negative variance"
    if numbers["scale"] <= 0:
        return "holds a scale that is not above 0"
    level = arrays["level_covariance"]
    if np.linalg.eigvalsh((level + level.T) / 2).min() < -1e-5 * max(np.abs(level).max(), 1e-30):
        return "holds a level_covariance that is no covariance: a variance is negative"
    return None
