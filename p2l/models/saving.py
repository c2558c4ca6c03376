"""Write a P2L checkpoint folder that this package and the published loader both read."""

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from huggingface_hub import save_torch_state_dict
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from p2l.models.card import model_card
from p2l.models.checkpoint import Checkpoint


def save_checkpoint(
    folder: str | Path,
    checkpoint: Checkpoint,
    *,
    state_dict: dict[str, Tensor] | None = None,
    max_shard_size: str = "5GB",
) -> Path:
    """Write ``checkpoint`` to ``folder``; files appear whole, ``config.json`` last.

    ``state_dict`` replaces the model's own (a full one gathered from shards). Sharded above ``max_shard_size``.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        tensors = published_state_dict(checkpoint.model, state_dict)
        save_torch_state_dict(tensors, part, max_shard_size=max_shard_size)
        _save_tokenizer(checkpoint.encoder.tokenizer, part)
        _write_json(part / "model_list.json", list(checkpoint.models))
        _write_json(part / "training_config.json", checkpoint.recipe)
        _write_json(part / "p2l.json", describe(checkpoint))
        (part / "README.md").write_text(model_card(checkpoint), encoding="utf-8")
        _write_json(part / "config.json", published_config(checkpoint.model.model.config))
        _move_into(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def describe(checkpoint: Checkpoint) -> dict[str, Any]:
    """What ``p2l.json`` holds: enough to load the checkpoint from its path alone."""
    return {
        "family": checkpoint.family.name,
        "readout": checkpoint.model.readout,
        "prompt_format": checkpoint.encoder.format.to_dict(),
        "rank": checkpoint.model.head.rank,
    }


def published_state_dict(model: nn.Module, state_dict: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
    """``model.*`` and ``head.*`` as published: adapters merged, quantised weights restored, all on the CPU."""
    tensors = {k: v.detach() for k, v in (state_dict if state_dict is not None else model.state_dict()).items()}
    adapted = {k[: -len("base_layer.weight")] for k in tensors if k.endswith("base_layer.weight")}
    if adapted:
        tensors = _merge_lora(model, tensors, adapted)
    return {key: value.to("cpu").contiguous() for key, value in tensors.items()}


def published_config(config: PreTrainedConfig) -> dict[str, Any]:
    """The backbone's configuration, with the keys under which transformers 4 looked for what version 5 renamed."""
    values = json.loads(config.to_json_string(use_diff=False))
    values["architectures"] = ["P2LModel"]
    values.pop("quantization_config", None)
    rope = values.get("rope_parameters")
    if isinstance(rope, dict) and "rope_theta" in rope:
        values["rope_theta"] = rope["rope_theta"]
        scaling = {k: v for k, v in rope.items() if k != "rope_theta"}
        values["rope_scaling"] = None if scaling.get("rope_type", "default") == "default" else scaling
    values["torch_dtype"] = values.get("dtype")
    return values


def _merge_lora(model: nn.Module, tensors: dict[str, Tensor], adapted: set[str]) -> dict[str, Tensor]:
    from peft.utils.integrations import dequantize_module_weight

    kept = {}
    for key, value in tensors.items():
        prefix = next((p for p in adapted if key.startswith(p)), None)
        if prefix is None:
            kept[key] = value
        elif key == f"{prefix}base_layer.weight":
            layer = model.get_submodule(prefix.rstrip("."))
            delta = layer.get_delta_weight(layer.active_adapters[0])
            base = dequantize_module_weight(layer.get_base_layer())
            kept[f"{prefix}weight"] = (base.float() + delta.float()).to(delta.dtype)
        elif key == f"{prefix}base_layer.bias":
            kept[f"{prefix}bias"] = value
    return kept


def _save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    tokenizer.save_pretrained(folder, save_jinja_files=False)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(config.get("extra_special_tokens"), list):  # transformers 4 reads the list under its older name
        config["additional_special_tokens"] = config.pop("extra_special_tokens")
    if config.get("tokenizer_class") == "TokenizersBackend":
        config["tokenizer_class"] = "PreTrainedTokenizerFast"  # its name before transformers 5
    for machine_specific in ("is_local", "local_files_only", "name_or_path"):
        config.pop(machine_specific, None)
    _write_json(path, config)


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False, default=str) + "\n", encoding="utf-8")


def _move_into(part: Path, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for stale in folder.glob("model*.safetensors*"):
        if not (part / stale.name).exists():
            stale.unlink()
    for file in sorted(part.iterdir(), key=lambda file: file.name == "config.json"):
        os.replace(file, folder / file.name)
