"""Read P2L checkpoints in the published folder format, local or on the hub.

A folder holds: ``config.json`` (the backbone's), ``model*.safetensors`` (``model.*`` backbone, ``head.*`` head),
tokenizer files, ``model_list.json`` (names, sorted; coefficient i is entry i), ``training_config.json`` (the recipe),
and ``p2l.json`` (family, readout, prompt format; the backbone if its weights are elsewhere). Published checkpoints lack
the last one: their family is read from ``training_config.json`` or the arguments, and their shapes from the weights. If
it was lost, the recipe of a training run of p2l says the same.
``costs.npz`` is the cost head and ``posterior.npz`` the posterior of the head, if any.
"""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from p2l.data.prompt_encoder import PromptEncoder, PromptFormat, prepare_tokenizer
from p2l.errors import CheckpointError, ConfigError, P2LError
from p2l.heads import RankingHead
from p2l.models.backbone import (
    Attention,
    DTypeName,
    Quantization,
    explain_load_error,
    load_backbone,
    load_tokenizer,
    local_folder,
    prepare_backbone,
)
from p2l.models.backbone_reference import BackboneReference
from p2l.models.checkpoint import Checkpoint
from p2l.models.cost_file import load_cost_head
from p2l.models.finite_weights import check_read_weights
from p2l.models.p2l_model import P2LModel
from p2l.models.posterior_file import load_posterior
from p2l.models.readout import Readout
from p2l.outcomes import FAMILIES, OutcomeFamily, get_family

log = logging.getLogger(__name__)

PUBLISHED_MAX_LENGTH = 8192
PUBLISHED_BACKBONES = ("qwen2", "llama")


@dataclass(frozen=True)
class CheckpointHead:
    """A checkpoint without its backbone, for an engine that runs the backbone itself; fields as in ``Checkpoint``.

    ``backbone`` is where its weights are if they are not in the folder.
    """

    head: RankingHead
    readout: Readout
    models: tuple[str, ...]
    recipe: dict[str, Any]
    backbone: BackboneReference | None = None


def load_checkpoint(
    path: str | Path,
    *,
    head_type: str | None = None,
    loss_type: str | None = None,
    max_length: int | None = None,
    dtype: DTypeName = "float32",
    attn_implementation: Attention | None = None,
    quantization: Quantization | None = None,
    dropout: float | None = None,
) -> Checkpoint:
    """Load the checkpoint of a local folder, one that p2l carries, or that of a hub repository.

    Args:
        path: folder, name of a checkpoint that p2l carries (``p2l-minilm-general``), or hub id, in this order.
        head_type: published option, needed only if the checkpoint does not name its family.
        loss_type: as ``head_type``.
        max_length: overrides the length that it was trained with.
        dtype: as in ``load_backbone``.
        attn_implementation: as in ``load_backbone``.
        quantization: as in ``load_backbone``.
        dropout: as in ``load_backbone``.

    Raises:
        CheckpointError: names what is missing, does not fit, or is not finite.
    """
    path = str(path)
    folder = Path(local_folder(path))
    part = load_head(folder, head_type=head_type, loss_type=loss_type, name=path)
    encoder = load_encoder(folder, max_length)
    backbone = load_backbone(
        str(folder) if part.backbone is None else part.backbone.folder(path),
        dtype=dtype,
        attn_implementation=attn_implementation,
        quantization=quantization,
        dropout=dropout,
        key_mapping={r"^model\.": ""},
    )
    model = P2LModel(prepare_backbone(backbone), part.head, part.readout, encoder.cls_token_id)
    checkpoint = Checkpoint(model.eval(), encoder, part.models, part.recipe)
    if checkpoint.warning:
        log.warning("the model in %s is %s", path, checkpoint.warning)
    return checkpoint


