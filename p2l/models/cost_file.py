"""The cost head in a checkpoint folder: ``costs.npz``, which the published format does not have and a reader may skip.

It is not a safetensors file, since a loader that reads all of them would take its numbers for weights of the network.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from torch import Tensor

from p2l.errors import CheckpointError
from p2l.heads.cost_head import CostHead, CostWeights
from p2l.models.fingerprint import head_digest

COST_FILE = "costs.npz"
_REFIT = f"fit the costs again (p2l fit-costs), or delete {COST_FILE} to go without predicted costs"


def save_cost_head(folder: Path, head: CostHead, models: Sequence[str], weights: Mapping[str, Tensor]) -> None:
    """Write the file; ``weights``: the ``head.*`` tensors beside it without their prefix, by which it is recognised."""
    texts = {"unit": head.unit, "beside": head_digest(weights), "report": json.dumps(head.report)}
    about = {"models": np.array(models), **{name: np.array(text) for name, text in texts.items()}}
    with (folder / COST_FILE).open("xb") as file:
        np.savez(file, allow_pickle=False, **about, **head.weights._asdict())


def load_cost_head(
    folder: Path, models: Sequence[str], hidden_size: int, weights: Mapping[str, Tensor]
) -> CostHead | None:
    """Read the file; None if there is none.

    Raises CheckpointError if it is damaged, or was not written for these models, this size and these weights.
    """
    path = folder / COST_FILE
    if not path.exists():
        return None
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            numbers = CostWeights(*(file[name] for name in CostWeights._fields))
            named, report = [str(name) for name in file["models"]], json.loads(str(file["report"]))
            unit, beside = str(file["unit"]), str(file["beside"])
    except (OSError, ValueError, KeyError, TypeError, BadZipFile, EOFError) as error:
        raise CheckpointError(f"{path} cannot be read ({type(error).__name__}: {error}); {_REFIT}") from error
    if named != list(models):
        raise CheckpointError(f"{path} is of {name_difference(named, models)}; {_REFIT}")
    if problem := _problem(numbers, len(named), hidden_size):
        raise CheckpointError(f"{path} {problem}; {_REFIT}")
    if beside != head_digest(weights):
        raise CheckpointError(f"{path} was written beside other weights: hidden states may have changed; {_REFIT}")
    return CostHead(numbers, unit, report)


def name_difference(named: Sequence[str], models: Sequence[str]) -> str:
    """Describe how a list of models differs from that of the checkpoint."""
    if odd := sorted(set(named) ^ set(models)):
        return f"other models than model_list.json ({', '.join(odd[:3])}{', ...' if len(odd) > 3 else ''} in one only)"
    return "the models of model_list.json in another order"


def _problem(numbers: CostWeights, num_models: int, hidden_size: int) -> str | None:
    """Return what is wrong with the numbers; None if they fit."""
    for name, values in numbers._asdict().items():
        wanted = (num_models, hidden_size) if name == "weight" else (num_models,)
        if values.shape != wanted or values.dtype.kind != "f":
            return f"has {name} of shape {values.shape}; {wanted} is needed (models, hidden size {hidden_size})"
    known = numbers.known
    if not all(np.isfinite(values[known]).all() for values in numbers):
        return "holds numbers that are not finite"
    low, high, factor = numbers.low[known], numbers.high[known], numbers.factor[known]
    if not ((low > 0) & (low <= high) & (factor > 0) & (numbers.mean[known] > 0) & (numbers.bound[known] >= 1)).all():
        return "holds costs that are not above 0, or a range whose ends are exchanged"
    return None
