"""What the scripts need around Hydra: build the parts of a run in their order, and say errors in one line."""

import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from huggingface_hub.serialization import _torch as torch_serialization
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.types import RunMode
from hydra.utils import instantiate
from lightning import Callback, Trainer, seed_everything
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Checkpoint, ProgressBar
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from p2l.data import VoteDataModule
from p2l.errors import ConfigError, P2LError
from p2l.models import ModelRecipe
from p2l.training import P2LModule
from p2l.training.callbacks import EndOfRun, PublishCheckpoint
from p2l.training.published_recipe import published_recipe

log = logging.getLogger(__name__)

CHATTY_LOGGERS = (
    "bitsandbytes",  # which of its kernels it could not find
    torch_serialization.__file__,  # that weights were saved; huggingface_hub names this logger by its file
    "lightning.pytorch.utilities.rank_zero",  # which accelerators the machine lacks, and tips
)


def register_resolvers() -> None:
    """Make ``${p2l.auto_precision:}``, ``${p2l.output_dir:...}`` and ``${p2l.file_name:...}`` known to OmegaConf."""
    OmegaConf.register_new_resolver("p2l.auto_precision", _auto_precision, replace=True)
    OmegaConf.register_new_resolver("p2l.output_dir", _output_dir, replace=True)
    OmegaConf.register_new_resolver("p2l.file_name", _file_name, replace=True)


def make(node: DictConfig, **options: Any) -> Any:
    """The object that a node of the configuration describes, made from plain containers."""
    return instantiate(node, _convert_="all", **options)


def build_run(cfg: DictConfig) -> tuple[P2LModule, VoteDataModule, Trainer]:
    """The parts of a training run: votes decide the models, the model its tokenizer, both the size of the head."""
    if missing := sorted(OmegaConf.missing_keys(cfg)):
        raise ConfigError(f"no value given; add {' '.join(f'{name}=...' for name in missing)}")
    seed_everything(cfg.seed, workers=True, verbose=False)
    callbacks = _callbacks(cfg)
    trainer = make_trainer(
        cfg.trainer, callbacks, make(cfg.logger)
    )  # first, since it finds out at once what the machine lacks
    recipe: ModelRecipe = make(cfg.model)
    datamodule: VoteDataModule = make(cfg.datamodule)
    module_of = make(cfg.module)
    encoder = recipe.encoder()
    model = recipe.build(encoder, make(cfg.head), datamodule.models, seed=cfg.seed)
    datamodule.prepare(encoder, module_of.keywords["objective"].view_of(model.head.family))
    for callback in callbacks:
        if isinstance(callback, PublishCheckpoint):
            callback.recipe = published_recipe(cfg, model)
    return module_of(model), datamodule, trainer


def _callbacks(cfg: DictConfig) -> list[Callback]:
    """The callbacks that are not null; those that read the final weights come after those that set them."""
    callbacks = [callback for callback in make(cfg.callbacks).values() if callback is not None]
    return sorted(callbacks, key=lambda callback: isinstance(callback, EndOfRun))


def make_trainer(node: DictConfig, callbacks: list[Callback], logger: Logger | None = None) -> Trainer:
    """The trainer of a node, with these callbacks and no others; ConfigError where its options do not fit."""
    trainer_of = make(node, _partial_=True)
    # Lightning adds its own where there is none, though the configuration left them out
    defaults = {
        "enable_progress_bar": any(isinstance(callback, ProgressBar) for callback in callbacks),
        "enable_checkpointing": any(isinstance(callback, Checkpoint) for callback in callbacks),
    }
    try:
        return trainer_of(callbacks=callbacks, logger=False if logger is None else logger, **defaults)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"trainer: {error}") from error


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Turn an error that options or data cause into one logged message and exit status 2; keep libraries quiet.

    HYDRA_FULL_ERROR=1 shows where it was raised.
    """
    _quiet()
    try:
        yield
    except Exception as error:
        reason = _reason(error)
        if reason is None or os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        log.error("%s", reason)
        sys.exit(2)


def _reason(error: Exception) -> str | None:
    """What to tell the user; None for a fault of ours."""
    if isinstance(error, InstantiationException):
        cause = error.__cause__
        return (_reason(cause) if isinstance(cause, Exception) else None) or _on_one_line(error)
    if isinstance(error, torch.OutOfMemoryError):
        return f"out of memory; a lower batching.token_budget or model.max_length helps: {_on_one_line(error)}"
    if isinstance(error, P2LError):
        return str(error)
    return _on_one_line(error) if isinstance(error, (OmegaConfBaseException, MisconfigurationException)) else None


def _on_one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _quiet() -> None:
    for name in CHATTY_LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    if rank_zero_only.rank:  # type: ignore[attr-defined]
        logging.getLogger("p2l").setLevel(logging.WARNING)
    # a frozen backbone is kept in evaluation mode, without dropout
    warnings.filterwarnings("ignore", message="Found .* module.s. in eval mode at the start of training")
    # Lightning 2.6 asks torch 2.13 in an older way
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*", category=FutureWarning)


def _auto_precision() -> str:
    return "bf16-mixed" if torch.cuda.is_available() else "32-true"


def _output_dir(folder: str) -> str:
    """``folder``, or in a sweep the folder that Hydra gives to the job."""
    hydra = HydraConfig.get() if HydraConfig.initialized() else None
    return hydra.runtime.output_dir if hydra is not None and hydra.mode == RunMode.MULTIRUN else folder


def _file_name(text: object) -> str:
    """``text``, a path or a hub id, say, as one name of a folder."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", str(text)).strip("_")
