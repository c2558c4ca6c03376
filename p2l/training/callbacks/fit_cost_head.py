"""Fit the head that predicts costs, when the ranking head is trained."""

from collections.abc import Sequence
from pathlib import Path

from lightning import Trainer
from torch import Tensor

from p2l.data import ScoreVotes, VoteDataModule
from p2l.data.encoding import encode_prompts
from p2l.evaluation.cost_report import cost_head_of, summary, write_report
from p2l.training.callbacks.end_of_run import EndOfRun
from p2l.training.callbacks.rank_in_training import hidden_in_training
from p2l.training.lightning_module import P2LModule

UNIT = "dollars"  # of the costs of ``ScoreVotes``


class FitCosts(EndOfRun):
    """Gives the model a cost head for the final weights, logs ``costs/*`` and writes ``predicted_costs.json``.

    It is fitted to the costs of the training scores in closed form (``p2l.evaluation.cost_fit``), so the coefficients
    do not depend on it, and judged on the held-out prompts. List it before ``PublishCheckpoint``, which stores it.
    Without measured costs to predict, it does nothing.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def finish(self, trainer: Trainer, module: P2LModule, data: VoteDataModule) -> None:
        source = data.source
        if not isinstance(source, ScoreVotes) or not source.predicts_costs:
            return

        def hidden_of(prompts: Sequence[tuple[str, ...]]) -> Tensor:
            encoded = encode_prompts(data.encoder, prompts, progress=False)
            return hidden_in_training(trainer, module, encoded, data.eval_token_budget)

        measured, ranking_head = source.measured, module.model.head
        head = cost_head_of(hidden_of, measured["train"], measured.get("val"), data.models, UNIT)
        ranking_head.cost_head = head.to(next(ranking_head.parameters()).device)
        if trainer.is_global_zero and head.report:
            write_report(head.report, self.folder)
            for logger in trainer.loggers:
                logger.log_metrics({f"costs/{name}": value for name, value in summary(head.report).items()})
