"""What the benchmarks measured, as data: each one writes a file, benchmarks/report.py makes the page of all."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """One measured figure of ours, beside the same figure of others in the same run.

    ``unit`` is a rate ("requests/s"), a time ("s", "ms", "us") or a size ("MB"). Times and sizes are better when they
    are lower. ``flop`` and ``bytes_moved`` state the least work of one unit of a rate, or of the whole time, so that
    the share of the machine's peak can be stated.
    """

    what: str
    unit: str
    ours: float
    others: dict[str, float] = field(default_factory=dict)
    flop: float = 0.0
    dtype: str = "float32"
    bytes_moved: float = 0.0

    @property
    def is_rate(self) -> bool:
        return self.unit.endswith("/s")

    def ratio(self, other: str) -> float:
        """How many times better ours is; infinite if the other did nothing in its time."""
        theirs = self.others[other]
        if self.is_rate:
            return self.ours / theirs if theirs else math.inf
        return theirs / self.ours

    def per_second(self) -> float:
        """How many units of work a second."""
        seconds = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
        return self.ours if self.is_rate else 1 / (self.ours * seconds[self.unit])


def save(path: str | Path | None, figures: Sequence[Figure]) -> None:
    """Write the figures as JSON; nothing without a path."""
    if path:
        Path(path).write_text(json.dumps([asdict(one) for one in figures], indent=1) + "\n", encoding="utf-8")


def load(path: str | Path) -> list[Figure]:
    return [Figure(**one) for one in json.loads(Path(path).read_text(encoding="utf-8"))]
