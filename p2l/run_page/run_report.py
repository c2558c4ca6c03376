"""The page of a run as one self-contained HTML file: no script, no network."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from p2l.files import write_whole
from p2l.html import Html, document, join, safe, sections, table, tag, tiles, whisker
from p2l.run_page.run_charts import calibration_chart, loss_chart
from p2l.run_page.run_record import VAL_LOSS, VAL_MINUS_MARGINAL, RunRecord
from p2l.run_page.run_warnings import run_warnings

PAGE = "run.html"
TOP, MOST_PROMPTS, MOST_MODELS, PROMPT_CHARACTERS = 10, 20, 30, 300
SPLITS = ("train", "val", "test")


def write_page(record: RunRecord, folder: Path) -> Path:
    """Write the page of a run into its folder; it appears whole or not at all."""
    with write_whole(folder / PAGE) as file:
        file.write(render_run(record))
    return folder / PAGE


def render_run(record: RunRecord) -> str:
    """Return the HTML of a run's page, with the parts that the run has numbers for."""
    title = f"Run: {record.name or 'without a name'}"
    parts = [
        ("Warnings", _warnings(record)),
        ("Losses", _losses(record)),
        ("Test", _test(record.test)),
        ("Calibration", _calibration(record)),
        ("Leaderboards of example prompts", _leaderboards(record)),
        ("Votes", _votes(record)),
        ("Configuration", _config(record.config)),
    ]
    return document(title, _header(record, title), sections(parts), tag("footer"))


def _header(record: RunRecord, title: str) -> Html:
    best = record.best()
    steps = f"{record.step:,} of {record.steps:,}" if record.steps else f"{record.step:,}"
    facts = [("status", record.status or "unknown"), ("optimizer steps", steps), ("family", record.family)]
    facts += [("LLMs", f"{len(record.models):,}")]
    if best is not None:
        facts.append((f"lowest validation loss, at step {best['step']:,.0f}", f"{best[VAL_LOSS]:.4f}"))
        if VAL_MINUS_MARGINAL in best:
            facts.append(("minus the marginal leaderboard", f"{best[VAL_MINUS_MARGINAL]:+.4f}"))
    text = "Log losses are in nats a vote. The marginal leaderboard is one leaderboard for all prompts."
    return tag("header", tag("h1", title), tag("p.soft", text), tiles(fact for fact in facts if fact[1]))


def _warnings(record: RunRecord) -> Html | None:
    found = list(run_warnings(record))
    return tag("ul.warnings", *(tag("li", text) for text in found)) if found else None


def _losses(record: RunRecord) -> Html | None:
    chart = loss_chart(record)
    if chart is None:
        return None
    names = (VAL_LOSS, VAL_MINUS_MARGINAL, "val/accuracy")
    rows = [
        (f"{row['step']:,.0f}", *(f"{row[name]:.4f}" if name in row else "–" for name in names))
        for row in record.history
        if VAL_LOSS in row
    ]
    validations = tag("details", tag("summary", f"The {len(rows)} validations"), table(("Step", *names), rows))
    return join((chart, validations if rows else ""))


def _test(test: Mapping[str, Any]) -> Html | None:
    if not test:
        return None
    rows = [
        (
            safe(name.replace("_", " ")),
            f"{test['model'][name]:.4f}",
            f"{test['marginal'][name]:.4f}",
            f"{apart['value']:+.4f}",
            f"{apart['low']:+.4f} to {apart['high']:+.4f}",
        )
        for name, apart in test["difference"].items()
    ]
    text = f"{test['votes']:,} votes on {test['prompts']:,} prompts; 95% intervals over prompts."
    head = ("Metric", "P2L", "Marginal", "Difference", "Interval")
    return join((tag("p.soft", text), table(head, rows)))


def _calibration(record: RunRecord) -> Html | None:
    chart = calibration_chart(record.calibration)
    text = "Points on the diagonal: outcomes happen as often as the model states."
    return None if chart is None else join((tag("p.soft", text), chart))


def _leaderboards(record: RunRecord) -> Html | None:
    shown = record.leaderboards[:MOST_PROMPTS]
    if not shown:
        return None
    every = [row["elo"] for board in shown for row in board["rows"]]
    low, high = min([*every, 0.0]), max([*every, 0.0])
    room = 0.04 * (high - low) or 1.0
    scale = (low - room, high + room)
    text = (
        f"Elo points above the mean LLM, all on one scale. They are predictions without intervals, so a difference "
        f"of a few points means little. Prompts: {len(shown)} of {len(record.leaderboards)}."
    )
    return join((tag("p.soft", text), *(_leaderboard(board, scale) for board in shown)))


def _leaderboard(board: Mapping[str, Any], scale: tuple[float, float]) -> Html:
    def part(rows: Any) -> Html:
        cells = [
            (
                row["rank"],
                safe(row["model"]),
                whisker(row["elo"], min(row["elo"], 0), max(row["elo"], 0), scale, zero=0),
                f"{row['elo']:+.0f}",
                f"{row['win_rate']:.1%}",
            )
            for row in rows
        ]
        head = ("Rank", "LLM", f"{scale[0]:+.0f} to {scale[1]:+.0f} Elo", "Elo", "Win rate")
        return table(head, cells, wide=("Win rate",))

    title = " / ".join(board["prompt"])
    title = title if len(title) <= PROMPT_CHARACTERS else f"{title[:PROMPT_CHARACTERS]} ..."
    first, rest = board["rows"][:TOP], board["rows"][TOP:]
    more = tag("details", tag("summary", f"The other {len(rest)}"), part(rest)) if rest else ""
    return join((tag("h3", title, attributes={"dir": "auto"}), part(first), more))


def _votes(record: RunRecord) -> Html | None:
    known = {name: record.votes[name] for name in SPLITS if record.votes.get(name)}
    if not known:
        return None
    outcomes = list(next(iter(known.values()))["outcomes"])
    rows = [
        (
            safe(name),
            f"{found['votes']:,}",
            f"{found['prompts']:,}",
            f"{found['trained_on_too']:,}" if "trained_on_too" in found else "–",
            f"{found['prompts'] - found['turns'].get('1', 0):,}",
            f"{found['duplicates']:,}",
            *(f"{found['outcomes'][outcome]:.1%}" for outcome in outcomes),
        )
        for name, found in known.items()
    ]
    head = ("Split", "Votes", "Prompts", "Trained on too", "Several turns", "Repeated votes", *outcomes)
    return join((table(head, rows), _votes_of_models(known)))


def _votes_of_models(known: Mapping[str, Any]) -> Html:
    first = next(iter(known.values()))["models"]  # most votes first
    order = dict.fromkeys([*first, *(name for found in known.values() for name in found["models"])])
    rows = [(safe(name), *(f"{found['models'].get(name, 0):,}" for found in known.values())) for name in order]
    head = ("LLM", *(f"Votes in {name}" for name in known))
    rest = rows[MOST_MODELS:]
    more = tag("details", tag("summary", f"The other {len(rest)}"), table(head, rest)) if rest else ""
    return join((tag("h3", "Votes of each LLM"), table(head, rows[:MOST_MODELS]), more))


def _config(config: Mapping[str, Any]) -> Html | None:
    rows = [(safe(name), safe(value)) for name, value in _leaves(config)]
    if not rows:
        return None
    return tag("details", tag("summary", f"{len(rows)} options"), table(("Option", "Value"), rows))


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{name}.{key}" if name else str(key))
    elif name:
        yield name, value
