"""Leaderboards of subsets of the votes compared to the truth: how many prompts does a leaderboard need?"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor
from tqdm import tqdm

from p2l.errors import ConfigError
from p2l.evaluation.candidates import RIDGE, Candidate
from p2l.evaluation.category_metrics import COMPARISONS, LeaderboardPair
from p2l.evaluation.ranked_votes import RankedVotes
from p2l.evaluation.simple_metrics import check_names, measure
from p2l.leaderboard import fit_subsets
from p2l.options import check_count
from p2l.outcomes import OutcomeFamily
from p2l.types import Ranking

_ROWS_AT_ONCE = 25_000  # rows of all subsets between two updates of the progress bar

Rows = Int[Tensor, "subsets size"]
Section = tuple[dict[str, dict[str, Any]], dict[str, str]]


@dataclass(frozen=True)
class SubsetPlan:
    """Which comparisons to average, over how many subsets (``num_samples``) of each of the ``sizes``."""

    metrics: Sequence[str]
    sizes: Sequence[int]
    num_samples: Sequence[int]

    def __post_init__(self) -> None:
        check_names(self.metrics, COMPARISONS)
        if len(self.sizes) != len(self.num_samples):
            raise ConfigError(
                f"sizes and num_samples need the same length; got {len(self.sizes)} and {len(self.num_samples)}"
            )
        for name, counts in (("sizes", self.sizes), ("num_samples", self.num_samples)):
            for count in counts:
                check_count(f"each of the subset {name}", count)


def random_subsets(
    plan: SubsetPlan, candidate: Candidate, votes: RankedVotes, family: OutcomeFamily, seed: int
) -> Section:
    """Compare the candidate's leaderboard of a subset (drawn without replacement) to the fit of the same votes."""
    rng = np.random.default_rng(seed)

    def draw(number: int, size: int) -> Rows:
        drawn = [rng.choice(len(votes), size, replace=False, shuffle=False) for _ in range(number)]
        return torch.from_numpy(np.stack(drawn))

    def compare(rows: Rows) -> tuple[Ranking, Ranking]:
        return fit_subsets(votes.battles, family, rows, ridge=RIDGE), _of_subsets(candidate, rows)

    return _over_sizes("random subsets", plan, votes, family, draw, compare)


def aggregation_scale(
    plan: SubsetPlan, candidate: Candidate, truth: Ranking, votes: RankedVotes, family: OutcomeFamily, seed: int
) -> Section:
    """Compare the candidate's leaderboard of votes drawn with replacement to the truth of all votes."""
    rng = np.random.default_rng(seed)

    def draw(number: int, size: int) -> Rows:
        return torch.from_numpy(rng.integers(len(votes), size=(number, size)))

    def compare(rows: Rows) -> tuple[Ranking, Ranking]:
        return _repeat(truth, len(rows)), _of_subsets(candidate, rows)

    return _over_sizes("aggregation scale", plan, votes, family, draw, compare)


def _of_subsets(candidate: Candidate, rows: Rows) -> Ranking:
    return _repeat(candidate.leaderboard, len(rows)) if candidate.of_subsets is None else candidate.of_subsets(rows)


def _repeat(leaderboard: Ranking, number: int) -> Ranking:
    eta = None if leaderboard.eta is None else leaderboard.eta.expand(number)
    return Ranking(leaderboard.coefs.expand(number, -1), eta)


def _over_sizes(
    name: str,
    plan: SubsetPlan,
    votes: RankedVotes,
    family: OutcomeFamily,
    draw: Callable[[int, int], Rows],
    compare: Callable[[Rows], tuple[Ranking, Ranking]],
) -> Section:
    results: dict[str, dict[str, Any]] = {}
    omitted: dict[str, str] = {}
    for size, number in zip(plan.sizes, plan.num_samples, strict=True):
        if size > len(votes):
            omitted[f"{name} of {size}"] = f"there are {len(votes):,} votes"
            continue
        found: list[dict[str, Any]] = []
        with tqdm(total=number, desc=f"{name} of {size}", leave=False, disable=None) as bar:
            for count in _shares(number, max(1, _ROWS_AT_ONCE // size)):
                pairs = _pairs(*compare(draw(count, size)), votes.models, family)
                measured = [measure(COMPARISONS, plan.metrics, pair) for pair in pairs]
                found += [values for values, _ in measured]
                omitted |= {f"{metric} in some {name} of {size}": why for _, o in measured for metric, why in o.items()}
                bar.update(count)
        results[str(size)] = {
            m: _mean([v[m] for v in found if m in v]) for m in plan.metrics if any(m in v for v in found)
        }
    return results, omitted


def _shares(number: int, at_once: int) -> Iterator[int]:
    for start in range(0, number, at_once):
        yield min(at_once, number - start)


def _pairs(
    truths: Ranking, models: Ranking, names: tuple[str, ...], family: OutcomeFamily
) -> Iterator[LeaderboardPair]:
    for i in range(len(models.coefs)):
        truth, model = (side.map(lambda x: x[i]) for side in (truths, models))  # noqa: B023
        yield LeaderboardPair.between_rated(names, truth, model, family, None)


def _mean(values: Sequence[Any]) -> Any:
    """Return the mean of numbers, or the mean of each entry of dicts of numbers."""
    if isinstance(values[0], dict):
        return {key: _mean([value[key] for value in values]) for key in values[0]}
    return float(np.mean(values))
