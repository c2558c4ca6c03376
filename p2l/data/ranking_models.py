"""What a table of rankings says of its checkpoint: the LLMs (``models``, of ``p2l predict names=true``), and eta."""

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd

from p2l.data.text_lists import read_lists
from p2l.errors import DataError
from p2l.outcomes import OutcomeFamily

log = logging.getLogger(__name__)

MODELS, COEFS, ETA = "models", ("betas", "coefs"), "eta"


def coefs_column(frame: pd.DataFrame) -> str | None:
    """Return the column of the coefficients; None if there is none."""
    return next((name for name in COEFS if name in frame.columns), None)


def check_unused_eta(frame: pd.DataFrame, family: OutcomeFamily, source: str, option: str) -> None:
    """Warn, naming ``option``, if the rankings have an eta that the family does not use."""
    if ETA in frame.columns and not family.num_eta:
        log.warning("%s has eta, which family %s does not use; check %s", source, family.name, option)


def named_models(frame: pd.DataFrame, source: str) -> tuple[str, ...] | None:
    """Return the LLM of each coefficient; None if the table does not name them.

    Raises DataError, naming ``source`` and the row, if two rows name other LLMs.
    """
    coefs = coefs_column(frame)
    if MODELS not in frame.columns or coefs is None:
        return None
    rows = np.flatnonzero(frame[MODELS].notna())  # eval_output.jsonl names them once
    lists = (read_lists(frame[name].iloc[rows]) for name in (MODELS, coefs))
    first: tuple[str, ...] | None = None
    for row, names, numbers in zip(rows.tolist(), *lists, strict=True):
        if not isinstance(names, (list, np.ndarray)) or not isinstance(numbers, (list, np.ndarray)):
            continue
        if len(names) != len(numbers):  # a column of another meaning
            return None
        first = first or tuple(map(str, names))
        if first != tuple(map(str, names)):
            raise DataError(
                f"{source}: row {row} ranks other models than the rows before; rank each table by one checkpoint"
            )
    return first


def check_named_models(frame: pd.DataFrame, models: Sequence[str], source: str) -> None:
    """Raise DataError if the table names other LLMs than ``models``, or in another order."""
    named = named_models(frame, source)
    if named is None or named == tuple(models):
        return
    at = next((i for i, pair in enumerate(zip(named, models)) if pair[0] != pair[1]), min(len(named), len(models)))
    own, given = (names[at] if at < len(names) else "none" for names in (named, tuple(models)))
    raise DataError(
        f"{source} ranks {len(named)} models, of which number {at + 1} is {own}, but {given} in the list of "
        f"{len(models)} that was given; give the list of the checkpoint that ranked them"
    )
