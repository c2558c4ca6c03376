"""Points of a scaling law: size, votes and cost of a run, and the loss that it reached."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from p2l.errors import DataError
from p2l.files import write_whole

RESULT_FILE = "result.json"
Split = Literal["val", "test"]
_MAY_BE_ZERO = ("steps", "tokens", "flops", "seconds")


@dataclass(frozen=True)
class ScalingPoint:
    """One run of a sweep.

    Attributes:
        parameters: without token and position embeddings (Kaplan et al. 2020, section 2.1); the head counts.
        parameters_with_embeddings: all parameters.
        votes, prompts: number of training votes, and of their prompts.
        steps: optimizer steps.
        tokens: tokens through the backbone in training; a prompt runs once for all its votes of a step.
        flops: FLOPs of training, about 6 x parameters x tokens (without attention between tokens).
        seconds: duration of the fit, over all its parts if it was interrupted.
        val_log_loss, test_log_loss: nats a vote; None without such votes.
        val_marginal, test_marginal: log loss of the marginal fit to the same votes.
    """

    parameters: int
    parameters_with_embeddings: int
    votes: int
    prompts: int
    steps: int
    tokens: int
    flops: float
    seconds: float
    val_log_loss: float | None = None
    val_marginal: float | None = None
    test_log_loss: float | None = None
    test_marginal: float | None = None

    def log_loss(self, split: Split) -> float | None:
        return self.val_log_loss if split == "val" else self.test_log_loss

    @classmethod
    def read(cls, path: Path) -> "ScalingPoint":
        """Read a ``result.json``; raises ``DataError`` if it is damaged or a number is missing."""
        return _point(path, _read_json(path))

    def write(self, path: Path) -> None:
        with write_whole(path) as file:
            json.dump(asdict(self), file, indent=1)


def read_points(source: str | Path) -> list[ScalingPoint]:
    """Read the points of a folder (every ``result.json`` below it) or of a CSV table, by parameters, then votes.

    Raises ``DataError``, naming the file, if one is missing, damaged or incomplete.
    """
    path = Path(source)
    if path.is_dir():
        points = [ScalingPoint.read(file) for file in sorted(path.rglob(RESULT_FILE))]
        if not points:
            raise DataError(f"there is no {RESULT_FILE} under {path}; run scripts/train.py -m experiment=scaling_law")
    elif path.suffix == ".csv" and path.exists():
        points = [_point(path, row) for row in pd.read_csv(path).to_dict(orient="records")]
    else:
        raise DataError(f"expected the folder of a sweep or a .csv file of its points; there is no such {path}")
    return sorted(points, key=lambda point: (point.parameters, point.votes))


def points_table(points: list[ScalingPoint]) -> pd.DataFrame:
    """Return a table with one row a point; ``read_points`` reads it from CSV."""
    return pd.DataFrame([asdict(point) for point in points])


def _read_json(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(
            f"{path} is not valid JSON ({error}); remove it, and rerun the sweep to make this point"
        ) from None


def _point(path: Path, row: object) -> ScalingPoint:
    if not isinstance(row, dict):
        raise DataError(f"{path} must hold a JSON object; found a {type(row).__name__}")
    values: dict[str, Any] = {}
    for field in fields(ScalingPoint):
        value = row.get(field.name)
        if (value is None or value != value) and field.default is None:  # an empty cell of a table is NaN
            values[field.name] = None
        elif not isinstance(value, (int, float)) or not np.isfinite(value):
            raise DataError(f"{path}: expected a number for {field.name}; found {value!r}")
        elif value < 0 or (value == 0 and field.name not in _MAY_BE_ZERO):
            least = "0 or more" if field.name in _MAY_BE_ZERO else "above 0"
            raise DataError(f"{path}: {field.name} must be {least}; found {value!r}")
        elif field.type is int and value != int(value):
            raise DataError(f"{path}: {field.name} must be a whole number; found {value!r}")
        else:
            values[field.name] = int(value) if field.type is int else float(value)
    return ScalingPoint(**values)
