"""Show how well P2L's probabilities of a usable answer are calibrated on each set, before and after ``p2l calibrate``.

Reads the files that ``route_table.py`` writes into ``--work``; the map of ``p2l calibrate`` is fitted there to
cross-fitted probabilities of the prompts to fit, never to the test.

    python benchmarks/public/calibration_table.py outputs/public/*.json --picture calibration.png
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from routed_figures import AS_FITTED, RECALIBRATED

from p2l.drawing import finish, key_below, new_figure, short_names, tidy
from p2l.files import whole_file

AIM = 0.02
STATES = {AS_FITTED: ("as fitted", "#777777", "s"), RECALIBRATED: ("recalibrated", "#d95f02", "o")}
PANEL, FRAME, MOST_COLUMNS = 2.6, 0.6, 4  # inches: side of a panel, height of its title and label
Tests = Mapping[str, Mapping[str, Any]]  # the entries of the test parts, by set and part


def read_tests(paths: Sequence[Path]) -> dict[str, Mapping[str, Any]]:
    """Return the test parts of all files that have figures of calibration, named by set and part."""
    found: dict[str, Mapping[str, Any]] = {}
    for path in paths:
        content = json.loads(path.read_text(encoding="utf-8"))
        parts = {name: part for name, part in content.items() if isinstance(part, dict) and "reliability" in part}
        found |= {f"{content['table']}, {name}": part for name, part in parts.items()}
    return found


def rows_of(tests: Tests) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    yield "| set, test part | prompts | answers | as fitted | recalibrated | at most 0.02 |"
    yield "|---|---|---|---|---|---|"
    for name, part in tests.items():
        cells = " | ".join("{value:.4f} [{low:.4f}, {high:.4f}]".format(**_error(part, state)) for state in STATES)
        met = [label for state, (label, *_) in STATES.items() if _error(part, state)["value"] <= AIM]
        answers = sum(part["reliability"][AS_FITTED]["curve"]["votes"])
        yield f"| {name} | {part['prompts']:,} | {answers:,.0f} | {cells} | {' and '.join(met) or 'no'} |"


def _error(part: Mapping[str, Any], state: str) -> Mapping[str, float]:
    found: Mapping[str, float] = part["reliability"][state]["error"]
    return found


def figure_of(tests: Tests) -> Figure:
    """Return a panel for each test part: the observed share of usable answers against the probability."""
    columns = min(len(tests), MOST_COLUMNS)
    lines = -(-len(tests) // columns)
    figure = new_figure(PANEL * columns, (PANEL + FRAME) * lines)
    axes = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
    for axis, name, part in zip(axes.ravel(), short_names(tests, 30), tests.values()):
        _draw(axis, part)
        axis.set_title(name, fontsize=9)
    for axis in axes.ravel()[len(tests) :]:
        axis.set_axis_off()
    for axis in axes[:, 0]:
        axis.set_ylabel("share of usable answers", fontsize=8)
    key_below(figure, "area: share of the answers with similar probabilities")
    return finish(figure)


def _draw(axis: Axes, part: Mapping[str, Any]) -> None:
    axis.plot([0, 1], [0, 1], "--", color="#444444", lw=0.8, label="calibrated")
    for state, (label, colour, marker) in STATES.items():
        curve = part["reliability"][state]["curve"]
        share = np.array(curve["votes"]) / sum(curve["votes"])
        axis.plot(curve["predicted"], curve["observed"], f"{marker}-", color=colour, markersize=3, lw=1, label=label)
        axis.scatter(curve["predicted"], curve["observed"], s=300 * share, color=colour, alpha=0.35, lw=0)
    axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axis.set_xlabel("probability of a usable answer", fontsize=8)
    axis.tick_params(labelsize=8, labelbottom=True)
    tidy(axis)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", type=Path, nargs="+", help="JSON files of route_table.py")
    parser.add_argument("--picture", type=Path, help="PNG to write")
    args = parser.parse_args()
    tests = read_tests(args.figures)
    if not tests:
        parser.error("no file has figures of calibration; write them with route_table.py")
    print("\n".join(rows_of(tests)))
    if args.picture is not None:
        with whole_file(args.picture) as file:
            figure_of(tests).savefig(file, format="png", dpi=110)


if __name__ == "__main__":
    main()
