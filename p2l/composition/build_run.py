"""Build the parts of a training run, and its trainer, from a Hydra configuration."""

from lightning import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import Checkpoint, ProgressBar
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf

from p2l.composition.config_objects import make
from p2l.data import VoteDataModule
from p2l.errors import ConfigError
from p2l.models import ModelRecipe
from p2l.training import P2LModule
from p2l.training.callbacks import EndOfRun, PublishCheckpoint
from p2l.training.published_recipe import published_recipe


def build_run(cfg: DictConfig) -> tuple[P2LModule, VoteDataModule, Trainer]:
    """Build module, data and trainer: the votes name the models, the model names the tokenizer, both size the head."""
    if missing := sorted(OmegaConf.missing_keys(cfg)):
        raise ConfigError(f"no value given; add {' '.join(f'{name}=...' for name in missing)}")
    seed_everything(cfg.seed, workers=True, verbose=False)
    callbacks = _callbacks(cfg)
    # the trainer comes first: it reports what the machine lacks before any data is read
    trainer = make_trainer(cfg.trainer, callbacks, make(cfg.logger))
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
    """Make the callbacks that are not null; those that read the final weights come after those that set them."""
    callbacks = [callback for callback in make(cfg.callbacks).values() if callback is not None]
    return sorted(callbacks, key=lambda callback: isinstance(callback, EndOfRun))


def make_trainer(node: DictConfig, callbacks: list[Callback], logger: Logger | None = None) -> Trainer:
    """Make the trainer of a node with these callbacks and no others; ConfigError if its options do not fit."""
    trainer_of = make(node, _partial_=True)
    # without these two, Lightning adds a progress bar and checkpoints that the configuration left out
    defaults = {
        "enable_progress_bar": any(isinstance(callback, ProgressBar) for callback in callbacks),
        "enable_checkpointing": any(isinstance(callback, Checkpoint) for callback in callbacks),
    }
    try:
        return trainer_of(callbacks=callbacks, logger=False if logger is None else logger, **defaults)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"trainer: {error}") from error
