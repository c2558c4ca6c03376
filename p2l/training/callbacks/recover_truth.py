"""Measure how much of the known truth of the simulated arena a model recovers."""

import logging

import numpy as np
from lightning import LightningModule, Trainer

from p2l.data import VoteDataModule
from p2l.data.simulated import SimulatedVotes, mean_spearman
from p2l.errors import ConfigError
from p2l.leaderboard import fit_votes
from p2l.training.callbacks.end_of_run import EndOfRun
from p2l.training.callbacks.rank_in_training import rank_in_training
from p2l.training.callbacks.run_parts import run_parts
from p2l.training.lightning_module import P2LModule

log = logging.getLogger(__name__)


class RecoverTruth(EndOfRun):
    """Compares the leaderboards of the validation prompts to the true ones of the simulated arena.

    Logs the mean Spearman correlation over prompts, for the model and for the marginal leaderboard, and keeps both in
    ``spearman``.
    """

    def __init__(self) -> None:
        self.spearman: dict[str, float] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not isinstance(run_parts(trainer, pl_module)[1].source, SimulatedVotes):
            raise ConfigError("callbacks.truth needs the truth, which only data=simulated has")

    def finish(self, trainer: Trainer, module: P2LModule, data: VoteDataModule) -> None:
        assert isinstance(data.source, SimulatedVotes)
        votes = data.table("val")
        rankings = rank_in_training(trainer, module, data.prompts("val"), data.eval_token_budget)
        first_vote = np.unique(votes.prompt_index, return_index=True)[1]
        truth = data.source.arena().true_coefs(votes.frame.iloc[first_vote])
        marginal = fit_votes(data.table("train"), module.model.head.family).coefs.numpy()
        self.spearman = {
            "p2l": mean_spearman(rankings.coefs.double().numpy(), truth),
            "marginal": mean_spearman(np.tile(marginal, (len(truth), 1)), truth),
        }
        if trainer.is_global_zero:
            log.info(
                "Spearman with the true leaderboards of %d held-out prompts: p2l %.3f, one leaderboard for all %.3f",
                len(truth),
                self.spearman["p2l"],
                self.spearman["marginal"],
            )
            for logger in trainer.loggers:
                logger.log_metrics({f"truth/spearman_{name}": value for name, value in self.spearman.items()})
