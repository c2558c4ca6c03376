"""Run the evaluation suite at each validation: metrics by category, leaderboards and plots."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lightning import Trainer
from lightning.pytorch.loggers import WandbLogger

from p2l.data import VoteDataModule
from p2l.data.vote_table import VoteTable
from p2l.evaluation import CategoryEvaluation, RankedVotes
from p2l.evaluation.evaluation_output import rounded, save_plots
from p2l.evaluation.ranked_tables import EvaluationData
from p2l.files import write_whole
from p2l.training.callbacks.ranking_callback import RankingCallback
from p2l.training.lightning_module import P2LModule
from p2l.types import Ranking


class EvaluateSuite(RankingCallback):
    """Computes the metrics of ``evaluation`` on validation and test votes; the marginal is fitted to training votes.

    Numbers go to the loggers as ``<split>_suite/<category>/<metric>``; leaderboards (tables) and plots go to W&B.
    Everything goes to ``folder``/evaluations: ``<split>-<step>.json`` in the published layout, and its plots.
    """

    def __init__(self, folder: str, evaluation: CategoryEvaluation) -> None:
        super().__init__()
        self.folder, self.evaluation = Path(folder) / "evaluations", evaluation

    def evaluate(
        self, split: str, trainer: Trainer, module: P2LModule, data: VoteDataModule, votes: VoteTable, rankings: Ranking
    ) -> None:
        if not trainer.is_global_zero:
            return
        ranked = RankedVotes(votes.battles, rankings, votes.prompt_index, votes.prompt_index)
        train = data.table("train")
        models, omitted = self.evaluation.evaluate(
            EvaluationData(ranked, votes.frame, module.family), (train.battles, train.frame)
        )
        name = f"{split}-{trainer.global_step}"
        with write_whole(self.folder / f"{name}.json") as file:
            json.dump(rounded({"models": models, "omitted": omitted}), file, indent=1)
        plots = save_plots(models, self.folder, name, dpi=110)
        prefix = f"{self.evaluation.model_type}-"
        numbers = {f"{split}_suite/{path.removeprefix(prefix)}": value for path, value in _numbers(models)}
        for logger in trainer.loggers:
            logger.log_metrics(numbers, step=trainer.global_step)
            if isinstance(logger, WandbLogger):
                for key, plot in plots.items():
                    logger.log_image(f"{split}_suite/{key}", [str(plot)])
                for entry, sections in models.items():
                    self._log_leaderboard(logger, f"{split}_suite/{entry.removeprefix(prefix)}/leaderboard", sections)

    def _log_leaderboard(self, logger: WandbLogger, key: str, sections: Mapping[str, Any]) -> None:
        boards = sections.get("category_metrics", {}).get("Leaderboard")
        if boards is None:
            return
        rows = [
            [kind, rank, *line.rsplit(": ", 1)]
            for kind, lines in boards.items()
            for rank, line in enumerate(lines, start=1)
        ]
        logger.log_table(key, columns=["leaderboard", "rank", "model", "coef"], data=rows)


def _numbers(results: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, float]]:
    """Yield the numbers of nested results with their paths, without names of sections."""
    for key, value in results.items():
        here = path if key.endswith("_metrics") else f"{path}/{key}" if path else key
        if isinstance(value, Mapping):
            yield from _numbers(value, here)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield here, float(value)
