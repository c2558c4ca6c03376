"""Load any Hugging Face text model as a backbone: precision, attention, quantisation, LoRA, freezing."""

import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import transformers
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.models.auto.tokenization_auto import get_tokenizer_config

from p2l.errors import CheckpointError, ConfigError
from p2l.extras import missing_extra, missing_package
from p2l.models.finite_weights import check_read_weights
from p2l.models.shipped import shipped_checkpoints, shipped_folder
from p2l.options import check_count, check_number

PACKAGE_PREFIX = "package:"
CHECKPOINT_FILES = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt", "costs.npz")
GENERIC_TOKENIZERS = ("PreTrainedTokenizerFast", "TokenizersBackend")
Attention = Literal["eager", "sdpa", "flash_attention_2", "flash_attention_3"]
DTypeName = Literal["float32", "bfloat16", "float16"]
Quantization = Literal["8bit", "4bit"]


@dataclass(frozen=True)
class LoRA:
    """Low-rank adapters (peft) on the named linear layers; published checkpoints are written with them merged."""

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    target_modules: str | Sequence[str] = "all-linear"

    def __post_init__(self) -> None:
        check_count("model.lora.rank", self.rank)
        check_number("model.lora.alpha", self.alpha, above=0)
        check_number("model.lora.dropout", self.dropout, least=0, below=1)


def resolve_path(path: str) -> str:
    """Replace ``package:NAME/folder`` by the folder inside that installed package; return other paths unchanged."""
    if not path.startswith(PACKAGE_PREFIX):
        return path
    package, _, folder = path[len(PACKAGE_PREFIX) :].partition("/")
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or spec.origin is None:
        raise CheckpointError(
            f"{path} needs the Python package {package!r}, which is not installed; {missing_extra('demo')}; "
            "for training, model.path may be another folder or hub id"
        )
    return str(Path(spec.origin).parent / folder)


def local_folder(path: str) -> str:
    """Return the folder of a local path, ``package:NAME/folder``, the name of a checkpoint that p2l carries, or hub id.

    They are tried in this order; a hub id is downloaded, or found in the cache.
    """
    resolved = resolve_path(path)
    if Path(resolved).is_dir():
        return resolved
    if (shipped := shipped_folder(resolved)) is not None:
        return str(shipped)
    try:
        return snapshot_download(resolved, allow_patterns=list(CHECKPOINT_FILES))
    except (OSError, HFValidationError) as error:
        raise CheckpointError(explain_load_error(resolved, error)) from error


