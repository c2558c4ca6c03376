"""Checkpoints that p2l carries: heads on backbones that they refer to, so that they are small."""

from pathlib import Path

FOLDER = Path(__file__).parents[1] / "checkpoints"


def shipped_checkpoints() -> list[str]:
    """Return the names of the checkpoints in this installation of p2l."""
    return sorted(path.parent.name for path in FOLDER.glob("*/p2l.json"))


def shipped_folder(name: str) -> Path | None:
    """Return the folder of a checkpoint that p2l carries; None if it carries none of this name."""
    return FOLDER / name if name in shipped_checkpoints() else None
