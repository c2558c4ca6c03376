"""Votes predicted: log loss and accuracy of validation and test votes, beside the marginal leaderboard's."""

import json
import logging
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from p2l.data.votes import VoteTable
from p2l.evaluation.report import Comparison, compare_to_marginal
from p2l.evaluation.votes import score_votes
from p2l.files import write_whole
from p2l.leaderboard import count_outcomes, fit_marginal
from p2l.types import Ranking

log = logging.getLogger(__name__)


class EvaluateVotes(Callback):
    """Scores validation and test votes by the rankings of their prompts, over all ranks.

    Logs ``val/log_loss`` (nats a vote), ``val/accuracy`` and ``val/log_loss_minus_marginal``, the same for test. On
    ``trainer.validate`` it writes ``eval_output.jsonl`` (the votes with ``betas`` and ``eta``, as published), and on
    ``trainer.test`` ``test_report.json`` (the comparison with the marginal fit, with intervals over prompts).
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self._parts: list[tuple[Tensor, Ranking]] = []
        self._marginal: Ranking | None = None
        self.comparison: Comparison | None = None

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._parts = []

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._parts = []

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: tuple[Tensor, Ranking],
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._parts.append(_to_cpu(*outputs))

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: tuple[Tensor, Ranking],
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._parts.append(_to_cpu(*outputs))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        votes = trainer.datamodule.table("val")
        if trainer.sanity_checking:
            return
        rankings = self._rankings(len(votes.prompts))
        self._log("val", votes, rankings, trainer, pl_module)
        if trainer.state.fn == TrainerFn.VALIDATING and trainer.is_global_zero:
            write_eval_output(self.folder / "eval_output.jsonl", votes, rankings)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        votes = trainer.datamodule.table("test")
        rankings = self._rankings(len(votes.prompts))
        self._log("test", votes, rankings, trainer, pl_module)
        self.comparison = compare_to_marginal(pl_module.family, rankings, self._fit(trainer, pl_module), votes)
        if trainer.is_global_zero:
            log.info("test votes\n%s", self.comparison)
            self.folder.mkdir(parents=True, exist_ok=True)
            with write_whole(self.folder / "test_report.json") as file:
                json.dump(self.comparison.to_dict(), file, indent=1)

    def _log(
        self, split: str, votes: VoteTable, rankings: Ranking, trainer: Trainer, pl_module: LightningModule
    ) -> None:
        ours = score_votes(pl_module.family, rankings, votes).mean()
        marginal = score_votes(pl_module.family, self._fit(trainer, pl_module), votes).mean()
        pl_module.log(f"{split}/log_loss", ours["log_loss"], prog_bar=True, rank_zero_only=False)
        pl_module.log(f"{split}/accuracy", ours["accuracy"], prog_bar=True)
        pl_module.log(f"{split}/log_loss_minus_marginal", ours["log_loss"] - marginal["log_loss"])

    def _fit(self, trainer: Trainer, pl_module: LightningModule) -> Ranking:
        if self._marginal is None:
            votes = trainer.datamodule.table("train")
            self._marginal = fit_marginal(count_outcomes(votes, pl_module.family), pl_module.family)
        return self._marginal

    def _rankings(self, num_prompts: int) -> Ranking:
        """The rankings of all prompts, gathered from all ranks, in the order of the table's prompts."""
        parts = self._parts
        if dist.is_available() and dist.is_initialized():
            shares: list[Any] = [None] * dist.get_world_size()
            dist.all_gather_object(shares, parts)
            parts = [part for share in shares for part in share]
        index = torch.cat([index for index, _ in parts])
        coefs = torch.cat([ranking.coefs for _, ranking in parts])
        table = torch.full((num_prompts, coefs.shape[1]), torch.nan)
        table[index] = coefs
        if parts[0][1].eta is None:
            return Ranking(table, None)
        eta = torch.full((num_prompts,), torch.nan)
        eta[index] = torch.cat([ranking.eta for _, ranking in parts if ranking.eta is not None])
        return Ranking(table, eta)


def write_eval_output(path: Path, votes: VoteTable, rankings: Ranking) -> None:
    """The votes as JSON lines with ``betas`` (coefficients) and ``eta`` of their prompt: the published file."""
    frame = votes.frame.copy()
    betas = rankings.coefs.double().numpy().round(6)
    frame["betas"] = [betas[i].tolist() for i in votes.prompt_index]
    if rankings.eta is not None:
        frame["eta"] = rankings.eta.double().numpy()[votes.prompt_index]
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_whole(path) as file:
        frame.to_json(file, orient="records", lines=True, force_ascii=False, date_format="iso")


def _to_cpu(index: Tensor, ranking: Ranking) -> tuple[Tensor, Ranking]:
    return index.cpu(), Ranking(ranking.coefs.float().cpu(), None if ranking.eta is None else ranking.eta.float().cpu())
