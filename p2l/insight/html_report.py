"""The report as one self-contained HTML page: no script, no network; light or dark mode, narrow or wide screens."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from p2l.html import (
    Html,
    document,
    interval_text,
    join,
    rank_range,
    safe,
    scale_of,
    sections,
    signed,
    table,
    tag,
    tiles,
    whisker,
)
from p2l.insight.analysis import Insight, group_kinds
from p2l.insight.compare_leaderboards import HOLDS_MODEL_ERROR
from p2l.insight.prompt_groups import CLUSTER
from p2l.insight.regression import BETTER, OVERALL, WORSE, RegressionTest
from p2l.insight.report_figures import cluster_map, colour, heat_map

_WITHOUT = (
    "They do not include the error of the P2L model: if it is wrong about an LLM on some topic, more prompts do not "
    "help."
)
_WITH = (
    "They include the error of the P2L model's head, from its posterior. On the prompts of one group it is taken to be "
    "the same, so that more prompts do not lessen it; over all prompts, errors of single prompts cancel."
)
SHOWN, EXAMPLES, LOSSES = 20, 3, 10
EXAMPLE_CHARACTERS = 220
MODEL_ERROR = "Intervals do not include the error of the P2L model."
WITH_MODEL_ERROR = "Intervals hold the choice of prompts and what the training votes of the P2L model leave open."
VERDICT_CLASSES = {"strength": "up", "higher": "up", BETTER: "up", "weakness": "down", "lower": "down", WORSE: "down"}


def render(insight: Insight, title: str) -> str:
    """Return the HTML of the report."""
    return document(title, _header(insight, title), sections(_sections(insight)), _footer(insight))


def _sections(insight: Insight) -> list[tuple[str, Html | None]]:
    return [
        ("Leaderboard", _leaderboard(insight)),
        ("Own against reference", _comparison(insight.reference, "reference")),
        ("Changes since before", _comparison(insight.before, "before")),
        ("Regression test", _regression(insight)),
        ("Strengths and weaknesses", _strengths(insight)),
        ("LLMs by group", _heat_maps(insight)),
        ("Clusters of prompts", _clusters(insight)),
    ]


def _header(insight: Insight, title: str) -> Html:
    best = insight.overall.table(insight.questions.level).iloc[0].to_dict()
    facts = [
        ("prompts", f"{len(insight.ranked):,}"),
        ("LLMs", f"{len(insight.ranked.models):,}"),
        ("groups", f"{len(insight.groups):,}"),
        (f"first on all prompts, rank {_ranks(best)}", best["model"]),
    ]
    if insight.regression is not None:
        facts.append((f"{insight.regression.new} against {insight.regression.old}", insight.regression.verdict))
    text = "Leaderboards that a P2L model predicts for these prompts. No votes on the prompts were used."
    warning = insight.ranked.warning
    note = tag("p.warning", f"Warning: the P2L model is {warning}.") if warning else Html()
    return tag("header", tag("h1", title), note, tag("p.soft", text), tiles(facts))


def _leaderboard(insight: Insight) -> Html:
    level = insight.questions.level
    found = insight.overall.table(level)
    scale = scale_of(found["elo_low"], found["elo_high"], found["elo"])
    head = ("Rank", "LLM", _ends(scale), "Elo", "Interval", "Win rate")

    def part(some: pd.DataFrame) -> Html:
        rows = [
            (
                _ranks(row),
                safe(row["model"]),
                whisker(row["elo"], row["elo_low"], row["elo_high"], scale),
                f"{row['elo']:+.0f}",
                interval_text(row["elo_low"], row["elo_high"], 0),
                f"{row['win_rate']:.1%}",
            )
            for row in some.to_dict("records")
        ]
        return table(head, rows, wide=("Interval", "Win rate"))

    text = (
        f"Elo points above the mean LLM, with {level:.0%} intervals. Rank: the ranks that the intervals allow. "
        f"{_what_intervals_hold(insight)}{_typical_errors(found)}"
    )
    return join((tag("p.soft", text), _first_and_rest(found, part)))


def _ranks(row: Mapping[str, Any]) -> str:
    return rank_range(row["rank_best"], row["rank_worst"])


def _ends(scale: tuple[float, float]) -> str:
    """Return the heading of a column of whiskers: the ends of its scale."""
    return f"{signed(scale[0], 0)} to {signed(scale[1], 0)} Elo"


def _what_intervals_hold(insight: Insight) -> str:
    return MODEL_ERROR if insight.ranked.posterior is None else WITH_MODEL_ERROR


def _typical_errors(found: pd.DataFrame) -> str:
    """Return the median standard error of each kind in a leaderboard's table, if it knows both."""
    if "error_model" not in found or found["error_prompts"].isna().all():
        return ""
    prompts, model = (float(found[name].median()) for name in ("error_prompts", "error_model"))
    return f" Typical standard errors: {prompts:.0f} Elo points by the prompts, {model:.0f} by the model."


