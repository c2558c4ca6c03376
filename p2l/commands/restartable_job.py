"""A training job that may be started again: skipped if it is finished, resumed if it stopped."""

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

from omegaconf import DictConfig, OmegaConf

from p2l.errors import ConfigError
from p2l.files import write_whole
from p2l.scaling.points import RESULT_FILE, ScalingPoint
from p2l.training.training_run import last_checkpoint

log = logging.getLogger(__name__)

RECIPE_FILE = "recipe.yaml"
# what decides the result of a run; devices, loggers and folders may change between two starts
DECIDES = ("seed", "model", "head", "loss", "data", "batching", "optimizer", "scheduler")


@dataclass(frozen=True)
class RestartableJob:
    """What is left to do in the folder of a run.

    Attributes:
        resume: what ``p2l.training.train`` resumes from.
        last: the checkpoint to remove when the run is over; None keeps it.
        results: files or folders, one of which a finished run has written.
        result: of a finished run.
    """

    resume: str | None
    last: Path | None = None
    results: tuple[Path, ...] = ()
    result: ScalingPoint | None = None

    @classmethod
    def of(cls, cfg: DictConfig) -> "RestartableJob":
        """Return the job of a training configuration.

        With ``resume=auto`` it is finished if ``output_dir`` has a ``result.json``; else it resumes from ``last.ckpt``
        if there is one, else it starts. ``ConfigError`` if the folder holds a run of another recipe.
        """
        if cfg.resume != "auto":
            return cls(cfg.resume)
        folder = Path(cfg.output_dir)
        _claim(folder, cfg)
        if (folder / RESULT_FILE).exists():
            log.info("done already: %s", folder)
            return cls(None, result=ScalingPoint.read(folder / RESULT_FILE))
        last = last_checkpoint(folder)
        published = OmegaConf.select(cfg, "callbacks.publish.folder")
        results = (folder / RESULT_FILE, *([] if published is None else [Path(published)]))
        if last.is_dir() or is_zipfile(last):
            log.info("resuming: %s", last)
            return cls(str(last), last, results)
        if last.exists():
            log.warning("incomplete checkpoint, starting again: %s", last)
            last.unlink()
        return cls(None, last, results)

    def close(self) -> None:
        """Remove the checkpoint to resume from, if the finished run has left a result."""
        if self.last is None or not any(path.exists() for path in self.results):
            return
        if self.last.is_dir():
            shutil.rmtree(self.last)
        else:
            self.last.unlink(missing_ok=True)


def _claim(folder: Path, cfg: DictConfig) -> None:
    """Write the recipe of the run, or compare it with the one in the folder."""
    recipe = {key: cfg[key] for key in DECIDES} | {"trainer": {k: cfg.trainer[k] for k in ("max_epochs", "max_steps")}}
    text = OmegaConf.to_yaml(OmegaConf.create(recipe))
    path = folder / RECIPE_FILE
    if not path.exists():
        with write_whole(path) as file:
            file.write(text)
        return
    before, now = _flat(OmegaConf.load(path)), _flat(OmegaConf.create(text))
    changed = sorted(key for key in before | now if before.get(key) != now.get(key))
    if changed:
        differences = ", ".join(f"{key}={before.get(key)} (now {now.get(key)})" for key in changed[:3])
        raise ConfigError(
            f"{folder} holds a run with {differences}; give another output_dir (in a sweep: hydra.sweep.dir), "
            "or remove it"
        )


def _flat(config: Any) -> dict[str, Any]:
    return dict(_leaves(OmegaConf.to_container(config), ""))


def _leaves(value: Any, name: str) -> list[tuple[str, Any]]:
    if not isinstance(value, dict):
        return [(name, value)]
    return [leaf for key, item in value.items() for leaf in _leaves(item, f"{name}.{key}" if name else str(key))]
