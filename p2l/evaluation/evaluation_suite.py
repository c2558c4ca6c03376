"""The evaluation suite: every metric of every category, one JSON file for each source file."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from p2l.errors import ConfigError, DataError
from p2l.evaluation.arena_ratings import ArenaRatings
from p2l.evaluation.category_evaluation import CategoryEvaluation, Train
from p2l.evaluation.cost_report import summary, write_report
from p2l.evaluation.evaluation_output import EvaluationOutput
from p2l.evaluation.evaluation_sources import EvaluationSource, load_train
from p2l.evaluation.ranked_tables import EvaluationData
from p2l.options import check_count


@dataclass(frozen=True)
class EvaluationSuite:
    """An evaluation of source files that writes a result for each.

    Attributes:
        train_path, hf_train_dataset: training votes for the marginal fit; the local ones win if both are given.
        train_columns: names in that table of some columns; the source's ``winner_map`` holds for it too.
        train_checkpoints, checkpoint_size: for each n, also fit the marginal to the first n x size training votes.
        arena_path: Arena's ratings.
    """

    source: EvaluationSource
    evaluation: CategoryEvaluation
    output: EvaluationOutput
    train_path: str | None = None
    hf_train_dataset: str | None = None
    train_columns: Mapping[str, str] | None = None
    train_checkpoints: Sequence[int] = ()
    checkpoint_size: int = 0
    arena_path: str | None = None

    def __post_init__(self) -> None:
        for option, files in self.source.paths.items():
            if len(files) != len(self.output.names):
                raise ConfigError(
                    f"{option} names {len(files)} files and output_file_name {len(self.output.names)}; give as many"
                )
        check_count("checkpoint_size", self.checkpoint_size, least=0)
        for checkpoint in self.train_checkpoints:
            check_count("each of train_checkpoints", checkpoint)
        if self.train_checkpoints and (self.evaluation.model_type != "marginal" or self.checkpoint_size < 1):
            raise ConfigError("train_checkpoints go with model_type=marginal and a checkpoint_size of at least 1")

    def run(self, options: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Evaluate every source file and save its results, with ``options`` as ``params``.

        Raises ``DataError`` if no category of a file has results.
        """
        arena = None if self.arena_path is None else ArenaRatings.read(self.arena_path)
        every = []
        for number, name in enumerate(self.output.names):
            files = {option: paths[number] for option, paths in self.source.paths.items()}
            data = self.source.load(number, with_rankings=self.evaluation.model_type == "p2l")
            models, omitted = self._evaluate(data, arena)
            params = {**options, **files, "output_file_name": name, "loss_type": data.family.name}
            results = {"params": params, "models": models, "omitted": omitted}
            if data.costs is not None:
                results["predicted_costs"] = summary(data.costs)
            self.output.save(results, name)
            if data.costs is not None and self.output.output_dir is not None:
                write_report(data.costs, self.output.output_dir)
            every.append(results)
        return every

    def _evaluate(self, data: EvaluationData, arena: ArenaRatings | None) -> tuple[dict[str, Any], dict[str, str]]:
        models: dict[str, Any] = {}
        omitted: dict[str, str] = {}
        for suffix, part in self._train_parts(self._load_train(data)):
            of_part, left_out = self.evaluation.evaluate(data, part, arena, suffix)
            models |= of_part
            omitted |= left_out
        if not models:
            raise DataError("; ".join(f"{entry}: {reason}" for entry, reason in omitted.items()))
        return models, omitted

    def _load_train(self, data: EvaluationData) -> Train | None:
        source = self.train_path or self.hf_train_dataset
        if source is None:
            return None
        models = self.source.model_list() or data.votes.models
        return load_train(source, models, columns=self.train_columns, winner_map=self.source.winner_map)

    def _train_parts(self, train: Train | None) -> Iterator[tuple[str, Train | None]]:
        """Yield all training votes, then the first ones for each checkpoint, with the published suffix."""
        yield "", train
        for checkpoint in self.train_checkpoints:
            if train is None:
                raise ConfigError("train_checkpoints need train_path or hf_train_dataset")
            rows = np.arange(min(checkpoint * self.checkpoint_size, len(train[0])))
            yield f"-checkpoint-{checkpoint}", (train[0].select(rows), train[1].iloc[rows])
