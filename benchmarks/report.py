"""Measure every performance claim beside its peers on this machine, and write docs/performance.md with a picture.

Runs the benchmarks one after the other, each in its own process, and keeps their figures in ``--folder``. A benchmark
whose figures are there already is not run again, so that a run that was ended goes on. Peers are used if their place
is given; rows without a peer say so.

    python benchmarks/report.py [--folder outputs/bench] [--only router ...] [--page docs/performance.md]
        [--upstream p2l --upstream-python venv/bin/python] [--peer-python venv/bin/python]
        [--litellm venv/bin/litellm]
        [--portkey node_modules/@portkey-ai/gateway/build/start-server.js]
"""

import argparse
import datetime
import json
import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from figures import Figure, load
from machine import Machine

from p2l.drawing import finish, height_of_rows, key_below, log_scale, name_rows, new_figure, tidy

HERE = Path(__file__).parent
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f")
MARKERS = "osD^"  # a marker for each round of the colours
PEERS = {  # one name for all parts of the published code
    **dict.fromkeys(("upstream", "upstream's router", "published code"), "published p2l"),
    "peer torch": "sentence-transformers",
    "padded float32": "transformers, padded batches",
}


@dataclass(frozen=True)
class Job:
    """A benchmark: its script and options, the places of peers that it takes, and what it needs."""

    title: str
    script: str
    options: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()


JOBS = {
    "decision": Job("One routing decision", "decision.py"),
    "startup": Job("Starting, and memory", "startup.py", ("--rounds", "1")),
    "load": Job("Reading votes", "load_votes.py"),
    "leaderboards": Job("Leaderboards from votes and rankings", "leaderboards.py", ("--skip-scale",), ("upstream",)),
    "large": Job("Tables that do not fit in memory", "large_tables.py", ("--prompts", "0")),
    "training": Job("Training", "train_throughput.py"),
    "encoders": Job("Encoders on a processor", "encoders.py", ("--dtype", "float32"), ("peer-python",)),
    "endpoint": Job("Scores over HTTP", "endpoint.py", ("--one",), ("upstream", "upstream-python")),
    "busy": Job(
        "Scores over HTTP on a busy machine", "endpoint.py", ("--one", "--busy"), ("upstream", "upstream-python")
    ),
    "conversations": Job(
        "Scores of conversations", "endpoint.py", ("--conversations",), ("upstream", "upstream-python")
    ),
    "router": Job("The router", "router.py", (), ("upstream", "upstream-python", "litellm", "portkey")),
}


def run(script: str, options: Sequence[str], target: Path) -> str | None:
    """Run one benchmark unless its figures exist; return what went wrong, in this run or the earlier one."""
    wrong = target.with_suffix(".failed")
    if target.exists():
        print(f"{script}: figures of an earlier run are in {target}", flush=True)
        return wrong.read_text(encoding="utf-8") if wrong.exists() else None
    print(f"{script} {' '.join(options)}", flush=True)
    wrong.unlink(missing_ok=True)
    log = target.with_suffix(".log")
    command = [sys.executable, str(HERE / script), *options, "--json", str(target)]
    with log.open("w", encoding="utf-8") as output:
        status = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False).returncode
    lines = log.read_text(encoding="utf-8").strip().splitlines()
    print("\n".join(f"  {line}" for line in lines), flush=True)
    if not status and target.exists():
        return None
    wrong.write_text(lines[-1] if lines else f"exit status {status}", encoding="utf-8")
    return wrong.read_text(encoding="utf-8")


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def named(figure: Figure) -> Figure:
    """Give each peer the name that a reader knows."""
    return replace(figure, others={PEERS.get(name, name): value for name, value in figure.others.items()})


def work_share(figure: Figure, machine: Machine) -> str:
    """The least work of what was measured, as a share of the machine's peak."""
    if figure.flop:
        return f"{figure.flop * figure.per_second() / machine.flops[figure.dtype]:.0%} of {figure.dtype} products"
    if figure.bytes_moved:
        return f"{figure.bytes_moved * figure.per_second() / machine.bandwidth:.0%} of the memory's bandwidth"
    return ""