def load_tokenizer(folder: str) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a local folder (see ``local_folder``); CheckpointError if it cannot be read."""
    try:
        # AutoTokenizer makes a Qwen2Tokenizer for a Qwen2 model, which normalises even if tokenizer.json does not
        generic = get_tokenizer_config(folder).get("tokenizer_class") in GENERIC_TOKENIZERS
        tokenizer = (PreTrainedTokenizerFast if generic else AutoTokenizer).from_pretrained(folder)
    except (OSError, ValueError, ImportError) as error:
        raise CheckpointError(explain_load_error(folder, error)) from error
    files = tokenizer.vocab_files_names.values()
    if files and not any((Path(folder) / file).exists() for file in files):  # transformers would invent an empty one
        raise CheckpointError(f"{folder} has no tokenizer files ({', '.join(files)} expected)")
    return tokenizer


def load_backbone(
    folder: str,
    *,
    num_layers: int | None = None,
    dtype: DTypeName = "float32",
    attn_implementation: Attention | None = None,
    quantization: Quantization | None = None,
    dropout: float | None = None,
    key_mapping: dict[str, str] | None = None,
) -> PreTrainedModel:
    """Load the backbone of a local folder (see ``local_folder``); ``prepare_backbone`` adapts it to P2L.

    Args:
        folder: from ``local_folder``.
        num_layers: only the first so many transformer layers.
        dtype: precision of the weights; mixed precision keeps them in float32 and is an option of the trainer.
        attn_implementation: None lets transformers choose (sdpa); flash_attention_2 needs a GPU and flash-attn.
        quantization: 8 or 4 bit weights through bitsandbytes; train them through ``lora`` or a frozen backbone.
        dropout: replaces every dropout probability of the backbone's configuration.
        key_mapping: regular expressions that rename checkpoint keys, for P2L checkpoints.
    """
    try:
        config = AutoConfig.from_pretrained(folder)
        if dropout is not None:
            set_dropout(config, dropout)
        if num_layers is not None:
            set_num_layers(config, num_layers)
        with _quiet_loading():
            backbone, found = AutoModel.from_pretrained(
                folder,
                config=config,
                dtype=getattr(torch, dtype),
                key_mapping=key_mapping,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # reported below, in one line
                **_optional(attn_implementation, quantization),
            )
    except (OSError, ValueError, ImportError, SafetensorError) as error:
        raise CheckpointError(explain_load_error(folder, error)) from error
    for key, saved, wanted in sorted(found["mismatched_keys"]):
        raise CheckpointError(f"{folder}: {key} has the shape {tuple(saved)}, but config.json asks for {tuple(wanted)}")
    missing = sorted(key for key in found["missing_keys"] if not key.startswith("pooler."))
    if missing:
        raise CheckpointError(f"{folder} lacks {len(missing)} weights of its backbone, {missing[0]} first")
    check_read_weights(folder, backbone.state_dict().items())
    if quantization == "4bit":
        _keep_4bit_layout(backbone)
    return backbone


def prepare_backbone(
    backbone: PreTrainedModel,
    *,
    gradient_checkpointing: bool = False,
    freeze: bool = False,
    lora: LoRA | None = None,
    vocab_size: int | None = None,
) -> PreTrainedModel:
    """Adapt a loaded model to P2L in place: no pooler, embeddings of new tokens, trainable parts.

    Args:
        backbone: the model.
        gradient_checkpointing: recompute activations in the backward pass instead of keeping them.
        freeze: train the head alone.
        lora: train the head and these adapters.
        vocab_size: number of rows that the embedding grows to if the tokenizer has new tokens.
    """
    if getattr(backbone, "pooler", None) is not None:
        # its output is never used, and unused parameters stop DDP
        backbone.pooler = None  # type: ignore[assignment]  # stubs: torch types every attribute Tensor | Module
    backbone.config.use_cache = False
    if vocab_size is not None and vocab_size > backbone.get_input_embeddings().get_parameter("weight").shape[0]:
        backbone.resize_token_embeddings(vocab_size)
    if freeze or lora:
        backbone.requires_grad_(False)
    if lora:
        _inject_lora(backbone, lora)
    if gradient_checkpointing:
        # its name before transformers 5.23, and since
        new_name = getattr(backbone, "activation_checkpointing_enable", None)
        (new_name or backbone.gradient_checkpointing_enable)({"use_reentrant": False})
    return backbone


@contextmanager
def _quiet_loading() -> Iterator[None]:
    """Silence the report on weights that a backbone does not use; missing ones raise an error in ``load_backbone``."""
    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(before)


def set_dropout(config: object, probability: float) -> None:
    """Set every dropout probability that the configuration names; ConfigError if it names none."""
    names = [n for n in vars(config) if n.endswith(("dropout", "dropout_prob")) and n != "classifier_dropout"]
    if not names:
        raise ConfigError(f"model.dropout={probability}, but {type(config).__name__} has no dropout to set")
    for name in names:
        setattr(config, name, probability)


def set_num_layers(config: PreTrainedConfig, num_layers: int) -> None:
    """Keep only the first layers of a configuration; ConfigError if it does not have that many."""
    layers = getattr(config, "num_hidden_layers", None)
    if layers is None or not 1 <= num_layers <= layers:
        raise ConfigError(
            f"model.num_layers={num_layers}, but {type(config).__name__} has {layers or 'an unknown number of'} layers"
        )
    config.num_hidden_layers = num_layers
    if getattr(config, "layer_types", None) is not None:  # one entry a layer: its attention
        config.layer_types = config.layer_types[:num_layers]


def explain_load_error(path: str, error: Exception) -> str:
    """Explain in one line why a folder or hub id could not be loaded, and what to do."""
    reason = str(error).strip().split("\n")[0]
    if isinstance(error, ImportError) and (missing := missing_package(str(error))):
        return f"{path} cannot be loaded with these options: {missing}"
    if Path(path).exists():
        return f"{path} is not a readable model folder (config.json, *.safetensors, tokenizer files expected): {reason}"
    if path.startswith((".", "/")) or path.count("/") != 1 or Path(path).parent.is_dir():
        known = ", ".join(shipped_checkpoints())
        return (
            f"no model folder at {path}, and it is neither a checkpoint that p2l carries ({known}) nor a hub id of the "
            f"form owner/name: {reason}"
        )
    return (
        f"could not load {path} from the Hugging Face hub: {reason} (no network? Download it once with "
        f"'hf download {path}' on a machine that has one and give model.path=<folder>)"
    )


def _optional(attn_implementation: Attention | None, quantization: Quantization | None) -> dict[str, object]:
    options: dict[str, object] = {}
    if attn_implementation:
        options["attn_implementation"] = attn_implementation
    if quantization:
        options["quantization_config"] = _quantization_config(quantization)
    return options


def _quantization_config(quantization: str) -> object:
    from transformers import BitsAndBytesConfig

    if quantization == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    if quantization == "4bit":
        return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16)
    raise ConfigError(f"model.quantization must be 8bit, 4bit or null; got {quantization!r}")


def _keep_4bit_layout(backbone: PreTrainedModel) -> None:
    """Keep 4-bit weights in their stored layout.

    On CPUs with AVX-512, bitsandbytes 0.50 rearranges them at the first evaluation and cannot restore them: a
    checkpoint saved afterwards would hold other weights.
    """
    for module in backbone.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            setattr(module, "support_avx512bf16_for_cpu", False)  # noqa: B010  # stubs: attributes are tensors


def _inject_lora(backbone: PreTrainedModel, lora: LoRA) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    targets = lora.target_modules if isinstance(lora.target_modules, str) else list(lora.target_modules)
    config = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets)
    inject_adapter_in_model(config, backbone)
