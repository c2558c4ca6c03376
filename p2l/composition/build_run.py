"""Build the parts of a training run, and its trainer, from a Hydra configuration."""

import logging
import sys

from lightning import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import Checkpoint, ProgressBar
from omegaconf import DictConfig, OmegaConf

from p2l.composition.config_objects import make
from p2l.composition.sized_config import AUTO, with_sizes
from p2l.composition.trainer_options import check_trainer_options
from p2l.data import ScoreVotes, VoteDataModule
from p2l.data.datamodule import VoteSource
from p2l.errors import ConfigError
from p2l.models import ModelRecipe, P2LModel
from p2l.options import check_seed
from p2l.training import P2LModule
from p2l.training.callbacks import EndOfRun, PublishCheckpoint, WriteRunPage
from p2l.training.published_recipe import published_recipe

log = logging.getLogger(__name__)


def build_run(cfg: DictConfig) -> tuple[P2LModule, VoteDataModule, Trainer]:
    """Build module, data and trainer: the votes name the models, the model names the tokenizer, both size the head."""
    if missing := sorted(OmegaConf.missing_keys(cfg)):
        raise ConfigError(f"no value given; add {' '.join(f'{name}=...' for name in missing)}")
    check_seed(cfg.seed)
    seed_everything(cfg.seed, workers=True, verbose=False)
    # missing packages, devices and weights are found before data is read, and a logger starts when all is there
    for part in (cfg.optimizer, cfg.scheduler, cfg.loss, cfg.batching):
        make(part, **{name: 1 for name, value in (part or {}).items() if value == AUTO})  # sized when votes are known
    recipe: ModelRecipe = make(cfg.model)
    callbacks = _callbacks(cfg)
    trainer = make_trainer(cfg.trainer, callbacks)
    encoder = recipe.encoder()
    source: VoteSource = make(cfg.data)
    votes = source.load()
    model = recipe.build(encoder, make(cfg.head), votes.train.models, seed=cfg.seed)
    cfg = with_sizes(cfg, votes.train, model, isinstance(source, ScoreVotes))
    trainer.fit_loop.max_epochs = cfg.trainer.max_epochs
    trainer.val_check_interval = cfg.trainer.val_check_interval
    if cfg.optimizer.lr == 0:
        freeze(model)
    module_of = make(cfg.module)
    datamodule: VoteDataModule = make(cfg.datamodule)(source, make(cfg.batching), votes=votes)
    datamodule.prepare(encoder, module_of.keywords["objective"].view_of(model.head.family))
    for callback in callbacks:
        if isinstance(callback, PublishCheckpoint):
            callback.recipe = published_recipe(cfg, model)
        elif isinstance(callback, WriteRunPage):
            callback.show_config(published_recipe(cfg, model)["config"])
    trainer.logger = make(cfg.logger)
    log.info("%s: %s parameters, %s trained", cfg.name, f"{model.num_parameters:,}", f"{_num_trained(model):,}")
    return module_of(model), datamodule, trainer


def _callbacks(cfg: DictConfig) -> list[Callback]:
    """Make the callbacks that are not null; those that read the final weights come after those that set them."""
    callbacks = [callback for callback in make(cfg.callbacks).values() if callback is not None]
    if not sys.stdout.isatty():  # callbacks.lines shows progress
        callbacks = [callback for callback in callbacks if not isinstance(callback, ProgressBar)]
    return sorted(callbacks, key=lambda callback: isinstance(callback, EndOfRun))


def freeze(model: P2LModel) -> None:
    """Leave the weights of the backbone as they are, and turn its dropout off."""
    model.model.requires_grad_(False).eval()


def _num_trained(model: P2LModel) -> int:
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def make_trainer(node: DictConfig, callbacks: list[Callback]) -> Trainer:
    """Make the trainer of a node with these callbacks and no others; ConfigError if its options do not fit."""
    check_trainer_options(node)
    # build_run sets these when the votes are known
    later = {name: 1 for name in ("max_epochs", "val_check_interval") if node[name] == AUTO}
    trainer_of = make(node, _partial_=True, **later)
    # without these two, Lightning adds a progress bar and checkpoints that the configuration left out
    defaults = {
        "enable_progress_bar": any(isinstance(callback, ProgressBar) for callback in callbacks),
        "enable_checkpointing": any(isinstance(callback, Checkpoint) for callback in callbacks),
    }
    try:
        return trainer_of(callbacks=callbacks, logger=False, **defaults)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"trainer: {error}") from error
