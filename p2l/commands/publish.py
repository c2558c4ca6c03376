"""Convert a checkpoint of a run to the published format, one file of weights at a time."""

import json
import logging
import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import split_state_dict_into_shards_factory
from omegaconf import DictConfig
from safetensors.torch import save_file
from torch import Tensor
from tqdm.auto import tqdm

from p2l.composition.config_objects import make
from p2l.errors import CheckpointError
from p2l.models.backbone import DTypeName
from p2l.models.card import CardFacts
from p2l.models.finite_weights import check_weights
from p2l.models.saving import whole_checkpoint, write_recipe
from p2l.outcomes import get_family
from p2l.training.marginal_verdict import absurd_loss, warning_about
from p2l.training.resume_point import saved_step, validated_metrics
from p2l.training.stored_weights import StoredTensor, stored_weights

log = logging.getLogger(__name__)

BASE, A, B = ".base_layer", ".lora_A.default.weight", ".lora_B.default.weight"


@dataclass(frozen=True)
class PublishJob:
    """Write a folder in the published format from a checkpoint of a run, one file of weights at a time.

    Everything but the weights comes from the ``description`` folder of the run. It holds one file of weights in
    memory; with DeepSpeed stages 1 and 2 all weights in float32. CheckpointError if something is missing.

    Attributes:
        run_folder: of the run.
        checkpoint: a path, or a name in the ``checkpoints`` of the run: a file, or a folder of shards.
        output: the folder to write.
        dtype: of the weights written; None leaves them as they are.
        max_shard_size: most bytes in a file of weights.
    """

    run_folder: str
    output: str
    checkpoint: str = "best.ckpt"
    dtype: DTypeName | None = None
    max_shard_size: str = "5GB"

    def run(self) -> Path:
        """Write the folder; it appears whole, and replaces the files of an existing one."""
        description = Path(self.run_folder) / "description"
        if not description.is_dir():
            raise CheckpointError(
                f"{description} is missing; callbacks.publish of a run writes it when training starts"
            )
        source = self._checkpoint_path()
        weights = stored_weights(source)
        recipe = _read_object(description / "training_config.json")
        merged = merge_adapters(weights, recipe)
        facts = describe_published(description, recipe, source, merged)
        with whole_checkpoint(self.output) as part:
            shutil.copytree(description, part, dirs_exist_ok=True)
            write_recipe(part, facts)
            dtype = None if self.dtype is None else getattr(torch, self.dtype)
            write_weights(part, merged, dtype, self.max_shard_size, source)
        log.info("checkpoint: %s", self.output)
        return Path(self.output)

    def _checkpoint_path(self) -> Path:
        """Return the checkpoint of the run by its name, or the path as given."""
        folder = Path(self.run_folder) / "checkpoints"
        candidates = (folder / self.checkpoint, Path(self.checkpoint))
        found = next((path for path in candidates if path.exists()), None)
        if found is None:
            names = ", ".join(sorted(path.name for path in folder.glob("*"))) if folder.is_dir() else ""
            raise CheckpointError(
                f"there is neither {candidates[0]} nor {candidates[1].absolute()}; "
                f"{folder} contains {names or 'no checkpoint: the run ended before the first one was saved'}"
            )
        return found


def describe_published(
    description: Path, recipe: dict[str, Any], source: Path, weights: Mapping[str, StoredTensor]
) -> CardFacts:
    """Return the facts of a card whose metrics are those of these weights, or none if they were not validated."""
    known, own = recipe.get("metrics") or {}, validated_metrics(source)
    if own and math.isclose(known.get("val/log_loss", math.nan), own["val/log_loss"], rel_tol=1e-6):
        own = known  # the run published these weights itself, with more metrics
    family = get_family(_read_object(description / "p2l.json")["family"])
    if reason := absurd_loss(own, len(family.outcomes)):
        raise CheckpointError(f"{source}: {reason}")
    step = saved_step(source)
    recipe = {name: value for name, value in recipe.items() if name not in ("metrics", "warning")}
    recipe["published_from"] = (
        f"{source.name}{'' if step is None else f', step {step}'}{'' if own else ', without validation'}"
    )
    recipe |= {"metrics": own} if own else {}
    if warning := warning_about(own, recipe.get("unbounded", ())):
        recipe["warning"] = warning
    facts, config = (_read_object(description / name) for name in ("p2l.json", "config.json"))
    return CardFacts(
        get_family(facts["family"]),
        json.loads((description / "model_list.json").read_text(encoding="utf-8")),
        recipe,
        config["model_type"],
        sum(torch.Size(tensor.shape).numel() for tensor in weights.values()),
        facts["rank"],
        facts["readout"],
        facts["prompt_format"]["max_length"],
    )


def _read_object(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return values


def write_weights(
    folder: Path, weights: dict[str, StoredTensor], dtype: torch.dtype | None, max_shard_size: str, source: Path
) -> None:
    """Write safetensors files, named as the hub names them, holding one of them at a time.

    Raises CheckpointError, which names ``source`` and the tensor, if a weight is not finite.
    """
    sized = {name: t if dtype is None else t._replace(dtype=dtype) for name, t in weights.items()}
    plan = split_state_dict_into_shards_factory(
        sized,
        get_storage_size=lambda tensor: tensor.num_bytes,
        filename_pattern="model{suffix}.safetensors",
        max_shard_size=max_shard_size,
    )
    for file, names in tqdm(plan.filename_to_tensors.items(), desc="weights", unit="file"):
        # a copy, since a mapped tensor is a view of the whole file
        tensors = {name: weights[name].read().to(sized[name].dtype, copy=True).contiguous() for name in names}
        check_weights(source, tensors.items())
        save_file(tensors, folder / file, metadata={"format": "pt"})
    if plan.is_sharded:
        index = {"metadata": plan.metadata, "weight_map": plan.tensor_to_filename}
        path = folder / "model.safetensors.index.json"
        path.write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def merge_adapters(weights: dict[str, StoredTensor], recipe: dict[str, Any]) -> dict[str, StoredTensor]:
    """Add LoRA adapters to the layers that they adapt: W + alpha / rank * B A."""
    if any(name.endswith((".SCB", ".weight.absmax")) for name in weights):
        raise CheckpointError("quantised weights are restored by the run itself; see the checkpoint in its folder")
    adapted = {name.removesuffix(A) for name in weights if name.endswith(A)}
    if not adapted:
        return weights
    try:
        alpha = float(recipe["config"]["model"]["lora"]["alpha"])
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            "training_config.json does not say the alpha of the adapters (config.model.lora)"
        ) from error
    merged = {name.replace(BASE, ""): tensor for name, tensor in weights.items() if not name.endswith((A, B))}
    for layer in adapted:
        merged[f"{layer}.weight"] = _merged(
            weights[f"{layer}{BASE}.weight"], weights[layer + A], weights[layer + B], alpha
        )
    return merged


def _merged(base: StoredTensor, a: StoredTensor, b: StoredTensor, alpha: float) -> StoredTensor:
    def read() -> Tensor:
        weight = base.read()
        delta = b.read().float() @ a.read().float() * (alpha / a.shape[0])
        return (weight.float() + delta).to(weight.dtype)

    return base._replace(read=read)


def run(cfg: DictConfig) -> None:
    make(cfg.job).run()
