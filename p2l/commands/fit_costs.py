"""Add predicted costs to a trained checkpoint, from measured ones."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig
from torch import Tensor

from p2l.composition.config_objects import make
from p2l.data.measured_scores import MeasuredSource
from p2l.data.score_votes import hold_out
from p2l.errors import DataError
from p2l.evaluation.cost_report import cost_head_of, write_report
from p2l.models import Checkpoint, save_checkpoint
from p2l.models.hidden_states import rank_with_hidden_states
from p2l.models.predictor import fastest_device
from p2l.options import check_count, check_seed, check_share

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CostFitJob:
    """Fit a cost head to measured costs on the hidden states of a checkpoint, whose weights stay as they are.

    Writes ``checkpoint/`` (published format, with ``costs.npz``) and ``predicted_costs.json`` in ``output_dir``.

    Attributes:
        source: the measured costs.
        unit: of these costs.
        val_share: share of the prompts that are not fitted: the report is on them; 0 for none.
        seed: of these prompts.
        token_budget: most tokens, padding included, in a batch of prompts.
    """

    source: MeasuredSource
    output_dir: str
    unit: str = "dollars"
    val_share: float = 0.1
    seed: int = 0
    token_budget: int = 16384

    def __post_init__(self) -> None:
        check_share("val_share", self.val_share)
        check_count("token_budget", self.token_budget)
        check_seed(self.seed)

    def run(self, checkpoint: Checkpoint) -> Checkpoint:
        """Return the checkpoint with the cost head; DataError if it shares no LLM with the table."""
        known, held_out = self.source.load(), None
        shared = [model for model in checkpoint.models if model in known.models]
        if not shared:
            raise DataError(
                f"the checkpoint ranks {', '.join(checkpoint.models[:3])}, ... and the table has "
                f"{', '.join(known.models[:3])}, ...: they share no model; give model_column= or rename the models"
            )
        if self.val_share > 0:
            known, held_out = hold_out(known, self.val_share, self.seed)
        checkpoint.model.to(fastest_device())

        def hidden_of(prompts: Sequence[tuple[str, ...]]) -> Tensor:
            return rank_with_hidden_states(checkpoint, prompts, token_budget=self.token_budget)[1]

        head = cost_head_of(hidden_of, known, held_out, checkpoint.models, self.unit)
        checkpoint.model.cpu().head.cost_head = head
        folder = save_checkpoint(Path(self.output_dir) / "checkpoint", checkpoint)
        log.info("checkpoint with the costs of %d of %d models: %s", len(shared), len(checkpoint.models), folder)
        if head.report:
            write_report(head.report, self.output_dir)
        return checkpoint


def run(cfg: DictConfig) -> None:
    make(cfg.job).run(make(cfg.checkpoint))
