"""Add the posterior of the head to a trained checkpoint: intervals for every prompt."""

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64
from omegaconf import DictConfig
from rich.table import Table

from p2l.composition.config_objects import make
from p2l.console import table_console
from p2l.data import VoteTable, load_votes
from p2l.data.vote_evidence import evidence_doubts, table_with_evidence
from p2l.data.winner_labels import WinnerMap
from p2l.errors import ConfigError, DataError
from p2l.evaluation.vote_scores import score_votes
from p2l.files import write_whole
from p2l.heads.posterior_head import PosteriorHead
from p2l.heads.ranking_head import RankingHead
from p2l.leaderboard import fit
from p2l.models import Checkpoint, save_checkpoint
from p2l.models.hidden_states import rank_with_hidden_states
from p2l.models.predictor import fastest_device
from p2l.options import check_count, check_share
from p2l.uncertainty.calibrate_posterior import Part, checked_posterior, on_other_prompts
from p2l.uncertainty.most_probable_head import most_probable_layer
from p2l.uncertainty.posterior_fit import LinearOutputs

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PosteriorJob:
    """Fit the posterior of the head to the votes that it was trained on, for intervals on every prompt.

    Writes ``checkpoint/`` (published format, with ``posterior.npz``) and ``posterior.json`` in ``output_dir``.

    Attributes:
        votes: file, folder or hub dataset of the votes that the model was trained on.
        val: of votes on other prompts, which set how wide the intervals are; None: they are not checked.
        refit: try the most probable head under the prior, too; it replaces the trained one if its log loss on ``val``
            is lower.
        split, val_split: of the two.
        max_skipped_share, columns, winner_map: as in ``p2l.data.FileVotes``.
        token_budget: most tokens, padding included, in a batch of prompts.
    """

    votes: str
    output_dir: str
    val: str | None = None
    refit: bool = False
    split: str = "train"
    val_split: str = "validation"
    max_skipped_share: float = 0.05
    columns: Mapping[str, str] | None = None
    winner_map: WinnerMap | None = None
    token_budget: int = 16384

    def __post_init__(self) -> None:
        check_share("max_skipped_share", self.max_skipped_share)
        check_count("token_budget", self.token_budget)
        if self.refit and self.val is None:
            raise ConfigError("refit=true needs val=<votes on other prompts>: they tell whether the new head is better")

    def run(self, checkpoint: Checkpoint) -> Checkpoint:
        """Return the checkpoint with the posterior."""
        checkpoint.model.to(fastest_device())
        head, votes = checkpoint.model.head, self._read("votes", self.votes, self.split, checkpoint)
        held_out = None
        if self.val is not None:
            held_out = on_other_prompts(self._read("val", self.val, self.val_split, checkpoint), votes)
            if held_out is None:
                raise DataError("val: all of its prompts are those of votes=; give votes on other prompts")
        hidden = self._states(checkpoint, votes)
        hidden_of_val = None if held_out is None else self._states(checkpoint, held_out)
        checkpoint.model.cpu()
        report: dict[str, Any] = {"doubts": list(_doubts(votes, held_out))}
        if self.refit and held_out is not None and hidden_of_val is not None:
            report["refit"] = refit(head, (votes, hidden), (held_out, hidden_of_val))
        val = None if held_out is None or hidden_of_val is None else (held_out, hidden_of_val)
        posterior = checked_posterior(head, (votes, hidden), val)
        if val is None:
            log.warning("val= was not given: no held-out vote has checked the intervals")
        head.posterior_head = PosteriorHead(posterior)
        report |= posterior.report
        _print(report)
        for doubt in report["doubts"]:
            log.warning("%s: the intervals are mostly what the prior expects", doubt)
        with write_whole(Path(self.output_dir) / "posterior.json") as file:
            json.dump(report, file, indent=1)
        again = replace(checkpoint, recipe={**checkpoint.recipe, "posterior": report})
        folder = save_checkpoint(Path(self.output_dir) / "checkpoint", again)
        log.info("checkpoint with intervals: %s", folder)
        return again

    def _states(self, checkpoint: Checkpoint, votes: VoteTable) -> Float64[np.ndarray, "prompts hidden"]:
        _, hidden = rank_with_hidden_states(checkpoint, votes.prompts, token_budget=self.token_budget)
        return hidden.double().numpy()

    def _read(self, name: str, source: str, split: str, checkpoint: Checkpoint) -> VoteTable:
        table, skipped = load_votes(
            source,
            split=split,
            models=checkpoint.models,
            max_skipped_share=self.max_skipped_share,
            columns=self.columns,
            winner_map=self.winner_map,
        )
        log.info("votes from %s: %s", source, skipped)
        return table_with_evidence(name, table, checkpoint.family)


def _doubts(votes: VoteTable, held_out: VoteTable | None) -> Iterator[str]:
    yield from evidence_doubts("votes", votes)
    if held_out is not None:
        yield from evidence_doubts("val", held_out)


def refit(head: RankingHead, train: Part, val: Part) -> dict[str, Any]:
    """Give the head its most probable weights if they have a lower log loss on ``val``; return both losses."""
    (votes, hidden), (held_out, hidden_of_val) = train, val
    marginal = fit(votes, head.family.name).ranking
    level = np.append(marginal.coefs.numpy(), [] if marginal.eta is None else marginal.eta.numpy())
    layers = {"trained": LinearOutputs.of(head), "refitted": most_probable_layer(votes, hidden, level, head.family)}
    rankings = {name: layer.ranking(hidden_of_val, head.family) for name, layer in layers.items()}
    losses = {name: score_votes(head.family, one, held_out).mean()["log_loss"] for name, one in rankings.items()}
    kept = min(losses, key=lambda name: losses[name])
    if kept == "refitted":
        layers["refitted"].into(head)
    return {"log_loss": losses, "kept": kept}


def _print(report: dict[str, Any]) -> None:
    table = Table(
        title=f"{report['votes']:,} held-out votes on {report['prompts']:,} prompts" if "votes" in report else ""
    )
    table.add_column("log loss of")
    table.add_column("nats a vote", justify="right")
    rows = [(f"the {name} head", loss) for name, loss in report.get("refit", {}).get("log_loss", {}).items()]
    named = {"point": "its probabilities", "posterior": "averaged over the posterior", "calibrated": "and calibrated"}
    rows += [(named[name], loss) for name, loss in report.get("log_loss", {}).items()]
    for name, loss in rows:
        table.add_row(name, f"{loss:.4f}")
    if rows:
        table_console().print(table)


def run(cfg: DictConfig) -> None:
    make(cfg.job).run(make(cfg.checkpoint))
