"""Teach the head of a checkpoint new votes and scores, in seconds, and write both as a new checkpoint."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64
from omegaconf import DictConfig

from p2l.composition.config_objects import make
from p2l.data import load_votes
from p2l.data.measured_scores import MeasuredSource
from p2l.data.vote_evidence import table_with_evidence
from p2l.data.winner_labels import WinnerMap
from p2l.errors import CheckpointError, ConfigError, DataError
from p2l.files import write_whole
from p2l.heads.posterior_head import PosteriorHead
from p2l.models import Checkpoint, save_checkpoint
from p2l.models.fingerprint import head_digest
from p2l.models.hidden_states import rank_with_hidden_states
from p2l.models.predictor import fastest_device
from p2l.online.head_feedback import Feedback
from p2l.online.head_filter import FilterOptions, HeadFilter
from p2l.online.influence import NO_LIMIT, KeyLimits, shift_size
from p2l.online.online_head import MAX_PARAMETERS, OnlineHead
from p2l.online.taught_head import Lesson, taught
from p2l.options import check_count, check_number, check_share
from p2l.uncertainty.posterior_fit import LinearOutputs

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class UpdateJob:
    """Update the head of a checkpoint and its posterior by new votes and scores: votes first, each oldest first.

    Writes ``checkpoint/`` (published format) and ``update.json`` in ``output_dir``; the old checkpoint stays. The line
    of the audit is in ``update.json``, in the log, and last in the recipe's ``updates``. A file is the operator's own:
    no key of it is bounded.

    Attributes:
        votes: of pairs.
        scores: of single answers, for a grounded family.
        memory, dispersion: see ``FilterOptions``.
        drift, max_parameters: see ``OnlineHead.of``.
        split, max_skipped_share, columns, winner_map: of ``votes``, as in ``p2l.data.FileVotes``.
        token_budget: most tokens, padding included, in a batch of prompts.
    """

    output_dir: str
    votes: str | None = None
    scores: str | None = None
    split: str = "train"
    memory: float | None = None
    drift: float = 0.0
    dispersion: float = 1.0
    max_parameters: int = MAX_PARAMETERS
    max_skipped_share: float = 0.05
    columns: Mapping[str, str] | None = None
    winner_map: WinnerMap | None = None
    token_budget: int = 16384

    def __post_init__(self) -> None:
        check_share("max_skipped_share", self.max_skipped_share)
        check_count("token_budget", self.token_budget)
        check_count("max_parameters", self.max_parameters)
        check_number("drift", self.drift, least=0)
        self._options()
        check_number("dispersion", self.dispersion, above=0)
        if self.votes is None and self.scores is None:
            raise ConfigError("give votes=<file>, scores=<file> or both")

    def run(self, checkpoint: Checkpoint) -> Checkpoint:
        """Return the checkpoint with the new head and posterior."""
        posterior, head = checkpoint.posterior, checkpoint.model.head
        if posterior is None:
            raise CheckpointError("the checkpoint has no posterior, which says what may change: run p2l posterior")
        LinearOutputs.of(head).into(head)  # a head that cannot take new weights is an error before the work
        checkpoint.model.to(fastest_device())
        online = OnlineHead.of(
            posterior, checkpoint.models, checkpoint.family, drift=self.drift, max_parameters=self.max_parameters
        )
        feedback = self._feedback(checkpoint, online)
        checkpoint.model.cpu()
        lesson = taught(HeadFilter(online, self._options()), feedback)
        before = head_digest(head.state_dict())
        lesson.changed_layer(LinearOutputs.of(head)).into(head)
        audit = self._audit(lesson, feedback, online) | {"head_before": before}
        audit |= {"head_after": head_digest(head.state_dict())}
        head.posterior_head = PosteriorHead(lesson.posterior(posterior))
        updates = [*checkpoint.recipe.get("updates", []), audit]
        return self._write(replace(checkpoint, recipe={**checkpoint.recipe, "updates": updates}), audit)

    def _options(self) -> FilterOptions:
        return FilterOptions(self.memory, self.dispersion, limits=KeyLimits(NO_LIMIT))

    def _feedback(self, checkpoint: Checkpoint, online: OnlineHead) -> Feedback:
        parts = []
        if self.votes is not None:
            parts.append(self._of_votes(checkpoint, online, self.votes))
        if self.scores is not None:
            parts.append(self._of_scores(checkpoint, online, self.scores))
        return Feedback.joined(parts)

    def _of_votes(self, checkpoint: Checkpoint, online: OnlineHead, source: str) -> Feedback:
        table, skipped = load_votes(
            source,
            split=self.split,
            models=checkpoint.models,
            max_skipped_share=self.max_skipped_share,
            columns=self.columns,
            winner_map=self.winner_map,
        )
        log.info("votes from %s: %s", source, skipped)
        table = table_with_evidence("votes", table, checkpoint.family)
        features, outputs = self._read(checkpoint, online, table.prompts)
        at, shares = table.prompt_index, table.outcome_shares.astype(np.float64)
        votes = Feedback.of_votes(features[at], outputs[at], (table.model_a, table.model_b), shares, ("",) * len(table))
        return replace(votes, weight=table.weight.astype(np.float64))

    def _of_scores(self, checkpoint: Checkpoint, online: OnlineHead, source: str) -> Feedback:
        measured = MeasuredSource(source, key=None, with_costs=False).load()
        if unknown := [name for name in measured.models if name not in checkpoint.models]:
            raise DataError(f"{source}: the checkpoint has no model {unknown[0]!r}; add it with p2l add-models")
        features, outputs = self._read(checkpoint, online, measured.prompts)
        prompt, column = np.nonzero(measured.weight > 0)
        model = np.array([checkpoint.models.index(name) for name in measured.models])[column]
        score = measured.score[prompt, column]
        return Feedback.of_scores(features[prompt], outputs[prompt], model, score, ("",) * len(score))

    def _read(self, checkpoint: Checkpoint, online: OnlineHead, prompts: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return features of prompts, and the outputs of the trained head."""
        _, hidden = rank_with_hidden_states(checkpoint, prompts, token_budget=self.token_budget)
        states: Float64[np.ndarray, "prompts hidden"] = hidden.cpu().double().numpy()
        layer = LinearOutputs.of(checkpoint.model.head)
        return online.features(states), states @ layer.weight.T + layer.bias

    def _audit(self, lesson: Lesson, feedback: Feedback, online: OnlineHead) -> dict[str, Any]:
        is_score = ~np.isnan(feedback.score)
        return {
            "votes": int((~is_score).sum()),
            "scores": int(is_score.sum()),
            "sources": [source for source in (self.votes, self.scores) if source is not None],
            "memory": self.memory,
            "drift": self.drift,
            "dispersion": self.dispersion,
            "shift": shift_size(online, lesson.state.mean),
            "share_of_variance": online.share,
            "log_loss": {"before": lesson.loss_before, "one_step_ahead": lesson.loss_ahead},
        }

    def _write(self, checkpoint: Checkpoint, audit: dict[str, Any]) -> Checkpoint:
        losses = audit["log_loss"]
        log.info("update: %s", json.dumps(audit))
        if losses["one_step_ahead"] >= losses["before"]:
            log.warning(
                "each piece was predicted no better after the earlier ones (%.4f nats) than by the old head (%.4f): "
                "the feedback taught nothing that shows yet",
                *(losses["one_step_ahead"], losses["before"]),
            )
        folder = Path(self.output_dir) / "checkpoint"
        if folder.exists():
            raise ConfigError(f"{folder} is there already, and an update overwrites none; give another output_dir")
        save_checkpoint(folder, checkpoint)
        with write_whole(Path(self.output_dir) / "update.json") as file:
            json.dump(audit, file, indent=1)
        log.info("updated checkpoint: %s", folder)
        return checkpoint


def run(cfg: DictConfig) -> None:
    make(cfg.job).run(make(cfg.checkpoint))
