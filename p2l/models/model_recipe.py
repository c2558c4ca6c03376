"""Build a P2L model for training: backbone, readout, trainable parts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from p2l.data.prompt_encoder import PromptEncoder, PromptFormat, prepare_tokenizer
from p2l.errors import ConfigError
from p2l.heads import RankingHead
from p2l.models.backbone import (
    Attention,
    DTypeName,
    LoRA,
    Quantization,
    load_backbone,
    load_tokenizer,
    local_folder,
    prepare_backbone,
    set_dropout,
)
from p2l.models.blocks import CompileBackend, compile_blocks
from p2l.models.byte_tokenizer import byte_tokenizer
from p2l.models.checkpoint import Checkpoint
from p2l.models.checkpoint_reader import is_p2l_checkpoint, load_checkpoint, load_encoder
from p2l.models.p2l_model import P2LModel
from p2l.models.readout import Readout
from p2l.options import check_count, check_number


@dataclass(frozen=True)
class ModelRecipe:
    """A backbone and how P2L uses it; the fields of ``conf/model/*.yaml``.

    Attributes:
        path: local folder, hub id, ``package:NAME/folder``, or a P2L checkpoint to continue from. None with
            ``scratch``: a byte-level tokenizer.
        scratch: a Hugging Face configuration (``model_type`` and its sizes); the weights are random, not loaded.
        num_layers: number of first transformer layers to keep of a pretrained backbone; None for all.
        readout: "cls" (published) or "mean".
        max_length: most tokens of a prompt, CLS included.
        cls_position: "end" (published) or "start" (encoders).
        cls_token, pad_token: added where the tokenizer has none.
        chat_template: replaces the tokenizer's own.
        dtype, attn_implementation, quantization, dropout: see ``load_backbone``.
        gradient_checkpointing, freeze, lora: see ``prepare_backbone``.
        packed: run the prompts of a batch in one row without padding (decoders, encoders of the BERT kind). Decoders
            need flash-attention to gain by it: sdpa computes all pairs of tokens of their row.
        compile: the backend of ``torch.compile`` for the transformer blocks, "inductor" for speed; None for none.
    """

    path: str | None = None
    scratch: Mapping[str, Any] | None = None
    num_layers: int | None = None
    readout: Readout = "cls"
    max_length: int = 8192
    cls_position: Literal["start", "end"] = "end"
    cls_token: str = "<|cls|>"
    pad_token: str = "<|pad|>"
    chat_template: str | None = None
    dtype: DTypeName = "float32"
    attn_implementation: Attention | None = None
    quantization: Quantization | None = None
    gradient_checkpointing: bool = False
    freeze: bool = False
    lora: LoRA | None = None
    dropout: float | None = None
    packed: bool = False
    compile: CompileBackend | None = None

    def __post_init__(self) -> None:
        if self.path is None and self.scratch is None:
            raise ConfigError("model.path is not set; give a folder, a hub id, or model.scratch")
        check_count("model.max_length", self.max_length, least=8)
        if self.num_layers is not None:
            check_count("model.num_layers", self.num_layers)
        if self.dropout is not None:
            check_number("model.dropout", self.dropout, least=0, below=1)
        if self.num_layers is not None and self.scratch is not None:
            raise ConfigError(
                "model.num_layers cuts a pretrained backbone; give model.scratch.num_hidden_layers instead"
            )
        if self.quantization and not (self.freeze or self.lora):
            raise ConfigError(
                f"model.quantization={self.quantization} weights cannot be trained; "
                "add lora=default or model.freeze=true"
            )

    def encoder(self) -> PromptEncoder:
        """Return the prompt encoder of this model, or that of the checkpoint if ``path`` is one."""
        checkpoint = self._checkpoint_folder()
        if checkpoint is not None:
            return load_encoder(Path(checkpoint), self.max_length)
        return PromptEncoder(self._tokenizer(), PromptFormat(self.max_length, self.cls_position))

    def build(
        self, encoder: PromptEncoder, head: Callable[..., RankingHead], models: Sequence[str], seed: int = 42
    ) -> P2LModel:
        """Build the network; ``head(hidden_size=..., num_models=...)`` makes the head, ``seed`` random weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            checkpoint = self._checkpoint_folder()
            if checkpoint is not None:
                return self._continue(checkpoint, head, models)
            backbone = self._prepare(self._backbone(len(encoder.tokenizer)), len(encoder.tokenizer))
            self._check_length(backbone)
            new_head = head(hidden_size=backbone.config.hidden_size, num_models=len(models))
            return self._in_training_mode(P2LModel(backbone, new_head, self.readout, encoder.cls_token_id, self.packed))

    @cached_property
    def _folder(self) -> str:
        # cached, because each call of a hub id asks the hub
        return local_folder(self.path or "")

    def _checkpoint_folder(self) -> str | None:
        if self.path is None or self.scratch is not None:
            return None
        return self._folder if is_p2l_checkpoint(self._folder) else None

    def _tokenizer(self) -> PreTrainedTokenizerBase:
        return prepare_tokenizer(
            byte_tokenizer() if self.path is None else load_tokenizer(self._folder),
            cls_token=self.cls_token,
            pad_token=self.pad_token,
            chat_template=self.chat_template,
        )

    def _backbone(self, vocab_size: int) -> PreTrainedModel:
        if self.scratch is not None:
            config = _scratch_config({"vocab_size": vocab_size, **self.scratch})
            if self.dropout is not None:
                set_dropout(config, self.dropout)
            return AutoModel.from_config(
                config, dtype=getattr(torch, self.dtype), attn_implementation=self.attn_implementation
            )
        return load_backbone(
            self._folder,
            num_layers=self.num_layers,
            dtype=self.dtype,
            attn_implementation=self.attn_implementation,
            quantization=self.quantization,
            dropout=self.dropout,
        )

    def _prepare(self, backbone: PreTrainedModel, vocab_size: int | None = None) -> PreTrainedModel:
        prepared = prepare_backbone(
            backbone,
            gradient_checkpointing=self.gradient_checkpointing,
            freeze=self.freeze,
            lora=self.lora,
            vocab_size=vocab_size,
        )
        if self.compile is not None:
            compile_blocks(prepared, self.compile)
        return prepared

    def _continue(self, folder: str, head: Callable[..., RankingHead], models: Sequence[str]) -> P2LModel:
        """Continue from a P2L checkpoint; LLMs that it did not rank start with the weights that ``head`` draws."""
        if self.num_layers is not None:
            raise ConfigError(
                f"model.num_layers cuts a pretrained backbone, and {folder} is a P2L checkpoint; leave it out"
            )
        start = load_checkpoint(
            folder,
            dtype=self.dtype,
            attn_implementation=self.attn_implementation,
            quantization=self.quantization,
            dropout=self.dropout,
        )
        new_head = head(hidden_size=start.model.model.config.hidden_size, num_models=len(models))
        _copy_head(start, new_head, models)
        self._check_length(start.model.model)
        backbone = self._prepare(start.model.model)
        model = P2LModel(backbone, new_head, start.model.readout, start.model.cls_token_id, self.packed)
        return self._in_training_mode(model)

    def _in_training_mode(self, model: P2LModel) -> P2LModel:
        """Turn dropout on, except in a frozen backbone, whose hidden states must not change."""
        model.train()
        model.model.train(not self.freeze)
        return model

    def _check_length(self, backbone: PreTrainedModel) -> None:
        limit = getattr(backbone.config, "max_position_embeddings", None)
        if limit is not None and self.max_length > limit:
            raise ConfigError(f"model.max_length={self.max_length}, but this backbone has only {limit} positions")


def _copy_head(start: Checkpoint, new: RankingHead, models: Sequence[str]) -> None:
    old = start.model.head
    if old.family is not new.family or old.rank != new.rank or old.eta_from != new.eta_from:
        raise ConfigError(
            f"the checkpoint has a {old.family.name} head of rank {old.rank or 'full'}, the config asks for "
            f"{new.family.name} of rank {new.rank or 'full'}; set head= and head.rank= to continue from it"
        )
    known = {name: i for i, name in enumerate(start.models)}
    here = [i for i, name in enumerate(models) if name in known]
    there = [known[models[i]] for i in here]
    last = "head.1" if old.rank else "head"
    merged = new.state_dict()
    for key, value in old.state_dict().items():
        if key in (f"{last}.weight", f"{last}.bias"):
            merged[key][here] = value[there]
        else:
            merged[key] = value
    new.load_state_dict(merged)


def _scratch_config(sizes: dict[str, Any]) -> PreTrainedConfig:
    if "model_type" not in sizes:
        raise ConfigError(f"model.scratch needs model_type (such as qwen2) beside its sizes; got {', '.join(sizes)}")
    try:
        return AutoConfig.for_model(sizes.pop("model_type"), **sizes)
    except ValueError as error:
        raise ConfigError(f"model.scratch: {str(error).strip().splitlines()[0]}") from error
