"""Show what ``levers.py`` measured: tables of log loss, R2 and routed score, and their curves over the prompts fitted.

A difference holds ("yes") if its 95 % interval over prompts leaves out 0 and all seeds have its sign.

    python benchmarks/public/lever_table.py outputs/levers/levers-*.json --picture levers.png
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lever_fits import LEVERS
from levers import MARGINAL
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from p2l.drawing import finish, key_below, new_figure, tidy
from p2l.files import whole_file

STYLES = dict(zip(LEVERS, ("o-", "s--", "^:", "D-."), strict=True))
COLOURS = ("#d95f02", "#1f77b4", "#66a61e", "#e7298a", "#7570b3")
COLUMNS = (
    "backbone",
    "trained",
    "prompts",
    "log loss",
    "minus one leaderboard",
    "minus its linear head",
    "minus the linear head of the first backbone",
    "R2",
    "routed score",
)
PANEL, HEIGHT = 4.4, 4.0  # inches
APART = 1.03  # factor between two curves' numbers of prompts, so that their bars can be told apart
Row = Mapping[str, Any]


def read(paths: Sequence[Path]) -> dict[str, list[Row]]:
    """Return the rows of each table, those of its backbones one after the other, each once."""
    found: dict[str, dict[tuple, Row]] = {}
    for path in paths:
        content = json.loads(path.read_text(encoding="utf-8"))
        rows = found.setdefault(f"{content['table']}, {content['held out']:,} prompts held out", {})
        rows |= {(row["backbone"], row["lever"], row["share"], *row["seeds"]): row for row in content["rows"]}
    order = [MARGINAL, *LEVERS]
    return {
        name: sorted(rows.values(), key=lambda row: (row["backbone"], order.index(row["lever"]), row["share"]))
        for name, rows in found.items()
    }


def lines_of(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    yield f"| {' | '.join(COLUMNS)} |"
    yield "|---" * len(COLUMNS) + "|"
    for row in rows:
        cells = [short(row["backbone"]), row["lever"], f"{row['prompts']:,}", f"{row['loss']:.4f}"]
        cells += [_difference(row, beside) for beside in ("marginal", "linear", "first")]
        cells += [f"{row['explained']:.3f}", f"{row['routed']:.4f}"]
        yield f"| {' | '.join(cells)} |"


def _difference(row: Row, beside: str) -> str:
    one = row.get(f"loss minus {beside}")
    if one is None:
        return ""
    signs = np.sign([*row[f"loss minus {beside}, by seed"], one["low"], one["high"]])
    return (
        f"{one['value']:+.4f} [{one['low']:+.4f}, {one['high']:+.4f}]{' yes' if abs(signs.sum()) == len(signs) else ''}"
    )


def short(backbone: str) -> str:
    """Return the last part of a path that tells backbones apart."""
    name = backbone.removeprefix("package:").removesuffix("/model")
    return Path(name).name.removeprefix("gt_").replace("_", "-")


def figure_of(tables: Mapping[str, Sequence[Row]]) -> Figure:
    """Return a panel for each table: log loss minus that of one leaderboard, over the number of prompts."""
    figure = new_figure(PANEL * len(tables), HEIGHT)
    axes = figure.subplots(1, len(tables), squeeze=False)[0]
    backbones = list(dict.fromkeys(row["backbone"] for rows in tables.values() for row in rows if row["backbone"]))
    for axis, (name, rows) in zip(axes, tables.items(), strict=True):
        _draw(axis, rows, dict(zip(backbones, COLOURS)))
        axis.set_title(name, fontsize=10)
    axes[0].set_ylabel("log loss minus that of one leaderboard, nats", fontsize=9)
    key_below(figure, "bars: 95% intervals over held-out prompts")
    return finish(figure)


def _draw(axis: Axes, rows: Sequence[Row], colours: Mapping[str, str]) -> None:
    counts = sorted({row["prompts"] for row in rows})
    axis.axhline(0, color="#444444", lw=0.8)
    kinds = list(dict.fromkeys((row["backbone"], row["lever"]) for row in rows if row["backbone"]))
    for at, kind in enumerate(kinds):
        own = [row for row in rows if (row["backbone"], row["lever"]) == kind]
        value, low, high = (
            np.array([row["loss minus marginal"][part] for row in own]) for part in ("value", "low", "high")
        )
        axis.errorbar(
            [row["prompts"] * APART ** (at - (len(kinds) - 1) / 2) for row in own],
            value,
            (value - low, high - value),
            fmt=STYLES[kind[1]],
            color=colours[kind[0]],
            label=f"{short(kind[0])}, {kind[1]}",
            markersize=4,
            lw=1.2,
            elinewidth=0.6,
        )
    axis.set_xscale("log")
    axis.set_xticks(counts, [f"{count:,}" for count in counts], fontsize=8)
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_xlabel("prompts fitted", fontsize=9)
    tidy(axis)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", type=Path, nargs="+", help="JSON files of levers.py")
    parser.add_argument("--picture", type=Path, help="PNG to write")
    args = parser.parse_args()
    tables = read(args.figures)
    for name, rows in tables.items():
        print(f"\n{name}\n\n" + "\n".join(lines_of(rows)))
    if args.picture is not None:
        with whole_file(args.picture) as file:
            figure_of(tables).savefig(file, format="png", dpi=110)


if __name__ == "__main__":
    main()
