"""What a table of votes holds: outcomes, models, the graph of comparisons, prompts, times, repeated votes."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int64
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from p2l.data.repeated_votes import repeated_votes
from p2l.data.timestamps import read_times
from p2l.data.vote_table import VoteTable
from p2l.errors import DataError
from p2l.winner import OUTCOMES

RARE = 100  # votes: the strength of a model is then uncertain by about 35 Elo points (a standard error)
_QUANTILES = {"median": 0.5, "90 %": 0.9, "99 %": 0.99, "max": 1.0}
# smallest number of a unit since 1970 -> pandas' name of the unit
_UNITS = {1e8: "s", 1e11: "ms", 1e14: "us", 1e17: "ns"}

CountTokens = Callable[[Sequence[str]], Sequence[int]]


@dataclass(frozen=True)
class TableSummary:
    """What the valid votes of a table hold.

    Attributes:
        votes: their number; ``weight`` their total weight, None if they have no weights.
        outcomes: share of the votes by outcome.
        models: votes of each model, most first; ``rare`` are those with fewer than ``RARE``.
        never_won, never_lost: models without a win, or without a loss.
        parts: models that the votes connect, largest part first; one part is what a leaderboard needs.
        pairs: pairs of models that met.
        prompts: distinct ones; ``repeated`` have several votes, ``most_votes`` is the largest number.
        turns: prompts by number of user turns.
        characters, tokens: quantiles of the length of a prompt; tokens without special ones, None if not counted.
        first, last: timestamps, None if there are none; ``time_problem`` says why they have no order.
        duplicates: votes that repeat an earlier one: prompt, models, outcome, and conversation and time if given; the
            sides may have changed.
    """

    votes: int
    weight: float | None
    outcomes: dict[str, float]
    models: dict[str, int]
    rare: tuple[str, ...]
    never_won: tuple[str, ...]
    never_lost: tuple[str, ...]
    parts: tuple[tuple[str, ...], ...]
    pairs: int
    prompts: int
    repeated: int
    most_votes: int
    turns: dict[int, int]
    characters: dict[str, int]
    tokens: dict[str, int] | None
    first: str | None
    last: str | None
    time_problem: str | None
    duplicates: int


def summarise(table: VoteTable, count_tokens: CountTokens | None = None) -> TableSummary:
    """Summarise the votes of a table; ``count_tokens`` returns the number of tokens of each text."""
    counts = votes_of_models(table)
    won, lost = _wins_and_losses(table)
    on_prompt = np.bincount(table.prompt_index, minlength=len(table.prompts))
    characters, turns = _sizes(table.prompts)
    first, last, problem = _times(table.frame)
    outcomes = np.average(table.outcome_shares, axis=0).tolist()
    return TableSummary(
        votes=len(table),
        weight=float(table.weight.sum()) if "weight" in table.frame.columns else None,
        outcomes=dict(zip((outcome.value for outcome in OUTCOMES), outcomes, strict=True)),
        models=dict(counts.most_common()),
        rare=tuple(sorted(name for name, count in counts.items() if count < RARE)),
        never_won=tuple(sorted(name for name in counts if not won[name])),
        never_lost=tuple(sorted(name for name in counts if not lost[name])),
        parts=connected_models(table),
        pairs=len(np.unique(np.sort(np.column_stack([table.model_a, table.model_b])), axis=0)),
        prompts=len(table.prompts),
        repeated=int((on_prompt > 1).sum()),
        most_votes=int(on_prompt.max()),
        turns=dict(sorted(Counter(turns.tolist()).items())),
        characters=_quantiles(characters),
        tokens=None if count_tokens is None else _quantiles(count_tokens(["\n".join(p) for p in table.prompts])),
        first=first,
        last=last,
        time_problem=problem,
        duplicates=int(repeated_votes(table).sum()),
    )


def votes_of_models(table: VoteTable) -> Counter[str]:
    """Return the number of votes of each model that has any."""
    counts = np.bincount(np.concatenate([table.model_a, table.model_b]), minlength=len(table.models))
    return Counter({name: int(count) for name, count in zip(table.models, counts, strict=True) if count})


def connected_models(table: VoteTable) -> tuple[tuple[str, ...], ...]:
    """Return the models that the votes connect, directly or through others, by part, the largest first."""
    label = connected_parts(table.model_a, table.model_b, len(table.models))
    parts: dict[int, list[str]] = {}
    for name, part in zip(table.models, label, strict=True):
        if part >= 0:
            parts.setdefault(int(part), []).append(name)
    return tuple(tuple(parts[part]) for part in sorted(parts))


def connected_parts(
    model_a: Int64[np.ndarray, " votes"], model_b: Int64[np.ndarray, " votes"], num_models: int
) -> Int64[np.ndarray, " models"]:
    """Return the part of each model in the graph of pairs that met, 0 the largest; -1 for a model without votes."""
    graph = coo_matrix((np.ones(len(model_a)), (model_a, model_b)), shape=(num_models, num_models))
    label = connected_components(graph, directed=False)[1].astype(np.int64)
    voted = np.zeros(num_models, dtype=bool)
    voted[model_a] = voted[model_b] = True
    sizes = np.bincount(label[voted], minlength=label.max() + 1)
    place = np.empty_like(sizes)
    place[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    return np.where(voted, place[label], -1)


def _wins_and_losses(table: VoteTable) -> tuple[Counter[str], Counter[str]]:
    wins, losses = (Counter[str](), Counter[str]())
    for side, other, column in ((table.model_a, table.model_b, 0), (table.model_b, table.model_a, 1)):
        won = table.outcome_shares[:, column] > 0
        for models, into in ((side[won], wins), (other[won], losses)):
            into.update({table.models[i]: int(n) for i, n in enumerate(np.bincount(models)) if n})
    return wins, losses


def _sizes(prompts: Sequence[Sequence[str]]) -> Int64[np.ndarray, "2 prompts"]:
    """Return the characters of each prompt, turns joined by a line end, and its number of turns."""
    sizes = np.zeros((2, len(prompts)), dtype=np.int64)
    for row, turns in enumerate(prompts):
        sizes[:, row] = sum(map(len, turns)) + len(turns) - 1, len(turns)
    return sizes


def _quantiles(lengths: Sequence[int] | Int64[np.ndarray, " prompts"]) -> dict[str, int]:
    return {name: int(np.quantile(lengths, q, method="higher")) for name, q in _QUANTILES.items()}


def _times(frame: pd.DataFrame) -> tuple[str | None, str | None, str | None]:
    """Return the first and the last time, or why there are none."""
    if "timestamp" not in frame.columns:
        return None, None, None
    try:
        times = read_times(frame["timestamp"])
    except DataError as problem:
        return None, None, str(problem)
    missing = int(times.isna().sum())
    gaps = f"timestamp is missing in {missing:,} of {len(times):,} votes" if missing else None
    known = times.dropna()
    return (_date(known.min()), _date(known.max()), gaps) if len(known) else (None, None, gaps)


def _date(time: Any) -> str:
    """Return a time in ISO 8601; a number that cannot be a time since 1970 stays as it is."""
    if isinstance(time, pd.Timestamp):
        return time.isoformat()
    unit = next((unit for least, unit in reversed(_UNITS.items()) if time >= least), None)
    return f"{time:.17g}" if unit is None else pd.Timestamp(time, unit=unit).isoformat(timespec="seconds")
