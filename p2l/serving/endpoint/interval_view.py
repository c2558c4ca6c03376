"""Render the intervals of a prompt's leaderboard, from the posterior of the checkpoint's head."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64

from p2l.arrays import to_numpy
from p2l.head_posterior import HeadPosterior
from p2l.outcomes import OutcomeFamily
from p2l.ranking.leaderboard_intervals import coef_intervals, outputs_of, pair_intervals
from p2l.types import Ranking

LEVEL = 0.95


@dataclass(frozen=True)
class IntervalView:
    """The intervals that one request asks for.

    Attributes:
        posterior, family: of the checkpoint.
        level: of each interval; the ranges of ranks hold for all models of the leaderboard at once.
        columns: the models on the leaderboard.
        comparable: which of them were compared; None for all.
        reference: the model that the entries are compared to; None for none.
        pairs: models whose outcomes are shown.
    """

    posterior: HeadPosterior
    family: OutcomeFamily
    level: float
    columns: Int64[np.ndarray, " models"]
    comparable: Bool[np.ndarray, "models models"] | None
    reference: int | None
    pairs: Int64[np.ndarray, "pairs 2"]

    def add(self, board: dict[str, Any], ranking: Ranking, places: Sequence[int]) -> dict[str, Any]:
        """Return the leaderboard of one prompt with intervals; ``places``: positions in ``columns`` of its entries."""
        outputs, covariance = outputs_of(ranking), self.posterior.covariance(to_numpy(ranking.states))
        ends = self._of_entries(outputs, covariance, np.array(places, dtype=np.int64))
        rows = zip(*(values.tolist() for values in ends.values()), strict=True)
        entries = [
            {**entry, **dict(zip(ends, row, strict=True))} for entry, row in zip(board["ranking"], rows, strict=True)
        ]
        of_pairs = [] if not len(self.pairs) else self._of_pairs(outputs, covariance)
        pairs = [{**pair, "intervals": found} for pair, found in zip(board["pairs"], of_pairs, strict=True)]
        return {**board, "ranking": entries, "pairs": pairs}

    def _of_entries(
        self,
        outputs: Float64[np.ndarray, " outputs"],
        covariance: Float64[np.ndarray, "outputs outputs"],
        places: Int64[np.ndarray, " entries"],
    ) -> dict[str, np.ndarray]:
        """Return the fields of the entries, by name."""
        coefs, own = outputs[self.columns], covariance[np.ix_(self.columns, self.columns)]
        every = coef_intervals(coefs, own, self.level, self.comparable)
        found = {name: values[places] for name, values in every.items()}
        if self.reference is not None:
            pairs = np.column_stack((self.columns[places], np.full(len(places), self.reference)))
            ends = pair_intervals(outputs, covariance, self.family, pairs, self.level, num_outcomes=1)
            found |= {"win_probability_low": ends[0, :, 0], "win_probability_high": ends[1, :, 0]}
        return found

    def _of_pairs(
        self, outputs: Float64[np.ndarray, " outputs"], covariance: Float64[np.ndarray, "outputs outputs"]
    ) -> list[dict[str, list[float]]]:
        low, high = pair_intervals(outputs, covariance, self.family, self.pairs, self.level)
        ends = np.stack((low, high), axis=-1).tolist()
        return [dict(zip(self.family.outcomes, of_pair, strict=True)) for of_pair in ends]
