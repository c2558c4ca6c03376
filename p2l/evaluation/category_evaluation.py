"""The evaluation of each category: every requested metric of its votes."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from p2l.data.battle_table import BattleTable
from p2l.data.categories import Category, find_category
from p2l.errors import DataError
from p2l.evaluation.arena_ratings import NATS_PER_POINT, ArenaRatings
from p2l.evaluation.candidates import MODEL_TYPES, Leaderboards
from p2l.evaluation.metric_sections import EvaluationMetrics
from p2l.evaluation.ranked_tables import EvaluationData
from p2l.evaluation.simple_metrics import UndefinedError
from p2l.options import check_any, check_choice
from p2l.types import Ranking

log = logging.getLogger(__name__)

Train = tuple[BattleTable, pd.DataFrame]


@dataclass(frozen=True)
class CategoryEvaluation:
    """Which metrics to compute, of which candidate, in which categories.

    Attributes:
        categories: names of ``known_categories``, or ``column=value``.
        model_type: the candidate: the rankings of the data ("p2l"), or one leaderboard for all prompts. That is the fit
            of the training votes ("marginal") or of these votes ("marginal-gt"), or Arena's ratings ("arena").
        arena_scale: a key of ``NATS_PER_POINT``: how Arena's ratings become coefficients.
    """

    metrics: EvaluationMetrics
    categories: Sequence[str]
    known_categories: Mapping[str, Mapping[str, Any]]
    model_type: str = "p2l"
    arena_scale: str = "elo"

    def __post_init__(self) -> None:
        check_any("categories", self.categories)
        check_choice("model_type", self.model_type, MODEL_TYPES)
        check_choice("arena_scale", self.arena_scale, NATS_PER_POINT)
        for name in self.categories:
            find_category(name, self.known_categories)

    def evaluate(
        self, data: EvaluationData, train: Train | None = None, arena: ArenaRatings | None = None, suffix: str = ""
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """Return the results by "<model_type>-<category><suffix>", and the reason for each category without results."""
        results: dict[str, Any] = {}
        omitted: dict[str, str] = {}
        for name in self.categories:
            entry = f"{self.model_type}-{name}{suffix}"
            try:
                results[entry] = self._evaluate(find_category(name, self.known_categories), data, train, arena)
            except (DataError, UndefinedError) as reason:
                omitted[entry] = " ".join(str(reason).split())
                log.warning("%s is left out: %s", entry, omitted[entry])
        return results, omitted

    def _evaluate(
        self, category: Category, data: EvaluationData, train: Train | None, arena: ArenaRatings | None
    ) -> dict[str, Any]:
        rows = np.flatnonzero(category.rows(data.frame))
        if not len(rows):
            raise DataError("no vote is in it")
        log.info("%s: %d votes", category.name, len(rows))
        votes = data.votes.select(rows)
        train_votes, left_out = _in_category(category, train)
        board = self._arena_board(category, votes.models, arena)
        sections, omitted = self.metrics.compute(self.model_type, Leaderboards(votes, data.family, train_votes, board))
        return {**sections, "omitted": {**left_out, **omitted}}

    def _arena_board(self, category: Category, models: tuple[str, ...], arena: ArenaRatings | None) -> Ranking | str:
        """Return Arena's ratings of a category, or the reason why there are none."""
        if arena is None:
            return "there are no Arena ratings; give arena_path"
        if category.arena is None or category.arena not in arena.by_category:
            return f"Arena has no ratings of {category.arena or category.name}"
        return arena.leaderboard(category.arena, models, self.arena_scale)


def _in_category(category: Category, train: Train | None) -> tuple[BattleTable | None, dict[str, str]]:
    """Return the training votes of a category, or None with the reason."""
    if train is None:
        return None, {}
    try:
        rows = np.flatnonzero(category.rows(train[1]))
    except DataError as reason:
        return None, {"training votes": str(reason)}
    if not len(rows):
        return None, {"training votes": "none is in this category"}
    return train[0].select(rows), {}
