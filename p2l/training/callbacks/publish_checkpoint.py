"""Write the checkpoint of a run in the published format."""

import logging
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy
from torch import Tensor
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

from p2l.data import VoteDataModule
from p2l.files import whole_file
from p2l.models import Checkpoint, push_checkpoint, save_checkpoint
from p2l.models.saving import save_description
from p2l.training.callbacks.end_of_run import EndOfRun
from p2l.training.callbacks.run_parts import run_parts
from p2l.training.lightning_module import P2LModule
from p2l.training.marginal_verdict import warning_about
from p2l.training.sharding import FSDP2Strategy

log = logging.getLogger(__name__)


class PublishCheckpoint(EndOfRun):
    """Writes ``folder`` in the published format at the end of a run, and pushes it to the hub if asked.

    Args:
        folder: folder of the checkpoint.
        recipe: content of ``training_config.json``; the final metrics are added.
        push_to_hub: repository id, or None.
        description: folder for everything but the weights, written at the start of the fit; with it,
            ``scripts/publish.py`` can convert any saved state of the run. None writes nothing.
    """

    def __init__(
        self,
        folder: str,
        recipe: Mapping[str, Any] | None = None,
        push_to_hub: str | None = None,
        description: str | None = None,
    ) -> None:
        self.folder, self.recipe, self.push_to_hub = Path(folder), dict(recipe or {}), push_to_hub
        self.description = description

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        # before the strategy shards the model
        if self.description is not None and stage == "fit" and trainer.is_global_zero:
            module, data = run_parts(trainer, pl_module)
            self.recipe |= {"unbounded": list(data.unbounded)} if data.unbounded else {}
            save_description(self.description, Checkpoint(module.model, data.encoder, data.models, self.recipe))

    def finish(self, trainer: Trainer, module: P2LModule, data: VoteDataModule) -> None:
        state_dict = full_state_dict(trainer, module)  # on all ranks: shards are gathered
        if not trainer.is_global_zero:
            return
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items() if "/" in name}
        warning = warning_about(metrics, data.unbounded)
        posterior_head = module.model.head.posterior_head
        known = {"warning": warning, "posterior": None if posterior_head is None else posterior_head.posterior.report}
        recipe = {**self.recipe, "metrics": metrics, **{name: value for name, value in known.items() if value}}
        checkpoint = Checkpoint(module.model, data.encoder, data.models, recipe)
        save_checkpoint(self.folder, checkpoint, state_dict=state_dict)
        if self.description is not None:  # for p2l publish: the recipe and the card with the metrics
            copy_files(("training_config.json", "README.md"), self.folder, Path(self.description))
        log.info("checkpoint: %s", self.folder)
        if self.push_to_hub:
            log.info("pushed: %s", push_checkpoint(self.folder, self.push_to_hub))


def copy_files(names: Iterable[str], source: Path, target: Path) -> None:
    """Copy files between folders; each appears whole."""
    for name in names:
        with whole_file(target / name) as part:
            shutil.copyfile(source / name, part)


def full_state_dict(trainer: Trainer, module: P2LModule) -> dict[str, Tensor]:
    """Return the whole state of ``module.model``, gathered if it is sharded; call it on all ranks."""
    strategy = trainer.strategy
    if isinstance(strategy, DeepSpeedStrategy) and strategy.zero_stage_3:
        # under ZeRO-3 the module has empty parameters: the engine gathers them, by keys of the LightningModule
        engine: Any = strategy.model
        return _inner(engine._zero3_consolidated_16bit_state_dict())
    if isinstance(strategy, (FSDPStrategy, FSDP2Strategy)):
        assert strategy.model is not None
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        return _inner(get_model_state_dict(strategy.model, options=options))
    return module.model.state_dict()


def _inner(state: Mapping[str, Any]) -> dict[str, Tensor]:
    prefix = "model."
    return {key[len(prefix) :]: _without_padding(value) for key, value in state.items() if key.startswith(prefix)}


def _without_padding(tensor: Tensor) -> Tensor:
    """Return the tensor without the padding that gathered shards leave in its storage: safetensors rejects it."""
    return tensor if tensor.untyped_storage().nbytes() == tensor.nbytes else tensor.clone()
