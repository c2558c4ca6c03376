"""The metrics of a run, a line each time, so that a run that is killed keeps its curves."""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from p2l.run_page.run_record import TRAIN_LOSS

Row = dict[str, float]


class MetricHistory:
    """Appends rows of metrics to a file, and keeps them.

    Args:
        path: of the file: JSON lines.
        until: the step that a run resumes from, whose earlier rows are kept; None starts an empty file.
    """

    def __init__(self, path: Path, until: int | None = None) -> None:
        self.path = path
        self.rows = [] if until is None else [row for row in read_history(path) if row["step"] <= until]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(map(_line, self.rows)), encoding="utf-8")

    def add(self, step: int, metrics: Mapping[str, float]) -> None:
        """Add the metrics that are finite."""
        row = {"step": step, **{name: value for name, value in metrics.items() if math.isfinite(value)}}
        self.rows.append(row)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_line(row))


def read_history(path: Path) -> list[Row]:
    """Read the whole lines of a history; [] if there is no file."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return list(_whole(lines))


def read_csv_history(folder: Path) -> list[Row]:
    """Read the metrics that the CSV logger left, those of all starts of the run; [] if there are none."""
    files = sorted(folder.glob("csv/version_*/metrics.csv"), key=lambda path: int(path.parent.name.split("_")[1]))
    rows: list[Row] = []
    for path in files:
        found = [row for row in pd.read_csv(path).to_dict("records") if row.get("step") == row.get("step")]
        numbers = ({str(name): float(value) for name, value in row.items() if value == value} for row in found)
        new = [{**row, "step": int(row["step"]) + 1} for row in numbers]  # Lightning counts from 0
        first = min((row["step"] for row in new), default=0)
        rows = [row for row in rows if row["step"] < first] + new  # a resumed run repeats steps
    # after the last step come the final validation of the best weights and the test
    last = max((row["step"] for row in rows if TRAIN_LOSS in row), default=0)
    return [row for row in rows if row["step"] <= last]


def _whole(lines: Iterable[str]) -> Iterable[Row]:
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:  # the last line of a run that was killed
            continue
        if isinstance(row, dict) and "step" in row:
            yield row


def _line(row: Row) -> str:
    return json.dumps(row) + "\n"
