"""Recalibrate a checkpoint to held-out votes and write it again, with what that changed."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from rich.table import Table

from p2l.composition.config_objects import make
from p2l.console import table_console
from p2l.data import VoteTable, load_votes
from p2l.data.vote_evidence import evidence_doubts, table_with_evidence
from p2l.data.winner_labels import WinnerMap
from p2l.evaluation.calibration import calibration_error, gaps_by_prompt
from p2l.evaluation.recalibration import Recalibration, cross_fitted, fit_recalibration
from p2l.evaluation.vote_scores import bootstrap_difference, log_probs_and_targets, score_votes
from p2l.files import write_whole
from p2l.models import Checkpoint, save_checkpoint
from p2l.models.predictor import Predictor, fastest_device
from p2l.options import check_count, check_seed, check_share
from p2l.outcomes import OutcomeFamily
from p2l.types import Ranking

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CalibrationJob:
    """Fold one scale and shift of coefs and eta, fitted to votes, into the head of a checkpoint.

    Writes ``checkpoint/`` (published format) and ``calibration.json`` in ``output_dir``. The losses before and after
    are on the same votes, but each vote is judged by the map fitted to other prompts. If that does not lower the log
    loss, no checkpoint is written.

    Attributes:
        votes: file, folder or hub dataset of votes that the model was not trained on.
        split, max_skipped_share, columns, winner_map: as in ``p2l.data.FileVotes``.
        seed: of the folds and the interval.
        token_budget: most tokens, padding included, in a batch of prompts.
    """

    votes: str
    output_dir: str
    split: str = "train"
    max_skipped_share: float = 0.05
    columns: Mapping[str, str] | None = None
    winner_map: WinnerMap | None = None
    seed: int = 0
    token_budget: int = 16384

    def __post_init__(self) -> None:
        check_share("max_skipped_share", self.max_skipped_share)
        check_count("token_budget", self.token_budget)
        check_seed(self.seed)

    def run(self, checkpoint: Checkpoint) -> Checkpoint | None:
        """Return the recalibrated checkpoint; None if the votes show no gain."""
        votes = self._read(checkpoint)
        predictor = Predictor(checkpoint, device=fastest_device())
        rankings = predictor.rank(votes.prompts, token_budget=self.token_budget)
        found = fit_recalibration(checkpoint.family, rankings, votes)
        report = compare(checkpoint.family, rankings, votes, found, self.seed)
        _print(report)
        with write_whole(Path(self.output_dir) / "calibration.json") as file:
            json.dump(report, file, indent=1)
        if report["difference"]["value"] >= 0:
            log.warning("the votes show no gain from recalibration: no checkpoint was written")
            return None
        return self._write(checkpoint, found, report)

    def _read(self, checkpoint: Checkpoint) -> VoteTable:
        table, skipped = load_votes(
            self.votes,
            split=self.split,
            models=checkpoint.models,
            max_skipped_share=self.max_skipped_share,
            columns=self.columns,
            winner_map=self.winner_map,
        )
        log.info("votes from %s: %s", self.votes, skipped)
        table = table_with_evidence("held-out", table, checkpoint.family)
        for doubt in evidence_doubts("votes", table):
            log.warning("%s", doubt)
        return table

    def _write(self, checkpoint: Checkpoint, found: Recalibration, report: dict[str, Any]) -> Checkpoint:
        head = checkpoint.model.head
        head.rescale(found.scale, torch.from_numpy(found.offset), found.eta_scale, found.eta_offset)
        again = replace(checkpoint, recipe={**checkpoint.recipe, "calibration": report})
        folder = save_checkpoint(Path(self.output_dir) / "checkpoint", again)
        log.info("checkpoint: %s", folder)
        return again


def compare(
    family: OutcomeFamily, rankings: Ranking, votes: VoteTable, found: Recalibration, seed: int = 0
) -> dict[str, Any]:
    """Return log loss and calibration error before and after, cross-fitted, and the difference with its interval."""
    after = cross_fitted(family, rankings, votes, seed)
    scores = [score_votes(family, one, votes) for one in (rankings, after)]
    difference = bootstrap_difference(scores[1], scores[0], "log_loss", seed=seed)
    losses = [one.mean()["log_loss"] for one in scores]
    errors = [_calibration_error(family, one, votes) for one in (rankings, after)]
    return {
        "votes": len(votes),
        "prompts": len(votes.prompts),
        "log_loss": {"before": losses[0], "after": losses[1]},
        "difference": {"value": difference.value, "low": difference.low, "high": difference.high},
        "calibration_error": {"before": errors[0], "after": errors[1]},
        "scale": found.scale,
        "eta_scale": found.eta_scale,
    }


def _calibration_error(family: OutcomeFamily, rankings: Ranking, votes: VoteTable) -> float:
    log_probs, targets = (x.double() for x in log_probs_and_targets(family, rankings, votes))
    weight = votes.weight.astype(np.float64)
    gaps = gaps_by_prompt(log_probs.exp().numpy(), targets.numpy(), weight, votes.prompt_index)
    return float(calibration_error(np.asarray(gaps.sum(axis=0)), weight.sum(keepdims=True))[0])


def _print(report: dict[str, Any]) -> None:
    table = Table(title=f"{report['votes']:,} votes on {report['prompts']:,} prompts, each judged by the fit to others")
    for name in ("", "before", "after"):
        table.add_column(name, justify="right" if name else "left")
    for name in ("log_loss", "calibration_error"):
        values = report[name]
        table.add_row(name.replace("_", " "), f"{values['before']:.4f}", f"{values['after']:.4f}")
    change = report["difference"]
    table.caption = (
        f"log loss {change['value']:+.4f} [{change['low']:+.4f}, {change['high']:+.4f}]; differences between prompts "
        f"times {report['scale']:.2f}"
    )
    table_console().print(table)


def run(cfg: DictConfig) -> None:
    make(cfg.job).run(make(cfg.checkpoint))
