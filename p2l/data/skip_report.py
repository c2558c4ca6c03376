"""Rows that a vote table leaves out: the reasons, the report, and the limit on their share."""

import re
import shlex
from collections.abc import Mapping, Sequence
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
# in the order of the checks: a row with several faults is skipped for the first
REASONS = (
    *(MISSING_VALUE, NON_STRING_TURN, EMPTY_PROMPT),
    *(SAME_MODEL, UNKNOWN_WINNER, UNKNOWN_MODEL, BAD_WEIGHT, BAD_SOFT_VOTE),
)

Mask = Bool[np.ndarray, " votes"]
ROWS_SHOWN = 5
_VALUES_SHOWN = 8
# the key of a mapping in an option takes no quotes: a few signs are escaped, others cannot be written
_SIGN, _ESCAPED = re.compile(r"([\\()\[\]{}:=,])"), r"\\\1"
_KEY = re.compile(r"[\w /+.$%*@?|\\()\[\]{}:=,-]+", re.ASCII)


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

    @property
    def counts(self) -> dict[str, int]:
        """Number of rows by reason."""
        return {reason: len(rows) for reason, rows in self.skipped.items()}

    def kept_rows(self) -> Int64[np.ndarray, " kept"]:
        """Return the positions of the rows that were kept, in ascending order."""
        return np.delete(np.arange(self.total), [row for rows in self.skipped.values() for row in rows])

    def __repr__(self) -> str:
        return _short_text("SkipReport", self)

    def __str__(self) -> str:
        return _text(self, {reason: list(map(str, rows[:ROWS_SHOWN])) for reason, rows in self.skipped.items()})


@dataclass(frozen=True, repr=False)
class SkipCounts:
    """A ``SkipReport`` of any number of rows: by reason their number, and the first ones.

    ``first_rows`` are positions in the file, with its name if the table has several: "7 of votes-2.parquet".
    """

    total: int
    kept: int
    counts: dict[str, int]
    first_rows: dict[str, list[str]] = field(default_factory=dict)
    details: dict[str, dict[str, int]] = field(default_factory=dict, compare=False)

    @property
    def share(self) -> float:
        """Skipped share of all rows, in [0, 1]."""
        return (self.total - self.kept) / self.total if self.total else 0.0

    def __repr__(self) -> str:
        return _short_text("SkipCounts", self)

    def __str__(self) -> str:
        return _text(self, self.first_rows)


def _short_text(name: str, report: SkipReport | SkipCounts) -> str:
    counts = "".join(f", {reason}: {count:,}" for reason, count in report.counts.items())
    return f"{name}({report.total:,} rows, {report.kept:,} kept{counts})"


def _text(report: SkipReport | SkipCounts, first_rows: Mapping[str, Sequence[str]]) -> str:
    skipped = report.total - report.kept
    lines = [f"{report.total:,} rows, {report.kept:,} kept, {skipped:,} skipped ({report.share:.2%})"]
    for reason, count in report.counts.items():
        values = shown_counts(report.details.get(reason, {}))
        more = ", ..." if count > ROWS_SHOWN else ""
        rows = f"{count:,} (row {', '.join(first_rows.get(reason, ()))}{more})"
        lines.append(f"  {reason}: {rows}{f': {values}' if values else ''}")
    return "\n".join(lines)


def shown_counts(counts: Mapping[str, int]) -> str:
    """Show the most frequent values with their counts."""
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    more = f", and {len(most) - _VALUES_SHOWN} more" if len(most) > _VALUES_SHOWN else ""
    return ", ".join(f"{value[:60]!r} {count:,}" for value, count in most[:_VALUES_SHOWN]) + more


def advise_labels(report: SkipReport | SkipCounts) -> str:
    """Return which labels of a winner are known, and the option that maps the others, with "..." to fill in."""
    unknown = report.details.get(UNKNOWN_WINNER, {})
    labels = sorted(unknown, key=lambda label: (-unknown[label], label))[:_VALUES_SHOWN] or ["first"]
    is_key = {label: bool(_KEY.fullmatch(label)) and label.casefold() != "null" for label in labels}
    keys = [_SIGN.sub(_ESCAPED, label) for label in labels if is_key[label]]
    option = shlex.quote(f"winner_map={{{', '.join(f'{key}: ...' for key in keys)}}}")
    others = [repr(label) for label in labels if not is_key[label]]
    return (
        "Known labels are model_a (also A, left, 1 beside 0.5), model_b (also B, right, 0 beside 0.5), tie (also draw, "
        "0.5), tie (bothbad) (also both_bad), and the winner's own name. Map the others to model_a, model_b, tie, "
        "both_bad or null (no vote)"
        + (f": {option}, in training 'data.winner_map=...'" if keys else "")
        + (f"; no option can hold {', '.join(others)}: change the table" if others else "")
    )


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


def check_skipped(report: SkipReport | SkipCounts, max_skipped_share: float, source: str) -> None:
    """Raise ``DataError``, naming ``source``, if no row or too small a share of the rows was kept."""
    if report.kept == 0 or report.share > max_skipped_share:
        problem = (
            f"more than {max_skipped_share:.2%} of the rows are not valid votes"
            if report.kept
            else "the table contains no valid votes"
        )
        advice = f"\n{advise_labels(report)}" if UNKNOWN_WINNER in report.counts else ""
        if UNKNOWN_MODEL in report.counts:
            advice += "\nan unknown model is not in the list of models: correct the name, or leave its votes out"
        if NON_STRING_TURN in report.counts:
            advice += '\na prompt is a text or a list of texts; a text that looks like a list is written as ["[1, 2]"]'
        if BAD_SOFT_VOTE in report.counts or BAD_WEIGHT in report.counts:
            advice += (
                "\nnumbers are written with a point and without units, such as 0.7; the shares of a soft vote sum to 1"
            )
        raise DataError(f"{source}: {problem}\n{report}{advice}")
