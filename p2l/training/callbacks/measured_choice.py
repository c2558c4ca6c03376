"""Measure the trained model's choice of an LLM on the measured scores of the held-out prompts."""

import json
import logging
from dataclasses import asdict
from pathlib import Path

import numpy as np
from lightning import Trainer

from p2l.data import ScoreVotes, VoteDataModule
from p2l.errors import ConfigError
from p2l.evaluation.choice_of_best import choice_of_best
from p2l.files import write_whole
from p2l.training.callbacks.end_of_run import EndOfRun
from p2l.training.callbacks.rank_in_training import rank_in_training
from p2l.training.lightning_module import P2LModule

log = logging.getLogger(__name__)


class MeasuredChoice(EndOfRun):
    """Logs ``scores/*`` with the final weights and writes ``measured_choice.json``; needs ``data=scores``.

    The figures do not depend on how pairs became votes, so they compare runs with different ``data.rule``: see
    ``p2l.evaluation.choice_of_best``.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def finish(self, trainer: Trainer, module: P2LModule, data: VoteDataModule) -> None:
        if not isinstance(data.source, ScoreVotes):
            raise ConfigError(
                "callbacks.measured needs measured scores: data=scores, or drop it by ~callbacks.measured"
            )
        if data.votes.val is None:
            log.warning("callbacks.measured has no held-out prompts to measure on; give data.val or data.val_share")
            return
        rankings = rank_in_training(trainer, module, data.prompts("val"), data.eval_token_budget)
        if not trainer.is_global_zero:
            return
        measured, place = data.source.measured, {turns: i for i, turns in enumerate(data.table("val").prompts)}
        held_out = measured["val"]
        rows = np.array([i for i, turns in enumerate(held_out.prompts) if turns in place])  # prompts with a pair
        coefs = rankings.coefs[[place[held_out.prompts[i]] for i in rows]].double().numpy()
        found = choice_of_best(coefs, held_out.rows(rows), measured["train"].mean_score())
        log.info("held-out scores: %s", found)
        with write_whole(self.folder / "measured_choice.json") as file:
            json.dump(asdict(found), file, indent=1)
        numbers = {name: value for name, value in asdict(found).items() if isinstance(value, float)}
        for logger in trainer.loggers:
            logger.log_metrics({f"scores/{name}": value for name, value in numbers.items()})
