"""Votes predicted: log loss and accuracy of validation and test votes, beside the marginal leaderboard's."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.distributed as dist
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from p2l.data.votes import VoteTable
from p2l.evaluation.report import Comparison, compare_to_marginal
from p2l.evaluation.votes import score_votes
from p2l.files import write_whole
from p2l.leaderboard import fit_votes
from p2l.training.callbacks.rank import RankedPart, assemble, to_cpu
from p2l.training.callbacks.typed import parts_of
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
        self._parts: list[RankedPart] = []
        self._marginal: Ranking | None = None
        self.comparison: Comparison | None = None

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._parts = []

    on_test_epoch_start = on_validation_epoch_start

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._parts.append(to_cpu(outputs))

    on_test_batch_end = on_validation_batch_end

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking:
            return
        votes, rankings = self._ranked("val", trainer, pl_module)
        self._log("val", votes, rankings, trainer, pl_module)
        if trainer.state.fn == TrainerFn.VALIDATING and trainer.is_global_zero:
            write_eval_output(self.folder / "eval_output.jsonl", votes, rankings)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        votes, rankings = self._ranked("test", trainer, pl_module)
        self._log("test", votes, rankings, trainer, pl_module)
        module, _ = parts_of(trainer, pl_module)
        self.comparison = compare_to_marginal(module.family, rankings, self._fit(trainer, pl_module), votes)
        if trainer.is_global_zero:
            log.info("test votes\n%s", self.comparison)
            with write_whole(self.folder / "test_report.json") as file:
                json.dump(self.comparison.to_dict(), file, indent=1)

    def _log(
        self, split: str, votes: VoteTable, rankings: Ranking, trainer: Trainer, pl_module: LightningModule
    ) -> None:
        module, _ = parts_of(trainer, pl_module)
        ours = score_votes(module.family, rankings, votes).mean()
        marginal = score_votes(module.family, self._fit(trainer, pl_module), votes).mean()
        # all ranks have the same numbers; sync_dist says so to Lightning
        module.log(f"{split}/log_loss", ours["log_loss"], prog_bar=True, sync_dist=True)
        module.log(f"{split}/accuracy", ours["accuracy"], prog_bar=True, sync_dist=True)
        module.log(f"{split}/log_loss_minus_marginal", ours["log_loss"] - marginal["log_loss"], sync_dist=True)

    def _fit(self, trainer: Trainer, pl_module: LightningModule) -> Ranking:
        if self._marginal is None:
            module, data = parts_of(trainer, pl_module)
            self._marginal = fit_votes(data.table("train"), module.family)
        return self._marginal

    def _ranked(self, split: str, trainer: Trainer, pl_module: LightningModule) -> tuple[VoteTable, Ranking]:
        """The votes of a split and the rankings of their prompts, gathered from all ranks.

        Where the trainer limits the batches, only the votes whose prompts were run.
        """
        votes, parts = parts_of(trainer, pl_module)[1].table(split), self._parts
        if dist.is_available() and dist.is_initialized():
            shares: list[Any] = [None] * dist.get_world_size()
            dist.all_gather_object(shares, parts)
            parts = [part for share in shares for part in share]
        rankings = assemble(parts, len(votes.prompts))
        was_run = np.zeros(len(votes.prompts), dtype=bool)
        was_run[torch.cat([index for index, _ in parts]).numpy()] = True
        if was_run.all():
            return votes, rankings
        rows = np.flatnonzero(was_run[votes.prompt_index])
        kept = torch.from_numpy(pd.unique(votes.prompt_index[rows]))
        return votes.select(rows), Ranking(rankings.coefs[kept], None if rankings.eta is None else rankings.eta[kept])


def write_eval_output(path: Path, votes: VoteTable, rankings: Ranking) -> None:
    """The votes as JSON lines with ``betas`` (coefficients) and ``eta`` of their prompt: the published file."""
    frame = votes.frame.copy()
    betas = rankings.coefs.double().numpy().round(6)
    frame["betas"] = [betas[i].tolist() for i in votes.prompt_index]
    if rankings.eta is not None:
        frame["eta"] = rankings.eta.double().numpy()[votes.prompt_index]
    with write_whole(path) as file:
        frame.to_json(file, orient="records", lines=True, force_ascii=False, date_format="iso")
