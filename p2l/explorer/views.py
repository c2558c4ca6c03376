"""Markup of the leaderboard, of a pair of LLMs, and of the comparison of two prompts."""

from collections.abc import Mapping, Sequence

import pandas as pd

from p2l.html import Html, interval_text, join, rank_range, scale_of, scrolling, signed, tag, whisker
from p2l.ranking.leaderboard_table import tables_by_group

_CLASSES = ("a", "b", "tie", "bad")  # CSS classes of the outcomes of a family
LEVEL = 0.95  # of the intervals
INTERVALS = (
    f"Rank: the ranks that are possible, for all LLMs at once. Line: the {LEVEL:.0%} interval of one LLM's points, "
    "which the votes of the training leave open."
)
_FITS = 0.08  # a smaller segment of a bar has no room for its percentage


def message(text: str) -> Html:
    """Return a line of text instead of a view."""
    return tag("p.soft", text)


def find_models(table: pd.DataFrame, search: str) -> pd.DataFrame:
    """Return the rows of LLMs whose name contains a word of ``search``, ignoring case; "" returns all."""
    words = search.casefold().replace(",", " ").split()
    if not words:
        return table
    return table[[any(word in name.casefold() for word in words) for name in table["model"]]]


def leaderboard_view(table: pd.DataFrame, top: int, search: str = "") -> Html:
    """Return the ``top`` matching rows of a ``leaderboard_table``, of each group if any, with bars of win rates."""
    if find_models(table, search).empty:
        return _no_match(search)
    sure, views = "elo_low" in table, []
    for group, rows in tables_by_group(table).items():
        if len(found := find_models(rows, search)):
            view = _intervals_view(rows, found.head(top)) if sure else _rows_view(found.head(top))
            some = f"{min(top, len(found))} of {len(rows)} LLMs." if min(top, len(found)) < len(rows) else ""
            views += [tag("h4", group) if group else Html(), view, message(some) if some else Html()]
    about = INTERVALS if sure else "Coef: in nats."
    return join(
        (*views, message(f"Win rate: against the other LLMs, ties as half. Elo: points above the mean LLM. {about}"))
    )


def _intervals_view(table: pd.DataFrame, shown: pd.DataFrame) -> Html:
    """Return rows of a table with intervals, and how much of the order is sure."""
    scale = scale_of(table["elo_low"], table["elo_high"])
    rows = [
        tag(
            "tr",
            tag("td.number", rank_range(row.rank_best, row.rank_worst)),
            tag("td.name", row.model),
            tag("td.bar", whisker(row.elo, row.elo_low, row.elo_high, scale)),
            tag("td.number", signed(row.elo, 0)),
            tag("td.number.wide", interval_text(row.elo_low, row.elo_high, 0)),
            tag("td.number.wide", f"{row.win_rate:.1%}"),
        )
        for row in shown.itertuples()
    ]
    head = _head(
        ("rank", "number"), ("LLM", ""), ("", "bar"), ("Elo", "number"), (f"{LEVEL:.0%}", "wide"), ("win rate", "wide")
    )
    first, sure, pairs = (table["rank_best"] == 1).sum(), (table["rank_best"] - 1).sum(), len(table) * (len(table) - 1)
    may = f"{first} LLMs may be first" if first > 1 else f"{table['model'].iloc[0]} is surely first"
    text = f"{may}; the order of {sure:,} of {pairs // 2:,} pairs is sure."
    return join((_table(head, rows), message(text)))


def _rows_view(shown: pd.DataFrame) -> Html:
    """Return rows of a ``leaderboard_table``."""
    rows = [
        tag(
            "tr",
            tag("td.number", row.rank),
            tag("td.name", row.model),
            tag("td.bar", _bar(0.0, row.win_rate, "a", mark=0.5)),
            tag("td.number", f"{row.win_rate:.1%}"),
            tag("td.number", f"{row.elo:+.0f}"),
            tag("td.number.wide", f"{row.coef:+.3f}"),
        )
        for row in shown.itertuples()
    ]
    head = _head(("#", "number"), ("LLM", ""), ("", "bar"), ("win rate", "number"), ("Elo", "number"), ("coef", "wide"))
    return _table(head, rows)


