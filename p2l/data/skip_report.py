"""Rows that a vote table leaves out: the reasons, the report, and the limit on their share."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Int64

from p2l.errors import DataError

MISSING_VALUE = "missing value"
SAME_MODEL = "model against itself"
UNKNOWN_WINNER = "unknown winner"
UNKNOWN_MODEL = "unknown model"
BAD_WEIGHT = "bad weight"
BAD_SOFT_VOTE = "bad soft vote"
NON_STRING_TURN = "non-string turn"
EMPTY_PROMPT = "empty prompt"

Mask = Bool[np.ndarray, " votes"]
LABEL_ADVICE = (
    "Known labels are model_a (also A, left, 1 beside 0.5), model_b (also B, right, 0 beside 0.5), tie (also draw, "
    "0.5), tie (bothbad) (also both_bad), and the winner's own name. Map the others, for example "
    "data.winner_map={first: model_a, skipped: null}; null leaves a label's votes out"
)
_ROWS_SHOWN = 5
_VALUES_SHOWN = 8


@dataclass(frozen=True, repr=False)
class SkipReport:
    """Rows of a table that were left out: for each reason, their positions in the file, counted from 0.

    A row with several faults is listed once, under the first reason that was checked. ``details`` counts the values
    that were at fault, for some reasons: unknown labels and models.

    >>> print(SkipReport(total=300, kept=298, skipped={"empty prompt": [7, 19]}))
    300 rows, 298 kept, 2 skipped (0.67%)
      empty prompt: 2 (row 7, 19)
    """

    total: int
    kept: int
    skipped: dict[str, list[int]]
    details: dict[str, dict[str, int]] = field(default_factory=dict, compare=False)

    @property
    def share(self) -> float:
        """Skipped share of all rows, in [0, 1]."""
        return (self.total - self.kept) / self.total if self.total else 0.0

    def kept_rows(self) -> Int64[np.ndarray, " kept"]:
        """Return the positions of the rows that were kept, in ascending order."""
        return np.delete(np.arange(self.total), [row for rows in self.skipped.values() for row in rows])

    def __repr__(self) -> str:
        counts = "".join(f", {reason}: {len(rows):,}" for reason, rows in self.skipped.items())
        return f"SkipReport({self.total:,} rows, {self.kept:,} kept{counts})"

    def __str__(self) -> str:
        head = f"{self.total:,} rows, {self.kept:,} kept, {self.total - self.kept:,} skipped ({self.share:.2%})"
        return "\n".join([head, *(f"  {self._line(reason, rows)}" for reason, rows in self.skipped.items())])

    def _line(self, reason: str, rows: list[int]) -> str:
        values = shown_counts(self.details.get(reason, {}))
        return f"{reason}: {_rows_text(rows)}{f': {values}' if values else ''}"


def shown_counts(counts: Mapping[str, int]) -> str:
    """Show the most frequent values with their counts."""
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    more = f", and {len(most) - _VALUES_SHOWN} more" if len(most) > _VALUES_SHOWN else ""
    return ", ".join(f"{value[:60]!r} {count:,}" for value, count in most[:_VALUES_SHOWN]) + more


def _rows_text(rows: list[int]) -> str:
    shown = ", ".join(str(row) for row in rows[:_ROWS_SHOWN])
    return f"{len(rows):,} (row {shown}{', ...' if len(rows) > _ROWS_SHOWN else ''})"


def skip_report(bad_rows: dict[str, Mask], total: int) -> SkipReport:
    """Report each bad row under the first of its reasons; ``bad_rows`` is in order of precedence."""
    skip = np.zeros(total, dtype=bool)
    skipped = {}
    for reason, bad in bad_rows.items():
        rows = np.flatnonzero(bad & ~skip)
        skip |= bad
        if rows.size:
            skipped[reason] = rows.tolist()
    return SkipReport(total=total, kept=int(total - skip.sum()), skipped=skipped)


def check_share(report: SkipReport, max_skipped_share: float, source: str) -> None:
    """Raise ``DataError``, naming ``source``, if no row or too small a share of the rows was kept."""
    if report.kept == 0 or report.share > max_skipped_share:
        problem = (
            f"more than {max_skipped_share:.2%} of the rows are not valid votes"
            if report.kept
            else "the table contains no valid votes"
        )
        advice = f"\n{LABEL_ADVICE}" if UNKNOWN_WINNER in report.skipped else ""
        raise DataError(f"{source}: {problem}\n{report}{advice}")