def load_head(
    folder: Path, *, head_type: str | None = None, loss_type: str | None = None, name: str = ""
) -> CheckpointHead:
    """Load all of a local checkpoint folder but its backbone and encoder; the head is in float32.

    Args:
        folder: the checkpoint.
        head_type: as in ``load_checkpoint``.
        loss_type: as in ``load_checkpoint``.
        name: of the checkpoint in errors; the folder by default.

    Raises:
        CheckpointError: as ``load_checkpoint``.
    """
    name = name or str(folder)
    models = _read_models(folder / "model_list.json")
    recipe, description = _read_object(folder / "training_config.json"), _read_description(folder)
    if not description:
        _warn_of_guessed_format(folder)
    weights = read_head(folder)
    family = _family_of(name, description, recipe, weights, head_type, loss_type)
    head = _head_of(name, weights, family, len(models))
    head.cost_head = load_cost_head(folder, models, head.hidden_size, weights)
    num_outputs = len(models) + family.num_eta
    head.posterior_head = load_posterior(folder, models, head.hidden_size, num_outputs, weights)
    refers = description.get("backbone")
    backbone = None if refers is None else BackboneReference.from_dict(refers, folder / "p2l.json")
    return CheckpointHead(head, description.get("readout", "cls"), models, recipe, backbone)


def _read_models(path: Path) -> tuple[str, ...]:
    if not path.exists():
        hint = "a P2L checkpoint folder has one"
        for inner in path.parent.glob(f"*/{path.name}"):  # of a run's folder, whose description has no weights
            if any(inner.parent.glob("*.safetensors")):
                hint = f"did you mean {inner.parent}?"
        raise CheckpointError(f"{path} is missing; {hint}")
    return model_names(_read_json(path), path, CheckpointError)


def model_names(names: object, path: Path, error: type[P2LError]) -> tuple[str, ...]:
    """Check that ``names``, read from ``path``, are a list of distinct names; else raise ``error``."""
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise error(f"{path} must hold a non-empty list of model names")
    if len(set(names)) < len(names):
        raise error(f"{path} names a model twice: {next(n for n in names if names.count(n) > 1)}")
    return tuple(names)


