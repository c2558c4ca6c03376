"""The figures of a table, as Markdown and JSON."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pair_figures import Ordered
from public_tables import PublicTable
from reliability_figures import Reliability
from routed_figures import BudgetFigures, Row
from spend_budgets import MIXTURE

from p2l.files import write_whole
from p2l.statistics.bootstrap import Interval


@dataclass
class Report:
    """All figures of a table.

    Attributes:
        ours: the way to train P2L with the least error on the prompts to fit.
        options: that each method chose.
        errors: of each method on the prompts to fit, cross-fitted (``error_of``).
        published: the entry of ``published.yaml``.
        explained, gap, reliability, choices, ordered, budgets, cost_explained, recovered: by test part.
    """

    table: PublicTable
    ours: str
    options: Mapping[str, Mapping[str, Any]]
    errors: Mapping[str, float]
    published: Mapping[str, Any]
    explained: dict[str, dict[str, Interval]] = field(default_factory=dict)
    gap: dict[str, dict[str, float]] = field(default_factory=dict)
    reliability: dict[str, dict[str, Reliability]] = field(default_factory=dict)
    choices: dict[str, list[Row]] = field(default_factory=dict)
    ordered: dict[str, list[Ordered]] = field(default_factory=dict)
    budgets: dict[str, BudgetFigures] = field(default_factory=dict)
    cost_options: Mapping[str, Any] = field(default_factory=dict)
    cost_explained: dict[str, float] = field(default_factory=dict)
    recovered: dict[str, dict[str, Interval]] = field(default_factory=dict)

    def text(self) -> str:
        """Return every figure as Markdown."""
        lines = [f"# {self.table.name}: {len(self.table.models)} LLMs, {len(self.table.fit):,} prompts to fit"]
        lines += [
            f"- {name}: {dict(options)}; error on the prompts to fit {self.errors[name]:.4f}"
            for name, options in self.options.items()
        ]
        lines.append(f"- the least error has: {self.ours}")
        for part in self.table.tests:
            lines += ["", f"## {part}, {len(self.table.tests[part]):,} prompts"]
            lines += [f"{self.table.left_out[part]} prompts that are in the part to fit were left out", ""]
            lines += [*self._predictions(part), "", *self._choices(part), "", *self._ordered(part)]
            if part in self.budgets:
                lines += ["", *self._budgets(self.budgets[part])]
        return "\n".join(lines)

    def _predictions(self, part: str) -> Iterator[str]:
        yield "| method | R2 of predicted scores | calibration error |"
        yield "|---|---|---|"
        for name, gap in self.gap[part].items():
            explained = self.explained[part].get(name)
            yield f"| {name} | {'' if explained is None else _number(explained)} | {gap:.4f} |"
        for name, one in self.reliability[part].items():
            yield f"\nInterval of the calibration error of {name}: {_number(one.error)}"
        for name, value in self.recovered.get(part, {}).items():
            yield f"\nAPGR of {name}: {_number(value)}"
        if part in self.cost_explained:
            yield f"\nR2 of predicted log costs {self.cost_explained[part]:.3f} ({dict(self.cost_options)})"

    def _choices(self, part: str) -> Iterator[str]:
        yield f"| each prompt to the LLM predicted best | mean score, mean over tasks | {self.ours} minus it |"
        yield "|---|---|---|"
        for row in self.choices[part]:
            yield f"| {row.name} | {_number(row.value)} | {'' if row.gain is None else _signed(row.gain)} |"
        scale = self.published.get("scale", 1)
        ours = next(row.value.value for row in self.choices[part] if row.name == self.ours)
        for name, value in self.published.get("tests", {}).get(part, {}).items():
            gain = ours - value / scale
            yield f"| {name}, published | {value / scale:.4f} | {gain:+.4f} |"

    def _ordered(self, part: str) -> Iterator[str]:
        names = list(self.ordered[part][0].others) if self.ordered[part] else []
        others = "".join(f" {name} | {self.ours} minus it |" for name in names)
        yield f"| pairs of LLMs ordered right | prompts | {self.ours} |{others}"
        yield "|---" * (3 + 2 * len(names)) + "|"
        for row in self.ordered[part]:
            cells = (f" {_number(row.others[name])} | {_signed(row.gains[name])} |" for name in names)
            yield f"| {row.task} | {row.prompts:,} | {_number(row.value)} |{''.join(cells)}"

    def _budgets(self, found: BudgetFigures) -> Iterator[str]:
        yield "| budget | " + " | ".join(f"{budget:.3g}" for budget in found.budgets) + " |"
        yield "|---" * (len(found.budgets) + 1) + "|"
        names = list(found.over)
        for name in (*names, MIXTURE):
            yield _line(name, (f"{found.quality(name, at)[0]:.4f}" for at in range(len(found.budgets))))
        rows = self.published_rows(found)
        for name, values in rows.items():
            yield _line(name, (f"{value:.4f}" for value in values))
        for name in names:
            yield _line(
                f"{name}: over budget", (f"{found.overspent(name, at):+.2%}" for at in range(len(found.budgets)))
            )
        for name in (MIXTURE, *names):
            if name != self.ours:
                gains = (_signed(found.gain(self.ours, name, at)) for at in range(len(found.budgets)))
                yield _line(f"{self.ours} minus {name}", gains)
        for name, values in rows.items():
            gains = (_signed(found.above(self.ours, value, at)) for at, value in enumerate(values))
            yield _line(f"{self.ours} minus {name}", gains)

    def published_rows(self, found: BudgetFigures) -> Mapping[str, list[float]]:
        """Return the published figures, if they are of these budgets."""
        return self.published.get("rows", {}) if list(found.budgets) == list(self.published.get("budgets", ())) else {}

    def save(self, path: Path) -> None:
        """Write every figure as JSON."""
        found: dict[str, Any] = {"table": self.table.name, "ours": self.ours, "options": self.options}
        found |= {"errors": self.errors, "cost_options": self.cost_options}
        for part in self.table.tests:
            found[part] = {
                "prompts": len(self.table.tests[part]),
                "left_out": self.table.left_out[part],
                "explained": {name: vars(value) for name, value in self.explained[part].items()},
                "calibration_error": self.gap[part],
                "reliability": {name: one.numbers() for name, one in self.reliability[part].items()},
                "choices": {row.name: vars(row.value) for row in self.choices[part]},
                "ordered": {row.task: asdict(row) for row in self.ordered[part]},
                "cost_explained": self.cost_explained.get(part),
                "recovered": {name: vars(value) for name, value in self.recovered.get(part, {}).items()},
            }
            if part in self.budgets:
                found[part]["budgets"] = self.budgets[part].numbers()
        with write_whole(path) as file:
            json.dump(found, file, indent=1)


def _line(name: str, cells: Iterator[str]) -> str:
    return f"| {name} | " + " | ".join(cells) + " |"


def _number(value: Interval) -> str:
    return f"{value.value:.4f} [{value.low:.4f}, {value.high:.4f}]"


def _signed(value: Interval) -> str:
    return f"{value.value:+.4f} [{value.low:+.4f}, {value.high:+.4f}]"
