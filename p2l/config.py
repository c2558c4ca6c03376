"""What the scripts need around Hydra: build the parts of a run in their order, and say errors in one line."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning import Trainer, seed_everything
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from p2l.data import VoteDataModule
from p2l.errors import P2LError
from p2l.models import ModelRecipe
from p2l.training import P2LModule
from p2l.training.recipe import published_recipe

log = logging.getLogger(__name__)


def register_resolvers() -> None:
    """Make ``${p2l.auto_precision:}`` known to OmegaConf."""
    OmegaConf.register_new_resolver("p2l.auto_precision", _auto_precision, replace=True)


def build_run(cfg: DictConfig) -> tuple[P2LModule, VoteDataModule, Trainer]:
    """The parts of a training run: votes decide the models, the model its tokenizer, both the size of the head."""
    seed_everything(cfg.seed, workers=True, verbose=False)
    recipe: ModelRecipe = instantiate(cfg.model)
    head = instantiate(cfg.head)
    datamodule: VoteDataModule = instantiate(cfg.datamodule)
    module_of = instantiate(cfg.module)
    logger = instantiate(cfg.logger)
    encoder = recipe.encoder()
    model = recipe.build(encoder, head, datamodule.models, seed=cfg.seed)
    datamodule.prepare(encoder, module_of.keywords["objective"].view_of(model.head.family))
    callbacks = [callback for callback in instantiate(cfg.callbacks).values() if callback is not None]
    for callback in callbacks:
        if hasattr(callback, "recipe"):
            callback.recipe = published_recipe(cfg, model)
    return module_of(model), datamodule, instantiate(cfg.trainer, callbacks=callbacks, logger=logger)


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Turn an error that p2l raised on purpose into one logged message and exit status 2."""
    try:
        yield
    except Exception as error:
        reason = _expected(error)
        if reason is None:
            raise
        log.error("%s", reason)
        sys.exit(2)


def _expected(error: BaseException | None) -> str | None:
    """The message of the P2LError behind an exception, or of OmegaConf's own complaint; None for a fault of ours."""
    while error is not None:
        if isinstance(error, (P2LError, OmegaConfBaseException)):
            return str(error)
        error = error.__cause__ if isinstance(error, InstantiationException) else None
    return None


def _auto_precision() -> str:
    return "bf16-mixed" if torch.cuda.is_available() else "32-true"


def plain(cfg: DictConfig) -> dict[str, Any]:
    """The configuration as plain containers, interpolations resolved."""
    return OmegaConf.to_container(cfg, resolve=True)  # type: ignore[return-value]
