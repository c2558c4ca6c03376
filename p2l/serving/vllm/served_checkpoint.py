"""What a P2L checkpoint has beside its backbone, read from the folder or hub id that vLLM serves."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from torch import nn

from p2l.cost_facts import CostFacts
from p2l.data.prompt_encoder import PromptEncoder
from p2l.errors import ConfigError
from p2l.head_posterior import HeadPosterior
from p2l.heads import RankingHead
from p2l.models.backbone import CHECKPOINT_FILES
from p2l.models.checkpoint_reader import load_encoder, load_head
from p2l.models.fingerprint import fingerprint
from p2l.outcomes import OutcomeFamily
from p2l.ranking.leaderboard_table import Groups

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServedCheckpoint:
    """Prompt encoder, head and names of a checkpoint; ``warning`` and ``groups`` are those of ``Checkpoint``."""

    encoder: PromptEncoder
    head: RankingHead
    models: Sequence[str]
    warning: str | None
    groups: Groups | None = None

    @property
    def family(self) -> OutcomeFamily:
        return self.head.family

    @property
    def cost_facts(self) -> CostFacts | None:
        """As in ``Predictor``."""
        return None if self.head.cost_head is None else self.head.cost_head.facts(self.models)

    @property
    def posterior(self) -> HeadPosterior | None:
        """As in ``Predictor``."""
        return None if self.head.posterior_head is None else self.head.posterior_head.posterior

    def fingerprint(self) -> str:
        """Return a digest of the model as ``Predictor.fingerprint``, of the head alone: training changes it always."""
        return fingerprint(nn.ModuleDict({"head": self.head}), self.encoder, self.models, self.family.name)


def read_served_checkpoint(vllm_config: Any) -> ServedCheckpoint:
    """Read the checkpoint of a ``vllm.config.VllmConfig``.

    Prompts are cut to the model's length in vLLM (``--max-model-len``) if that is shorter than the checkpoint's.
    ``--hf-overrides '{"p2l_loss_type": "grk"}'`` names the family of a checkpoint that does not, and ``p2l_head_type``
    its head.

    Raises:
        CheckpointError: the folder is not a P2L checkpoint, or is damaged.
        ConfigError: the head does not read the hidden state of the last token, or the weights of the backbone are not
            in the folder.
    """
    config = vllm_config.model_config
    folder = _folder_of(vllm_config)
    part = load_head(
        folder,
        head_type=getattr(config.hf_config, "p2l_head_type", None),
        loss_type=getattr(config.hf_config, "p2l_loss_type", None),
        name=config.model,
    )
    if part.backbone is not None:
        raise ConfigError(
            f"{config.model} refers to the weights of its backbone in {part.backbone.path}, and vLLM reads them in the "
            "checkpoint; write a whole one with p2l.save_checkpoint(folder, p2l.load_checkpoint(...)) and serve that"
        )
    encoder = load_encoder(folder)
    if part.readout != "cls" or encoder.format.cls_position != "end":
        raise ConfigError(
            f"vLLM serves P2L checkpoints that read the CLS token at the end; {config.model} has "
            f"readout={part.readout}, cls_position={encoder.format.cls_position}: use p2l endpoint"
        )
    if config.max_model_len < encoder.format.max_length:
        log.warning("prompts are cut to %d tokens; %s takes %d", config.max_model_len, config.model,
                    encoder.format.max_length)  # fmt: skip
        encoder = load_encoder(folder, config.max_model_len)
    return ServedCheckpoint(encoder, part.head, part.models, part.recipe.get("warning"), part.recipe.get("groups"))


def _folder_of(vllm_config: Any) -> Path:
    config = vllm_config.model_config
    if Path(config.model).is_dir():
        return Path(config.model)
    cache = vllm_config.load_config.download_dir
    return Path(
        snapshot_download(
            config.model, revision=config.revision, cache_dir=cache, allow_patterns=list(CHECKPOINT_FILES)
        )
    )
