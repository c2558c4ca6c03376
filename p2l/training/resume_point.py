"""The checkpoint that a run resumes from, and its step."""

import logging
import os
import pickle
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint

from p2l.errors import ConfigError

log = logging.getLogger(__name__)


def last_checkpoint(run_folder: Path) -> Path:
    """Return where ``callbacks.last`` saves the resumable checkpoint: a file, or a folder of shards."""
    return run_folder / "checkpoints" / "last.ckpt"


def checkpoint_to_resume(resume: str | None) -> Path | None:
    """Return the checkpoint to resume from: ``resume`` itself, or the ``last.ckpt`` of that folder.

    Raises ConfigError, which lists the checkpoints of the folder, if there is none or it is damaged.
    """
    if resume is None:
        return None
    path = Path(resume)
    if path.is_dir() and path.suffix != ".ckpt":
        path = last_checkpoint(path)
    if not path.exists():
        raise ConfigError(f"nothing to resume: there is no {path}; {_what_to_give(path.parent)}")
    if path.is_file() and not is_zipfile(path):
        raise ConfigError(f"cannot resume: {path} is damaged or not a Lightning checkpoint")
    return path


def describe_resume(path: Path, num_steps: int) -> str:
    """Return from which step a run resumes, whether none is left, and which other checkpoints lie beside it."""
    step = saved_step(path)
    at = "its step" if step is None else f"step {step} of {num_steps}"
    others = [text for other, text in _listed(path.parent) if other != path]
    beside = f" (beside it: {', '.join(others)})" if others else ""
    left = "; no step is left, the run validates and publishes" if step is not None and step >= num_steps else ""
    return f"resuming after {at}: {path}{beside}{left}"


def saved_step(path: Path) -> int | None:
    """Return the number of optimizer steps of a checkpoint; None if it does not say."""
    step = _read_state(path).get("global_step")
    return None if step is None else int(step)


def validated_metrics(path: Path) -> dict[str, float]:
    """Return the metrics of the validation at the step of a checkpoint; empty if there was none at that step."""
    state = _read_state(path)
    validated = state.get("callbacks", {}).get("EvaluateVotes") or {}
    return dict(validated["metrics"]) if validated and validated["step"] == state.get("global_step") else {}


def _read_state(path: Path) -> dict[str, Any]:
    """Return the state that a Lightning checkpoint holds beside the weights; empty if it cannot be read."""
    file = path / "meta.pt" if path.is_dir() else path
    try:
        state = torch.load(file, map_location="cpu", mmap=True, weights_only=False)
    except (OSError, RuntimeError, pickle.UnpicklingError):
        return {}
    return state if isinstance(state, dict) else {}


def set_aside(keepers: Iterable[Checkpoint]) -> None:
    """Rename what an earlier run left in the place of these callbacks' checkpoints to ``earlier-<name>``.

    A new run that stops before it has saved would else leave the earlier one's state to resume and to publish.
    """
    for keeper in keepers:
        if not isinstance(keeper, ModelCheckpoint) or keeper.dirpath is None or keeper.filename is None:
            continue
        path = Path(keeper.dirpath) / f"{keeper.filename}{keeper.FILE_EXTENSION}"
        if not path.exists():
            continue
        kept = path.with_name(f"earlier-{path.name}")
        shutil.rmtree(kept, ignore_errors=True)  # a folder of shards
        os.replace(path, kept)
        log.warning(
            "a new run starts in the folder of an earlier one: %s (step %s) is now %s, until the next run starts here",
            path, saved_step(kept), kept.name,
        )  # fmt: skip


def _what_to_give(folder: Path) -> str:
    found = [text for _, text in _listed(folder)]
    if found:
        return f"{folder} holds {', '.join(found)}; give one of them: resume={folder}/<name>"
    return "give the folder of a run or a checkpoint in it"


def _listed(folder: Path) -> list[tuple[Path, str]]:
    """List the checkpoints of a folder, and their names with their steps."""
    listed = []
    for path in sorted(folder.glob("*.ckpt")):
        step = saved_step(path)
        listed.append((path, path.name if step is None else f"{path.name} (step {step})"))
    return listed
