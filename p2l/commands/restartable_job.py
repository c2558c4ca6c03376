"""A training job that may be started again: skipped if it is finished, resumed if it stopped."""

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

from omegaconf import DictConfig, OmegaConf

from p2l.errors import ConfigError, DataError
from p2l.files import write_whole
from p2l.scaling.points import RESULT_FILE, ScalingPoint
from p2l.training.resume_point import last_checkpoint

log = logging.getLogger(__name__)

RECIPE_FILE, FINISHED_FILE = "recipe.yaml", "finished.json"
# what decides the result of a run; devices, loggers and folders may change between two starts
DECIDES = ("seed", "model", "head", "loss", "data", "batching", "optimizer", "scheduler")


@dataclass(frozen=True)
class FinishedRun:
    """The last step of a finished run, and its validation loss if there were validation votes."""

    step: int
    val_log_loss: float | None

    @classmethod
    def read(cls, folder: Path, published: Path | None) -> "FinishedRun | None":
        """Return the finished run in a folder; None if there is none, or if the folder it published is gone."""
        if (folder / RESULT_FILE).exists():
            point = ScalingPoint.read(folder / RESULT_FILE)
            return cls(point.steps, point.val_log_loss)
        if not (folder / FINISHED_FILE).exists() or (published is not None and not published.exists()):
            return None
        try:
            return cls(**json.loads((folder / FINISHED_FILE).read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise DataError(f"{folder / FINISHED_FILE} is damaged ({error}); remove it to train again") from None


@dataclass(frozen=True)
class RestartableJob:
    """What is left to do in the folder of a run.

    Attributes:
        folder: of the run.
        resume: what ``p2l.training.train`` resumes from.
        last: the checkpoint to remove when the run is over; None keeps it.
        results: files or folders, one of which a finished run has written.
        finished: the run, if nothing is left to do.
    """

    folder: Path
    resume: str | None
    last: Path | None = None
    results: tuple[Path, ...] = ()
    finished: FinishedRun | None = None

    @classmethod
    def of(cls, cfg: DictConfig) -> "RestartableJob":
        """Return the job of a training configuration.

        With ``resume=auto`` it is finished if a run in ``output_dir`` ended; else it resumes from ``last.ckpt``, if it
        is there, else it starts. ConfigError if the folder holds a run of another recipe.
        """
        folder = Path(cfg.output_dir)
        if cfg.resume != "auto":
            for of_another in (FINISHED_FILE, RECIPE_FILE):
                (folder / of_another).unlink(missing_ok=True)
            return cls(folder, cfg.resume)
        _claim(folder, cfg)
        given = OmegaConf.select(cfg, "callbacks.publish.folder")
        published = None if given is None else Path(given)
        if finished := FinishedRun.read(folder, published):
            log.info("done already: %s finished at step %d; nothing to do", folder, finished.step)
            return cls(folder, None, finished=finished)
        last = last_checkpoint(folder)
        results = (folder / RESULT_FILE, *([] if published is None else [published]))
        if last.is_dir() or is_zipfile(last):
            log.info("resuming: %s", last)
            return cls(folder, str(last), last, results)
        if last.exists():
            log.warning("incomplete checkpoint, starting again: %s", last)
            last.unlink()
        return cls(folder, None, last, results)

    def close(self, step: int, metrics: Mapping[str, float]) -> None:
        """Note that a job with ``resume=auto`` is finished; remove what it would resume from if it left a result."""
        if self.last is None:
            return
        with write_whole(self.folder / FINISHED_FILE) as file:
            json.dump(asdict(FinishedRun(step, metrics.get("val/log_loss"))), file)
        if not any(path.exists() for path in self.results):
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
