"""Write a P2L checkpoint folder that this package and the published loader both read."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import save_torch_state_dict
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from p2l.models.backbone_reference import BackboneReference
from p2l.models.card import CardFacts, model_card
from p2l.models.checkpoint import Checkpoint
from p2l.models.checkpoint_reader import read_head
from p2l.models.cost_file import COST_FILE, save_cost_head
from p2l.models.finite_weights import check_weights
from p2l.models.posterior_file import POSTERIOR_FILE, save_posterior

# files of an earlier checkpoint in the folder, which a loader would prefer
STALE = (
    "model*.safetensors*",
    COST_FILE,
    POSTERIOR_FILE,
    "chat_template.jinja",
    "special_tokens_map.json",
    "added_tokens.json",
)


def save_checkpoint(
    folder: str | Path,
    checkpoint: Checkpoint,
    *,
    state_dict: dict[str, Tensor] | None = None,
    max_shard_size: str = "5GB",
    backbone: str | None = None,
) -> Path:
    """Write ``checkpoint`` to ``folder``, which appears whole; in an existing one ``config.json`` is replaced last.

    Args:
        folder: of the checkpoint.
        checkpoint: what is written.
        state_dict: replaces the model's own (a full one gathered from shards).
        max_shard_size: weights above it are written in several files.
        backbone: folder, hub id or ``package:NAME/folder`` of the frozen backbone. Its weights are then not written:
            the checkpoint refers to them. The published loader reads only whole checkpoints.

    Raises:
        CheckpointError: a weight is not finite, or the model's backbone is not the one at ``backbone``; the folder
            stays as it was.
    """
    with whole_checkpoint(folder) as part:
        tensors = published_state_dict(checkpoint.model, state_dict)
        check_weights(folder, tensors.items())
        reference = None if backbone is None else BackboneReference.to(backbone)
        if reference is not None:
            reference.check_equal(tensors)
            tensors = {name: tensor for name, tensor in tensors.items() if name.startswith("head.")}
        save_torch_state_dict(tensors, part, max_shard_size=max_shard_size)
        if (cost_head := checkpoint.model.head.cost_head) is not None:
            save_cost_head(part, cost_head, checkpoint.models, read_head(part))
        if checkpoint.posterior is not None:
            save_posterior(part, checkpoint.posterior, checkpoint.models, read_head(part))
        _write_description(part, checkpoint, reference)
    return Path(folder)


def save_description(folder: str | Path, checkpoint: Checkpoint) -> Path:
    """Write all files of ``save_checkpoint`` except the weights."""
    with whole_checkpoint(folder) as part:
        _write_description(part, checkpoint)
    return Path(folder)


@contextmanager
def whole_checkpoint(folder: str | Path) -> Iterator[Path]:
    """Yield a temporary folder to write to; its files move to ``folder`` at the end, ``config.json`` last."""
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    room = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    part = room / folder.name  # unlike its parent, it has the permissions of any folder
    try:
        part.mkdir()
        yield part
        _move_into(part, folder)
    finally:
        shutil.rmtree(room, ignore_errors=True)


def _write_description(part: Path, checkpoint: Checkpoint, reference: BackboneReference | None = None) -> None:
    _save_tokenizer(checkpoint.encoder.tokenizer, part)
    _write_json(part / "model_list.json", list(checkpoint.models))
    refers = {} if reference is None else {"backbone": reference.to_dict()}
    _write_json(part / "p2l.json", describe(checkpoint) | refers)
    write_recipe(part, CardFacts.of(checkpoint))
    _write_json(part / "config.json", published_config(checkpoint.model.model.config))


def write_recipe(part: Path, facts: CardFacts) -> None:
    """Write the recipe, and the card that repeats it."""
    _write_json(part / "training_config.json", facts.recipe)
    (part / "README.md").write_text(model_card(facts), encoding="utf-8")


def describe(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the content of ``p2l.json``, with which a checkpoint is loaded from its path alone."""
    return {
        "family": checkpoint.family.name,
        "readout": checkpoint.model.readout,
        "prompt_format": checkpoint.encoder.format.to_dict(),
        "rank": checkpoint.model.head.rank,
    }