def _comparison(found: pd.DataFrame | None, name: str) -> Html | None:
    if found is None:
        return None
    holds = WITH_MODEL_ERROR if found.attrs[HOLDS_MODEL_ERROR] else MODEL_ERROR
    scale = scale_of(found["low"], found["high"], found["difference"], 0.0)
    head = ("Rank", f"Rank {name}", "LLM", _ends(scale), "Elo", "Interval", "Verdict")

    def part(some: pd.DataFrame) -> Html:
        rows = [
            (row.rank, row.reference_rank, safe(row.model), *_difference(row, scale), _verdict(row.verdict))
            for row in some.itertuples()
        ]
        return table(head, rows, wide=("Interval", "Verdict"))

    text = (
        f"Difference to the leaderboard named {name}, in Elo points, with both leaderboards at the same spread. "
        f"Verdicts: discoveries over the LLMs (Benjamini and Hochberg). {holds}"
    )
    return join((tag("p.soft", text), _first_and_rest(found, part)))


def _difference(row: Any, scale: tuple[float, float]) -> tuple[Html, str, str]:
    """Return three cells of a row: picture, difference and interval."""
    picture = whisker(row.difference, row.low, row.high, scale, zero=0)
    return picture, signed(row.difference, 0), interval_text(row.low, row.high, 0)


def _strengths(insight: Insight) -> Html | None:
    if not insight.groups:
        return None
    found = insight.differences[insight.differences["model"].isin(insight.focus)]
    scale = scale_of(found["low"], found["high"], found["difference"], 0.0)
    head = ("Group", "Kind", "Prompts", _ends(scale), "Elo", "Interval", "Rank", "Verdict")
    ranks = {row["model"]: _ranks(row) for row in insight.overall.table(insight.questions.level).to_dict("records")}
    text = (
        "Groups on which an LLM stands higher or lower than on all prompts, in Elo points. Some prompts separate LLMs "
        "more than others, so each group is first scaled to the spread of all prompts. Verdicts: discoveries at a "
        f"false discovery rate of {1 - insight.questions.level:.0%} over the LLM's groups (Benjamini and Hochberg). "
        f"{_what_intervals_hold(insight)}"
    )
    parts = [tag("p.soft", text)]
    for model in insight.focus:
        of_model = found[found["model"] == model]
        rows = [
            (safe(row.group), safe(row.kind), row.prompts, *_difference(row, scale), row.rank, _verdict(row.verdict))
            for row in of_model.itertuples()
        ]
        parts.append(tag("h3", f"{model}: rank {ranks[model]} on all prompts"))
        parts.append(table(head, rows, wide=("Kind", "Prompts", "Interval", "Verdict")))
    return join(parts)


def _heat_maps(insight: Insight) -> Html | None:
    if not insight.groups:
        return None
    text = (
        "The number is the rank in the group: an LLM can be first with a smaller lead. Only discoveries are coloured; "
        "the tooltip of a cell shows the Elo points."
    )
    return join((tag("p.soft", text), *(heat_map(insight, kind, SHOWN) for kind in group_kinds(insight))))


