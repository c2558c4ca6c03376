"""Log loss and accuracy on validation and test votes, compared to the marginal leaderboard."""

import json
import logging
import math
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
from lightning import LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from p2l.data import VoteDataModule
from p2l.data.ranking_models import MODELS
from p2l.data.vote_table import VoteTable
from p2l.evaluation.marginal_report import Comparison, compare_to_marginal
from p2l.evaluation.vote_scores import score_votes, standard_error_of_difference
from p2l.files import write_whole
from p2l.json_output import write_json_table
from p2l.leaderboard import fit_votes
from p2l.training.callbacks.ranking_callback import RankingCallback
from p2l.training.lightning_module import P2LModule
from p2l.types import Ranking

log = logging.getLogger(__name__)


class EvaluateVotes(RankingCallback):
    """Scores validation and test votes by the rankings of their prompts, over all ranks.

    A checkpoint of the fit holds the metrics of the last validation and its step: ``validated_metrics`` reads them.
    Logs ``val/log_loss`` (nats a vote), ``val/accuracy``, ``val/log_loss_minus_marginal`` and its standard error over
    prompts, ``val/log_loss_minus_marginal_error``, and the same for test. At the end of ``trainer.validate`` it writes
    ``eval_output.jsonl`` (the votes with ``betas`` and ``eta``, as published). On ``trainer.test`` it writes
    ``test_report.json`` (the comparison to the marginal fit, with intervals over prompts).
    """

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.folder = Path(folder)
        self._marginal: Ranking | None = None
        self._validated: tuple[VoteTable, Ranking] | None = None
        self._in_fit: dict[str, Any] = {}
        self.comparison: Comparison | None = None

    def evaluate(
        self, split: str, trainer: Trainer, module: P2LModule, data: VoteDataModule, votes: VoteTable, rankings: Ranking
    ) -> None:
        marginal = self._fit(module, data)
        metrics = self._log(split, module, votes, rankings, marginal)
        if trainer.state.fn == TrainerFn.FITTING:
            self._in_fit = {"step": trainer.global_step, "metrics": metrics}
        if split == "val" and trainer.state.fn == TrainerFn.VALIDATING and trainer.is_global_zero:
            self._validated = votes, rankings
        if split == "test":
            self.comparison = compare_to_marginal(module.family, rankings, marginal, votes)
            if trainer.is_global_zero:
                log.info("test votes\n%s", self.comparison)
                with write_whole(self.folder / "test_report.json") as file:
                    json.dump(self.comparison.to_dict(), file, indent=1)

    def state_dict(self) -> dict[str, Any]:
        return self._in_fit

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._in_fit = state_dict

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self._validated is not None:
            write_eval_output(self.folder / "eval_output.jsonl", *self._validated)
            self._validated = None

    def _log(
        self, split: str, module: P2LModule, votes: VoteTable, rankings: Ranking, marginal: Ranking
    ) -> dict[str, float]:
        ours = score_votes(module.family, rankings, votes)
        theirs = score_votes(module.family, marginal, votes)
        means, error = ours.mean(), standard_error_of_difference(ours, theirs, "log_loss")
        metrics = {
            f"{split}/log_loss": means["log_loss"],
            f"{split}/accuracy": means["accuracy"],
            f"{split}/log_loss_minus_marginal": means["log_loss"] - theirs.mean()["log_loss"],
            **({} if math.isnan(error) else {f"{split}/log_loss_minus_marginal_error": error}),
        }
        for name, value in metrics.items():
            # all ranks have the same numbers; sync_dist silences a warning of Lightning
            module.log(name, value, prog_bar="marginal" not in name, sync_dist=True)
        return {name: float(value) for name, value in metrics.items()}

    def _fit(self, module: P2LModule, data: VoteDataModule) -> Ranking:
        if self._marginal is None:
            self._marginal = fit_votes(data.table("train"), module.family)
        return self._marginal


def write_eval_output(path: Path, votes: VoteTable, rankings: Ranking) -> None:
    """Write the votes as JSON lines with ``betas`` (coefficients) and ``eta`` of their prompt: the published file.

    The first row names the LLMs of the coefficients (``models``), unless the votes have such a column.
    Columns that JSON cannot represent, such as images, are omitted and named in a warning.
    """
    fits = [name for name in votes.frame if _fits_json(votes.frame[[name]])]
    if left_out := [str(name) for name in votes.frame if name not in fits]:
        log.warning("%s is without the columns %s, which JSON cannot hold", path.name, ", ".join(left_out))
    frame = votes.frame[fits].copy()
    betas = rankings.coefs.double().numpy().round(6)
    frame["betas"] = [betas[i].tolist() for i in votes.prompt_index]
    if MODELS not in frame and len(frame):
        frame[MODELS] = pd.Series([list(votes.models), *[None] * (len(frame) - 1)], index=frame.index, dtype=object)
    if rankings.eta is not None:
        frame["eta"] = rankings.eta.double().numpy()[votes.prompt_index]
    with write_whole(path) as file:
        write_json_table(frame, file, lines=True)


def _fits_json(frame: pd.DataFrame) -> bool:
    try:
        write_json_table(frame, StringIO(), lines=True)
    except (TypeError, ValueError, RecursionError):  # bytes that are not text; recursive objects
        return False
    return True