def _read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object; return an empty one if the file is missing: checkpoints need not have it."""
    values = _read_json(path) if path.exists() else {}
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} must hold a JSON object; found a {type(values).__name__}")
    return values


def _read_description(folder: Path) -> dict[str, Any]:
    """Read ``p2l.json``; of a folder without it, what a recipe of p2l says, else nothing: the published format."""
    if (folder / "p2l.json").exists():
        return _read_object(folder / "p2l.json")
    model = (_read_object(folder / "training_config.json").get("config") or {}).get("model") or {}
    if {"readout", "max_length", "cls_position"} <= model.keys():
        prompt_format = {name: model[name] for name in ("max_length", "cls_position")}
        return {"readout": model["readout"], "prompt_format": prompt_format}
    return {}


def _warn_of_guessed_format(folder: Path) -> None:
    """Warn if nothing says how prompts are read, and the backbone is of a type that no published checkpoint has."""
    backbone = _read_object(folder / "config.json").get("model_type")
    if backbone not in PUBLISHED_BACKBONES:
        log.warning(
            "%s has no p2l.json, which says how a model of type %s reads prompts; as in published checkpoints, the "
            "token after the prompt is read; copy p2l.json too if the checkpoint had one",
            *(folder, backbone),
        )


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path} is not valid JSON: {error}") from None


def read_head(folder: Path) -> dict[str, Tensor]:
    """Read the ``head.*`` tensors, without their prefix, from one file or the shards that the index names."""
    try:
        index = folder / "model.safetensors.index.json"
        if index.exists():
            files = {file for key, file in _read_object(index)["weight_map"].items() if key.startswith("head.")}
        else:
            files = {"model.safetensors"}
        head: dict[str, Tensor] = {}
        for file in sorted(files):
            with safe_open(folder / file, framework="pt") as tensors:
                head |= {k[5:]: tensors.get_tensor(k) for k in tensors.keys() if k.startswith("head.")}  # noqa: SIM118
    except SafetensorError as error:
        raise CheckpointError(f"the weights in {folder} are damaged or cut short: {error}") from error
    except (OSError, KeyError) as error:
        raise CheckpointError(explain_load_error(str(folder), error)) from error
    check_read_weights(folder, ((f"head.{key}", tensor) for key, tensor in head.items()))
    if not any(key.startswith("head.") for key in head):
        raise CheckpointError(
            f"{folder} has no head.head.* weights: it is a plain language model, not a P2L checkpoint"
        )
    return head


def _family_of(
    path: str,
    description: dict[str, Any],
    recipe: dict[str, Any],
    weights: dict[str, Tensor],
    head_type: str | None,
    loss_type: str | None,
) -> OutcomeFamily:
    has_eta = any(key.startswith("eta_head.") for key in weights)
    has_gamma = any(key.startswith("gamma_head.") for key in weights)
    name = description.get("family") or loss_type or recipe.get("loss_type")
    if name is None and has_eta and not has_gamma:
        raise CheckpointError(
            f"{path} does not name its likelihood family, and its weights fit every family with eta; "
            f"give --loss-type: {', '.join(name for name, family in FAMILIES.items() if family.num_eta)}"
        )
    try:
        family = get_family(name or head_type or ("ba" if has_gamma else "bt"))
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from error
    if (family.num_eta == 1) != has_eta or family.has_threshold != has_gamma:
        found = " + ".join(["coefs", *(["eta"] if has_eta else []), *(["gamma"] if has_gamma else [])])
        raise CheckpointError(
            f"family {family.name!r} does not fit the head in {path}, which emits {found}; "
            f"give the --head-type/--loss-type that it was trained with"
        )
    if loss_type and description.get("family") and get_family(loss_type) is not family:
        raise CheckpointError(f"{path} was trained as {family.name!r}; --loss-type {loss_type} does not fit")
    return family


def load_encoder(folder: Path, max_length: int | None = None) -> PromptEncoder:
    """Load the prompt encoder of a local checkpoint folder; ``max_length`` overrides that of the training."""
    recipe, description = _read_object(folder / "training_config.json"), _read_description(folder)
    tokenizer = prepare_tokenizer(load_tokenizer(str(folder)))
    options = dict(description.get("prompt_format") or {"max_length": recipe.get("max_length", PUBLISHED_MAX_LENGTH)})
    if max_length is not None:
        options["max_length"] = max_length
    try:
        return PromptEncoder(tokenizer, PromptFormat(**options))
    except TypeError as error:
        raise CheckpointError(f"{folder / 'p2l.json'} has an unknown prompt_format: {error}") from error


def _head_of(path: str, weights: dict[str, Tensor], family: OutcomeFamily, num_models: int) -> RankingHead:
    low_rank = "head.0.weight" in weights
    from_bottleneck = "eta_head.1.weight" in weights
    # eta_head.0 is a copy of head.0
    weights = {key: value.float() for key, value in weights.items() if not key.startswith("eta_head.0.")}
    try:
        first, last = (
            weights[key] for key in (("head.0.weight", "head.1.weight") if low_rank else ["head.weight"] * 2)
        )
        if last.shape[0] != num_models:
            raise CheckpointError(f"{path}: the head ranks {last.shape[0]} models, model_list.json names {num_models}")
        head = RankingHead(
            hidden_size=first.shape[1],
            num_models=num_models,
            family=family,
            rank=first.shape[0] if low_rank else None,
            eta_from="bottleneck" if from_bottleneck else "hidden",
        ).float()  # whatever torch's default dtype
        head.load_state_dict(weights)
    except (ConfigError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{path}: the head weights do not fit together: {reason}") from error
    return head


def is_p2l_checkpoint(path: str) -> bool:
    """Return whether a local folder holds a P2L checkpoint rather than a plain language model."""
    return any((Path(path) / name).exists() for name in ("model_list.json", "p2l.json"))
