"""The auto-evaluation suite: every metric of every category, for each source file, as one JSON each."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from p2l.data.battles import BattleTable
from p2l.data.categories import Category, find_category
from p2l.errors import ConfigError, DataError
from p2l.evaluation.arena import NATS_PER_POINT, ArenaRatings
from p2l.evaluation.output import EvaluationOutput
from p2l.evaluation.rankings import EvaluationData
from p2l.evaluation.sections import EvaluationMetrics
from p2l.evaluation.simple import UndefinedError
from p2l.evaluation.sources import EvaluationSource, load_train
from p2l.evaluation.subjects import MODEL_TYPES, Leaderboards, check_choice
from p2l.types import Ranking

log = logging.getLogger(__name__)

Train = tuple[BattleTable, pd.DataFrame]


@dataclass(frozen=True)
class EvaluationSuite:
    """What to evaluate, by which metrics, in which categories.

    Attributes:
        categories: names of ``known_categories``, or ``column=value``.
        model_type: the rankings of the source ("p2l"), or one leaderboard for all prompts: the fit of the training
            votes ("marginal") or of these votes ("marginal-gt"), or Arena's.
        train_path, hf_train_dataset: training votes, for the marginal; the local ones where both are given.
        train_checkpoints, checkpoint_size: also fit the marginal to the first n x size training votes, for each n.
        arena_path, arena_scale: Arena's ratings, and how they become coefficients.
    """

    source: EvaluationSource
    metrics: EvaluationMetrics
    output: EvaluationOutput
    categories: Sequence[str]
    known_categories: Mapping[str, Mapping[str, Any]]
    model_type: str = "p2l"
    train_path: str | None = None
    hf_train_dataset: str | None = None
    train_checkpoints: Sequence[int] = ()
    checkpoint_size: int = 0
    arena_path: str | None = None
    arena_scale: str = "elo"

    def __post_init__(self) -> None:
        check_choice("model_type", self.model_type, MODEL_TYPES)
        check_choice("arena_scale", self.arena_scale, NATS_PER_POINT)
        for option, files in self.source.paths.items():
            if len(files) != len(self.output.names):
                raise ConfigError(
                    f"{option} names {len(files)} files and output_file_name {len(self.output.names)}; give as many"
                )
        if self.train_checkpoints and (self.model_type != "marginal" or self.checkpoint_size < 1):
            raise ConfigError("train_checkpoints go with model_type=marginal and a checkpoint_size of at least 1")
        for name in self.categories:
            find_category(name, self.known_categories)

    def run(self, options: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Evaluate every source file and save its results; ``options`` are written with them as ``params``."""
        arena = None if self.arena_path is None else ArenaRatings.read(self.arena_path)
        every = []
        for number, name in enumerate(self.output.names):
            files = {option: paths[number] for option, paths in self.source.paths.items()}
            data = self.source.load(number, with_rankings=self.model_type == "p2l")
            models, omitted = self.evaluate(data, self._load_train(data), arena)
            params = {**options, **files, "output_file_name": name, "loss_type": data.family.name}
            results = {"params": params, "models": models, "omitted": omitted}
            self.output.save(results, name)
            every.append(results)
        return every

    def evaluate(
        self, data: EvaluationData, train: Train | None = None, arena: ArenaRatings | None = None
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """The results by "<model_type>-<category>", and why other categories have none; ``DataError`` if all have."""
        results: dict[str, Any] = {}
        omitted: dict[str, str] = {}
        for name in self.categories:
            for suffix, part in self._train_parts(train):
                entry = f"{self.model_type}-{name}{suffix}"
                try:
                    results[entry] = self._evaluate(find_category(name, self.known_categories), data, part, arena)
                except (DataError, UndefinedError) as reason:
                    omitted[entry] = " ".join(str(reason).split())
                    log.warning("%s is left out: %s", entry, omitted[entry])
        if not results:
            raise DataError("; ".join(f"{entry}: {reason}" for entry, reason in omitted.items()))
        return results, omitted

    def _load_train(self, data: EvaluationData) -> Train | None:
        source = self.train_path or self.hf_train_dataset
        if source is None:
            return None
        return load_train(source, self.source.model_list() or data.votes.models)

    def _train_parts(self, train: Train | None) -> Iterator[tuple[str, Train | None]]:
        """The training votes, and then their first ones for each checkpoint, with the published suffix."""
        yield "", train
        for checkpoint in self.train_checkpoints:
            if train is None:
                raise ConfigError("train_checkpoints need train_path or hf_train_dataset")
            rows = np.arange(min(checkpoint * self.checkpoint_size, len(train[0])))
            yield f"-checkpoint-{checkpoint}", (train[0].select(rows), train[1].iloc[rows])

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
        sections, omitted = self.metrics.take(self.model_type, Leaderboards(votes, data.family, train_votes, board))
        return {**sections, "omitted": {**left_out, **omitted}}

    def _arena_board(self, category: Category, models: tuple[str, ...], arena: ArenaRatings | None) -> Ranking | str:
        """Arena's ratings of a category, or why there are none."""
        if arena is None:
            return "there are no Arena ratings; give arena_path"
        if category.arena is None or category.arena not in arena.by_category:
            return f"Arena has no ratings of {category.arena or category.name}"
        return arena.leaderboard(category.arena, models, self.arena_scale)


def _in_category(category: Category, train: Train | None) -> tuple[BattleTable | None, dict[str, str]]:
    """The training votes of a category, and why there are none."""
    if train is None:
        return None, {}
    try:
        rows = np.flatnonzero(category.rows(train[1]))
    except DataError as reason:
        return None, {"training votes": str(reason)}
    if not len(rows):
        return None, {"training votes": "none is in this category"}
    return train[0].select(rows), {}