def pair_view(
    names: tuple[str, str],
    outcomes: Sequence[str],
    probs: Mapping[str, Sequence[float]],
    ends: Sequence[Mapping[str, tuple[float, float]]] = (),
) -> Html:
    """Return the outcome probabilities of two LLMs, one bar a prompt; ``probs`` maps titles to probabilities.

    The first two outcomes, wins of the first and of the second LLM, are at the two ends of the bar. ``ends``: for each
    prompt the intervals of the probabilities, by outcome.
    """
    if names[0] == names[1]:
        return message("Choose two different LLMs.")
    labels = [f"{names[0]} wins", f"{names[1]} wins", *outcomes[2:]]
    order = [0, *range(2, len(outcomes)), 1]
    bars = []
    for title, values in probs.items():
        label = ", ".join(f"{labels[i]} {values[i]:.1%}" for i in order)
        segments = (_segment(_CLASSES[i], values[i]) for i in order)
        heading = tag("h4", title) if len(probs) > 1 else ""
        bars += [heading, tag("div.stack", *segments, attributes={"role": "img", "aria-label": label})]
    legend = (
        tag(
            "li",
            tag(f"i.{_CLASSES[i]}"),
            labels[i],
            " ",
            tag("b", " → ".join(f"{p[i]:.1%}" for p in probs.values())),
            _ends_of(outcomes[i], ends),
        )
        for i in order
    )
    return join((*bars, tag("ul.legend", *legend), message(f"In brackets: {LEVEL:.0%} intervals.") if ends else Html()))


def _ends_of(outcome: str, ends: Sequence[Mapping[str, tuple[float, float]]]) -> Html:
    """Return the intervals of one outcome's probability on each prompt."""
    texts = (interval_text(100 * one[outcome][0], 100 * one[outcome][1], 0, plus=False) for one in ends)
    return tag("span.soft", f" [{' → '.join(texts)}]") if ends else Html()


def comparison_view(
    first: pd.DataFrame, second: pd.DataFrame, top: int, search: str = "", ends: pd.DataFrame | None = None
) -> Html:
    """Return the ``top`` LLMs with the largest change of Elo points between two leaderboards, rising ones first.

    ``ends``: the interval of each change, ``change_intervals``.
    """
    both = first[["model", "rank", "elo"]].merge(second[["model", "rank", "elo"]], on="model", suffixes=("", "_second"))
    both["change"] = both["elo_second"] - both["elo"]
    if ends is not None:
        both = both.merge(ends, on="model")
    found = find_models(both, search)
    if found.empty:
        return _no_match(search)
    largest = max(float(both["change"].abs().max()), 1e-9)
    most = found.loc[found["change"].abs().sort_values(ascending=False, kind="stable").index[:top]]
    rows = [
        tag(
            "tr",
            tag("td.name", row.model),
            tag("td.number", f"{row.rank} → {row.rank_second}", _arrow(row.rank - row.rank_second)),
            tag("td.bar", _change(row.change / largest)),
            tag("td.number", f"{row.change:+.0f}"),
            *([] if ends is None else [tag("td.number.wide", interval_text(row.change_low, row.change_high, 0))]),
        )
        for row in most.sort_values("change", ascending=False, kind="stable").itertuples()
    ]
    head = _head(
        *(("LLM", ""), ("rank", "number"), ("", "bar"), ("Elo", "number")),
        *([] if ends is None else [(f"{LEVEL:.0%}", "wide")]),
    )
    moved = int((both["rank"] != both["rank_second"]).sum())
    shown = f" Shown: the {len(rows)} largest changes of {len(found)} LLMs." if len(rows) < len(found) else ""
    text = f"Elo points, from the first prompt to the second; {moved} of {len(both)} LLMs change their rank.{shown}"
    if ends is not None:
        surely = int(((both["change_low"] > 0) | (both["change_high"] < 0)).sum())
        text += f" The {LEVEL:.0%} interval of the change leaves out 0 for {surely}."
    return join((_table(head, rows), message(text)))


def _no_match(search: str) -> Html:
    return message(f"No LLM has “{search[:80]}” in its name.")


def _head(*columns: tuple[str, str]) -> Html:
    return tag(
        "tr", *(tag(f"th.{kind}" if kind else "th", name, attributes={"scope": "col"}) for name, kind in columns)
    )


def _table(head: Html, rows: Sequence[Html]) -> Html:
    return scrolling(tag("table", tag("thead", head), tag("tbody", *rows)))


def _bar(start: float, end: float, kind: str, *, mark: float) -> Html:
    """Return a bar on a track from 0 to 1, with a line at ``mark``."""
    place = {"style": f"left:{100 * start:.2f}%;width:{100 * (end - start):.2f}%"}
    line = tag("u", attributes={"style": f"left:{100 * mark:.2f}%"})
    return tag("div.track", tag(f"i.{kind}", attributes=place), line)


def _change(share: float) -> Html:
    """Return a bar right of the middle for a rise, left for a fall; ``share`` is in [-1, 1]."""
    middle = 0.5
    low, high = sorted((middle, middle + share / 2))
    return _bar(low, high, "up" if share >= 0 else "down", mark=middle)


def _arrow(places: int) -> Html:
    if not places:
        return tag("span.move", "")
    return tag(f"span.move.{'up' if places > 0 else 'down'}", f"{'▲' if places > 0 else '▼'}{abs(places)}")


def _segment(kind: str, share: float) -> Html:
    text = f"{share:.0%}" if share >= _FITS else ""
    return tag(f"i.{kind}", text, attributes={"style": f"width:{100 * share:.3f}%", "title": f"{share:.1%}"})
