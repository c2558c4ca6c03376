"""Load and check the votes that new models are fitted to."""

import logging
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from p2l.data.battle_table import BattleColumns
from p2l.data.vote_checks import name_doubts, shown_names
from p2l.data.vote_evidence import table_with_evidence
from p2l.data.vote_frame import read_vote_frame
from p2l.data.vote_table import REQUIRED_COLUMNS, VoteTable, convert_votes
from p2l.data.winner_labels import WinnerMap, check_labels
from p2l.errors import ConfigError, DataError
from p2l.outcomes import OutcomeFamily

log = logging.getLogger(__name__)


def load_new_model_votes(
    source: str,
    known: Sequence[str],
    new: Sequence[str] | None,
    family: OutcomeFamily,
    *,
    split: str = "train",
    refit: bool = False,
    max_skipped_share: float = 0.05,
    columns: Mapping[str, str] | None = None,
    winner_map: WinnerMap | None = None,
) -> tuple[VoteTable, tuple[str, ...]]:
    """Return the votes of a file, folder or hub dataset that a new model took part in, and the names of new models.

    If ``new`` is None, all names that are not ``known`` are new, sorted. ``refit`` allows known names in ``new``.
    ``columns`` and ``winner_map`` as in ``p2l.data.load_votes``. Raises ``ConfigError`` if a model of ``new`` is known,
    and ``DataError`` if no model is new or one has no vote with evidence in ``family``.
    """
    frame = read_vote_frame(source, split, columns=columns, winner_map=winner_map)
    voted = _voted_models(frame, source)
    names = tuple(new) if new is not None else tuple(sorted(voted - set(known)))
    _check_names(names, known, source, refit)
    _check_voted(names, voted, known, source)
    for doubt in name_doubts({*known, *names}):
        log.warning("%s", doubt)
    models = (*known, *(name for name in names if name not in known))
    table, report = convert_votes(frame, source, models, max_skipped_share)
    check_labels(report, max_skipped_share, source)
    log.info("votes from %s: %s", source, report)
    positions = [models.index(name) for name in names]
    rows = np.flatnonzero(np.isin(table.model_a, positions) | np.isin(table.model_b, positions))
    if len(rows) < len(table):
        log.info("ignored %d votes between known models", len(table) - len(rows))
    if not len(rows):
        raise DataError(f"{source} has no vote with {', '.join(names)}")
    votes = table_with_evidence("train", table.select(rows), family)
    _check_counts(votes, names, family)
    return votes, names


def _voted_models(frame: pd.DataFrame, source: str) -> set[str]:
    columns = BattleColumns.of(frame, source, REQUIRED_COLUMNS)
    return {name for side in (columns.model_a, columns.model_b) for name in side.values if name is not None}


def _check_voted(names: tuple[str, ...], voted: set[str], known: Sequence[str], source: str) -> None:
    """Raise DataError if no vote names a new model; the votes of a model outside the lists would be skipped."""
    absent, others = sorted(set(names) - voted), sorted(voted - set(known) - set(names))
    if absent:
        has = (
            f"models with votes that the checkpoint does not rank: {shown_names(others)}"
            if others
            else "it has no other new model"
        )
        raise DataError(
            f"new: no vote of {source} is about {', '.join(map(repr, absent))}; {has}. Give new=[<names>], or leave it "
            "out for all of them"
        )


def _check_names(names: tuple[str, ...], known: Sequence[str], source: str, refit: bool) -> None:
    if not names:
        raise DataError(
            f"no model in {source} is new: the checkpoint ranks all of them; give new=[<names>] refit=true to fit rows "
            f"of known models again"
        )
    if len(set(names)) < len(names):
        raise ConfigError(f"new names a model twice: {next(n for n in names if names.count(n) > 1)}")
    ranked = [name for name in names if name in known]
    if ranked and not refit:
        raise ConfigError(
            f"the checkpoint ranks {', '.join(ranked)} already; give refit=true to fit these rows again, or leave them "
            f"out of new"
        )


def _check_counts(votes: VoteTable, names: tuple[str, ...], family: OutcomeFamily) -> None:
    counts = dict(zip(votes.models, votes_of_models(votes), strict=True))
    if silent := [name for name in names if counts[name] == 0]:
        raise DataError(
            f"no vote carries evidence under {family.name!r} on {', '.join(silent)}; give votes with each new "
            f"model, or leave it out of new"
        )


def votes_of_models(votes: VoteTable) -> list[float]:
    """Return the total weight of the votes that each model took part in."""
    a, b = (np.bincount(side, votes.weight, len(votes.models)) for side in (votes.model_a, votes.model_b))
    return [float(count) for count in a + b]