def published_state_dict(model: nn.Module, state_dict: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
    """Return ``model.*`` and ``head.*`` as published: adapters merged, weights dequantised, all on the CPU."""
    tensors = {k: v.detach() for k, v in (state_dict if state_dict is not None else model.state_dict()).items()}
    for name in _changed_linears(tensors):
        own = {key.removeprefix(f"{name}."): tensors.pop(key) for key in list(tensors) if key.startswith(f"{name}.")}
        tensors |= {f"{name}.{key}": value for key, value in _plain_linear(model.get_submodule(name), own).items()}
    return {key: value.to("cpu").contiguous() for key, value in tensors.items()}


def published_config(config: PreTrainedConfig) -> dict[str, Any]:
    """Return the backbone's configuration, with the keys of transformers 4 beside those that version 5 renamed."""
    values = json.loads(config.to_json_string(use_diff=False))
    values["architectures"] = ["P2LModel"]
    for not_published in ("quantization_config", "_name_or_path"):  # the latter is a path of this machine
        values.pop(not_published, None)
    rope = values.get("rope_parameters")
    if isinstance(rope, dict) and "rope_theta" in rope:
        values["rope_theta"] = rope["rope_theta"]
        scaling = {k: v for k, v in rope.items() if k != "rope_theta"}
        values["rope_scaling"] = None if scaling.get("rope_type", "default") == "default" else scaling
    values["torch_dtype"] = values.get("dtype")
    return values


def _changed_linears(keys: Iterable[str]) -> set[str]:
    """Return the names of linear layers that peft wrapped or bitsandbytes quantised, recognised by their keys."""
    marks = (".base_layer.weight", ".SCB", ".weight.absmax")
    names = {key.removesuffix(mark) for key in keys for mark in marks if key.endswith(mark)}
    return {name.removesuffix(".base_layer") for name in names}


def _plain_linear(layer: Any, own: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return weight and bias of a linear layer equal to ``layer``; ``own`` is its part of the state dict."""
    from peft.utils.integrations import dequantize_module_weight

    adapted = "lora_A.default.weight" in own
    base, prefix = (layer.base_layer, "base_layer.") if adapted else (layer, "")
    weight = own[f"{prefix}weight"]
    if not weight.is_floating_point():
        weight = dequantize_module_weight(base).float()
    if adapted:
        # from the state dict: under a sharded strategy the layer itself holds only a part
        delta = own["lora_B.default.weight"].float() @ own["lora_A.default.weight"].float() * layer.scaling["default"]
        weight = (weight.float() + (delta.T if layer.fan_in_fan_out else delta)).to(weight.dtype)
    bias = own.get(f"{prefix}bias")
    return {"weight": weight} if bias is None else {"weight": weight, "bias": bias}


def _save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    tokenizer.save_pretrained(folder, save_jinja_files=False)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(config.get("extra_special_tokens"), list):  # transformers 4 reads the list under its older name
        config["additional_special_tokens"] = config.pop("extra_special_tokens")
    if config.get("tokenizer_class") == "TokenizersBackend":
        config["tokenizer_class"] = "PreTrainedTokenizerFast"  # its name before transformers 5
    # version 5 writes these only if the tokenizer came with them, and the published evaluation reads them
    config |= {"truncation_side": tokenizer.truncation_side, "padding_side": tokenizer.padding_side}
    for machine_specific in ("is_local", "local_files_only", "name_or_path"):
        config.pop(machine_specific, None)
    _write_json(path, config)


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False, default=str) + "\n", encoding="utf-8")


def _move_into(part: Path, folder: Path) -> None:
    for file in part.iterdir():
        shutil.copymode(part / "config.json", file)  # safetensors writes files that only their owner can read
    if not folder.exists():
        os.replace(part, folder)
        return
    written = sorted(part.iterdir(), key=lambda file: file.name == "config.json")
    for file in written:
        os.replace(file, folder / file.name)
    for stale in {file for pattern in STALE for file in folder.glob(pattern)} - {
        folder / file.name for file in written
    }:
        stale.unlink()