def table(figures: Sequence[Figure], machine: Machine) -> str:
    """Make a row of each figure and peer; columns that no figure fills are left out."""
    rows = [("what", "p2l", "beside", "ratio", "share of the peak")]
    for one in figures:
        ours, share = f"{number(one.ours)} {one.unit}", work_share(one, machine)
        for place, (name, value) in enumerate(one.others.items() or [("", 0.0)]):
            beside = f"{name}: {number(value)}" if name else ""
            ratio = f"{number(one.ratio(name))} x" if name else ""
            if name and math.isinf(one.ratio(name)):
                beside, ratio = f"{name}: no answer in the time", ""
            first = (one.what, ours, share) if place == 0 else ("", "", "")
            rows.append((first[0], first[1], beside, ratio, first[2]))
    filled = [column for column in range(len(rows[0])) if any(row[column] for row in rows[1:])]
    lines = ["| " + " | ".join(row[column] for column in filled) + " |" for row in rows]
    return "\n".join((lines[0], "|---" * len(filled) + "|", *lines[1:]))


def page(found: dict[str, list[Figure]], failed: dict[str, str], machine: Machine, picture: str) -> str:
    today = datetime.date.today().isoformat()
    peaks = " and ".join(f"{rate / 1e9:,.0f} GFLOP/s in {dtype}" for dtype, rate in machine.flops.items())
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    memory = f"{machine.memory / 2**30:.0f} GiB"
    parts = [
        "# Performance",
        "`make bench` writes this page. It measures each figure on your machine, beside the peers whose place you give"
        " (`python benchmarks/report.py --help`). The sides of a ratio ran in one run; above 1, p2l is better.",
        f"Measured on {today}: {machine.name}, {machine.cores} cores, {memory}; {versions}. Its peak, by"
        f" the same library: {peaks} for matrix products, {machine.bandwidth / 1e9:.0f} GB/s for a copy in memory.",
        f"![How many times better p2l is than each peer]({picture})",
    ]
    for name, job in JOBS.items():
        if name in found:
            parts += [
                f"## {job.title}",
                table(found[name], machine),
                f"`{' '.join(('python', f'benchmarks/{job.script}', *job.options))}`",
            ]
    if failed:
        parts += ["## Failed", "\n".join(f"- `{name}`: {why}" for name, why in failed.items())]
    return "\n\n".join(parts) + "\n"


def draw(figures: Sequence[Figure], path: Path) -> None:
    """Draw each ratio as a dot on a log scale, a row a figure, a colour a peer."""
    rows = [one for one in figures if one.others]
    if not rows:
        return
    figure = new_figure(9.5, height_of_rows(len(rows)) + 0.4)
    axis = figure.subplots()
    names = sorted({name for one in rows for name in one.others})
    for place, name in enumerate(names):
        points = [(one.ratio(name), row) for row, one in enumerate(rows) if name in one.others]
        points = [(ratio, row) for ratio, row in points if math.isfinite(ratio)] or [(math.nan, 0)]
        marker, colour = MARKERS[place // len(COLOURS)], COLOURS[place % len(COLOURS)]
        axis.plot(*zip(*points, strict=True), marker, color=colour, label=name, markersize=5)
    axis.axvline(1, color="#444444", linewidth=1)
    name_rows(axis, range(len(rows)), [f"{one.what} ({one.unit})" for one in rows])
    axis.set_xlabel("times better than the peer")
    tidy(axis)
    log_scale(axis, "x", "{x:g} x")
    key_below(figure, "Both sides ran in turn in one run")
    finish(figure).savefig(path, dpi=120)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("outputs/bench"), help="for figures and logs")
    parser.add_argument("--page", type=Path, default=Path("docs/performance.md"))
    parser.add_argument("--only", nargs="+", choices=JOBS, default=list(JOBS), help="the benchmarks to run")
    parser.add_argument("--upstream", help="folder of the published code")
    parser.add_argument("--upstream-python", help="python that runs it")
    parser.add_argument("--peer-python", help="python with sentence-transformers")
    parser.add_argument("--litellm", help="command of the LiteLLM proxy")
    parser.add_argument("--portkey", help="start-server.js of the Portkey gateway")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    args.folder.mkdir(parents=True, exist_ok=True)
    if problem := run("machine.py", (), args.folder / "machine.json"):
        sys.exit(f"the machine's peak was not measured: {problem}")
    found, failed = {}, {}
    for name in args.only:
        job, target = JOBS[name], args.folder / f"{name}.json"
        places = {peer: getattr(args, peer.replace("-", "_")) for peer in job.peers}
        options = [*job.options, *(word for peer, place in places.items() if place for word in (f"--{peer}", place))]
        if problem := run(job.script, options, target):
            failed[name] = problem
        if target.exists():
            found[name] = [named(one) for one in load(target)]
    machine = Machine(**json.loads((args.folder / "machine.json").read_text(encoding="utf-8")))
    picture = args.page.with_suffix(".png")
    draw([one for figures in found.values() for one in figures], picture)
    args.page.write_text(page(found, failed, machine, picture.name), encoding="utf-8")
    print(f"wrote {args.page}")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