def _regression(insight: Insight) -> Html | None:
    test = insight.regression
    if test is None:
        return None
    found = test.table
    scale = scale_of(found["low"], found["high"], found["score"], 0.5)
    shares = [name for name in ("win", "lose", "tie", "both_bad") if name in found]
    titles = [name.replace("_", " ").capitalize() for name in shares]
    rows = [
        (
            tag("strong", row["group"]) if row["group"] == OVERALL else safe(row["group"]),
            row["prompts"],
            whisker(row["score"], row["low"], row["high"], scale, zero=0.5),
            f"{row['score']:.1%}",
            interval_text(100 * row["low"], 100 * row["high"], 1, plus=False),
            *(f"{row[name]:.0%}" for name in shares),
            _verdict(row["verdict"]),
        )
        for row in found.to_dict("records")
    ]
    text = (
        f"Score of {test.new} against {test.old}: the probability of a win plus half that of neither win nor loss, "
        f"averaged over prompts. Better or worse: the whole interval is more than {100 * test.margin:g} points "
        f"away from 50%; the intervals of the groups hold together at {insight.questions.level:.0%} (Bonferroni). "
        f"{_what_intervals_hold(insight)}"
    )
    ends = f"{scale[0]:.0%} to {scale[1]:.0%}"
    head = ("Group", "Prompts", ends, "Score", "Interval", *titles, "Verdict")
    compared = table(head, rows, wide=("Prompts", "Interval", *titles))
    return join((tag("p.soft", text), compared, _losses(insight, test)))


def _losses(insight: Insight, test: RegressionTest) -> Html:
    texts = insight.ranked.texts()
    rows = [(f"{test.scores[i]:.1%}", _short(texts[i])) for i in test.losses(LOSSES)]
    return tag(
        "details", tag("summary", f"The {len(rows)} prompts with the lowest score"), table(("Score", "Prompt"), rows)
    )


def _clusters(insight: Insight) -> Html | None:
    clusters = insight.clusters
    if clusters is None:
        return None
    boards = {group.name: board for group, board in insight.groups if group.kind == CLUSTER}
    names, texts = np.array(insight.ranked.models), insight.ranked.texts()
    rows = []
    for i, name in enumerate(clusters.names):
        board, central = boards.get(name), clusters.examples[i][:EXAMPLES]
        rows.append(
            (
                tag("span.swatch", i + 1, attributes={"style": f"background:{colour(i)}"}),
                safe(name),
                f"{(clusters.labels == i).sum():,}",
                "–" if board is None else f"{board.spread:.0f}",
                safe("" if board is None else ", ".join(names[np.argsort(-board.elo)[:3]])),
                tag("ul.examples", *(tag("li", _short(texts[row])) for row in central)),
            )
        )
    text = (
        "Prompts with similar embeddings, named by words that are frequent in a cluster and rare elsewhere (c-TF-IDF)."
    )
    head = ("", "Cluster", "Prompts", "Spread", "Best LLMs", "Its most central prompts")
    shown = table(head, rows, wide=("Prompts", "Spread", "Best LLMs"))
    return join((tag("p.soft", text), cluster_map(clusters, texts), shown))


def _footer(insight: Insight) -> Html:
    small = ", ".join(f"{group.name} ({len(group.rows)})" for group in insight.small[:30])
    small += f" and {len(insight.small) - 30} more" if len(insight.small) > 30 else ""
    notes = [
        "Intervals show how much a number would vary with other prompts of the same sort. "
        + (_WITHOUT if insight.ranked.posterior is None else _WITH),
        "The leaderboard of a group is the projection of its prompts' rankings: the one leaderboard closest to them in "
        "cross-entropy. Each distinct prompt counts once.",
        f"Likelihood family: {insight.ranked.family.name}.",
    ]
    if insight.clusters is not None:
        notes.append("Clusters were made from the same prompts; intervals take them as fixed.")
    if small:
        notes.append(f"Omitted, with fewer than {insight.questions.min_prompts} prompts: {small}.")
    return tag("footer", *(tag("p", note) for note in notes))


def _first_and_rest(found: pd.DataFrame, part: Callable[[pd.DataFrame], Html]) -> Html:
    """Return the first rows, and a fold-out with the rest."""
    if len(found) <= SHOWN + 5:
        return part(found)
    rest = tag("details", tag("summary", f"The other {len(found) - SHOWN}"), part(found.iloc[SHOWN:]))
    return join((part(found.iloc[:SHOWN]), rest))


def _verdict(verdict: str) -> Html:
    return tag(f"span.{VERDICT_CLASSES.get(verdict, 'soft')}", verdict)


def _short(prompt: str) -> Html:
    """Return the beginning of a prompt on one line; the browser takes its direction from the script."""
    text = " ".join(prompt[: 4 * EXAMPLE_CHARACTERS].split())
    text = text if len(text) <= EXAMPLE_CHARACTERS else f"{text[:EXAMPLE_CHARACTERS]} ..."
    return tag("span", text, attributes={"dir": "auto"})
