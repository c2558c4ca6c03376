"""How a P2L model is made for training: which backbone, how it is read, what of it is trained."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoConfig, AutoModel, PreTrainedModel, PreTrainedTokenizerBase

from p2l.data.prompts import PromptEncoder, PromptFormat, load_tokenizer, prepare_tokenizer
from p2l.errors import ConfigError
from p2l.heads import RankingHead
from p2l.models.backbone import (
    Attention,
    DTypeName,
    LoRA,
    load_backbone,
    local_folder,
    prepare_backbone,
)
from p2l.models.byte_tokenizer import byte_tokenizer
from p2l.models.checkpoint import Checkpoint, is_p2l_checkpoint, load_checkpoint, load_encoder
from p2l.models.p2l_model import P2LModel
from p2l.models.readout import Readout


@dataclass(frozen=True)
class ModelRecipe:
    """A backbone and how P2L uses it; the fields of ``conf/model/*.yaml``.

    Attributes:
        path: local folder, hub id, ``package:NAME/folder``, or a P2L checkpoint whose training goes on. None with
            ``scratch``: a byte-level tokenizer.
        scratch: a Hugging Face configuration (``model_type`` and its sizes); the weights are random, not loaded.
        readout: "cls" (published) or "mean".
        max_length: most tokens of a prompt, CLS included.
        cls_position: "end" (published) or "start" (encoders).
        cls_token, pad_token: added where the tokenizer has none.
        chat_template: replaces the tokenizer's own.
        dtype, attn_implementation, quantization, gradient_checkpointing, freeze, lora, dropout: see ``load_backbone``.
    """

    path: str | None = None
    scratch: Mapping[str, Any] | None = None
    readout: Readout = "cls"
    max_length: int = 8192
    cls_position: Literal["start", "end"] = "end"
    cls_token: str = "<|cls|>"
    pad_token: str = "<|pad|>"
    chat_template: str | None = None
    dtype: DTypeName = "float32"
    attn_implementation: Attention | None = None
    quantization: Literal["8bit", "4bit"] | None = None
    gradient_checkpointing: bool = False
    freeze: bool = False
    lora: LoRA | None = None
    dropout: float | None = None

    def __post_init__(self) -> None:
        if self.path is None and self.scratch is None:
            raise ConfigError("model.path is not set; give a folder, a hub id, or model.scratch")
        if self.quantization and not (self.freeze or self.lora):
            raise ConfigError(
                f"model.quantization={self.quantization} weights cannot be trained; add lora=default or model.freeze=true"
            )

    def encoder(self) -> PromptEncoder:
        """The prompt encoder of this model; that of the checkpoint where ``path`` is one."""
        if self._checkpoint_folder() is not None:
            return load_encoder(Path(self._checkpoint_folder() or ""), self.max_length)
        return PromptEncoder(self._tokenizer(), PromptFormat(self.max_length, self.cls_position))

    def build(
        self, encoder: PromptEncoder, head: Callable[..., RankingHead], models: Sequence[str], seed: int = 42
    ) -> P2LModel:
        """The network; ``head(hidden_size=..., num_models=...)`` makes its head. Random weights come from ``seed``."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            if self._checkpoint_folder() is not None:
                return self._continue(head, models)
            backbone = self._backbone(len(encoder.tokenizer))
            self._check_length(backbone)
            new_head = head(hidden_size=backbone.config.hidden_size, num_models=len(models))
            return P2LModel(backbone, new_head, self.readout, encoder.cls_token_id)

    def _checkpoint_folder(self) -> str | None:
        if self.path is None or self.scratch is not None:
            return None
        folder = local_folder(self.path)
        return folder if is_p2l_checkpoint(folder) else None

    def _tokenizer(self) -> PreTrainedTokenizerBase:
        options = {"cls_token": self.cls_token, "pad_token": self.pad_token, "chat_template": self.chat_template}
        if self.path is None:
            return prepare_tokenizer(byte_tokenizer(), **options)
        return load_tokenizer(local_folder(self.path), **options)

    def _backbone(self, vocab_size: int) -> PreTrainedModel:
        trained = {"gradient_checkpointing": self.gradient_checkpointing, "freeze": self.freeze, "lora": self.lora}
        if self.scratch is not None:
            sizes = {"vocab_size": vocab_size, **self.scratch}
            config = AutoConfig.for_model(sizes.pop("model_type"), **sizes)
            return prepare_backbone(AutoModel.from_config(config), vocab_size=vocab_size, **trained)
        return load_backbone(
            local_folder(self.path or ""),
            dtype=self.dtype,
            attn_implementation=self.attn_implementation,
            quantization=self.quantization,
            dropout=self.dropout,
            vocab_size=vocab_size,
            **trained,
        )

    def _continue(self, head: Callable[..., RankingHead], models: Sequence[str]) -> P2LModel:
        """Go on from a P2L checkpoint; LLMs it did not rank start with the weights that ``head`` draws."""
        start = load_checkpoint(
            self.path or "",
            dtype=self.dtype,
            attn_implementation=self.attn_implementation,
            quantization=self.quantization,
            gradient_checkpointing=self.gradient_checkpointing,
            freeze=self.freeze,
            lora=self.lora,
        )
        new_head = head(hidden_size=start.model.model.config.hidden_size, num_models=len(models))
        _copy_head(start, new_head, models)
        start.model.head = new_head
        return start.model.train()

    def _check_length(self, backbone: PreTrainedModel) -> None:
        limit = getattr(backbone.config, "max_position_embeddings", None)
        if limit is not None and self.max_length > limit:
            raise ConfigError(f"model.max_length={self.max_length}, but this backbone has only {limit} positions")


def _copy_head(start: Checkpoint, new: RankingHead, models: Sequence[str]) -> None:
    old = start.model.head
    if old.family is not new.family or old.rank != new.rank or old.eta_from != new.eta_from:
        raise ConfigError(
            f"the checkpoint has a {old.family.name} head of rank {old.rank or 'full'}, the config asks for "
            f"{new.family.name} of rank {new.rank or 'full'}; set head= and head.rank= to go on from it"
        )
    weights, known = old.state_dict(), {name: i for i, name in enumerate(start.models)}
    pairs = [(i, known[name]) for i, name in enumerate(models) if name in known]
    here, there = (torch.tensor(column, dtype=torch.long) for column in zip(*pairs, strict=True))
    last = "head.1" if old.rank else "head"
    merged = new.state_dict()
    for key, value in weights.items():
        if key in (f"{last}.weight", f"{last}.bias"):
            merged[key][here] = value[there]
        else:
            merged[key] = value
    new.load_state_dict(merged)
