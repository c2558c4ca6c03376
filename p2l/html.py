"""Build HTML: every value that is not ``Html`` is text and is escaped, so that a prompt cannot become markup."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files

import numpy as np

_NUMBER_STARTS = set("0123456789+-−–.")


class Html(str):
    """Markup that needs no escaping."""

    __slots__ = ()


def safe(content: object) -> Html:
    """Escape text; return ``Html`` unchanged."""
    if isinstance(content, Html):
        return content
    text = str(content).encode("utf-8", "replace").decode()  # a lone surrogate cannot be encoded
    return Html(escape(text.replace("\0", "\ufffd"), quote=True))


def join(content: Iterable[object]) -> Html:
    """Concatenate, escaping text."""
    return Html("".join(safe(part) for part in content))


def tag(name: str, *content: object, attributes: Mapping[str, object] | None = None) -> Html:
    """Return an element; "td.number" is a td of class "number". Content and ``attributes`` are escaped."""
    element, _, classes = name.partition(".")
    of = {**({"class": classes.replace(".", " ")} if classes else {}), **(attributes or {})}
    written = "".join(f' {key}="{safe(value)}"' for key, value in of.items())
    return Html(f"<{element}{written}>{join(content)}</{element}>")


def document(title: str, *body: Html) -> str:
    """Return a whole page in the style of all reports; it needs no script and no network."""
    style = Html(files("p2l").joinpath("report.css").read_text(encoding="utf-8"))
    meta = Html('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">')
    head = tag("head", meta, tag("title", title), tag("style", style))
    return "<!doctype html>\n" + tag("html", head, tag("body", *body), attributes={"lang": "en"})


def sections(found: Sequence[tuple[str, Html | None]]) -> Html:
    """Return the sections that have content, after links to them."""
    shown = [(name, content) for name, content in found if content]
    links = (tag("a", name, attributes={"href": f"#{_anchor(name)}"}) for name, _ in shown)
    parts = (tag("section", tag("h2", name), content, attributes={"id": _anchor(name)}) for name, content in shown)
    return join((tag("nav", *links), tag("main", *parts)))


def tiles(named: Iterable[tuple[str, object]]) -> Html:
    """Return values in large print, each above its name."""
    return tag("div.tiles", *(tag("div.tile", tag("strong", value), tag("small", name)) for name, value in named))


def _anchor(name: str) -> str:
    return name.lower().replace(" ", "-")


def table(head: Sequence[str], rows: Sequence[Sequence[object]], *, wide: Collection[str] = ()) -> Html:
    """Return a table that scrolls sideways if it must; ``wide`` columns are hidden on a narrow screen.

    Columns with a number in the first row are aligned right.
    """
    classes = [_classes(name, value, wide) for name, value in zip(head, rows[0] if rows else head, strict=True)]
    top = (tag(f"th{css}", name, attributes={"scope": "col"}) for css, name in zip(classes, head, strict=True))
    body = (tag("tr", *(tag(f"td{css}", value) for css, value in zip(classes, row, strict=True))) for row in rows)
    return scrolling(tag("table", tag("thead", tag("tr", *top)), tag("tbody", *body)))


def scrolling(content: Html) -> Html:
    """Wrap ``content`` to scroll sideways if it is too wide, by keyboard too."""
    return tag("div.scroll", content, attributes={"tabindex": "0"})


def _classes(name: str, value: object, wide: Collection[str]) -> str:
    number = not isinstance(value, Html) and str(value)[:1] in _NUMBER_STARTS
    return (".number" if number else "") + (".wide" if name in wide else "")


def whisker(value: float, low: float, high: float, scale: tuple[float, float], *, zero: float | None = None) -> Html:
    """Return a dot and its interval on ``scale`` (from, to), with a line at ``zero``."""

    def place(x: float) -> float:
        return 100 * (min(max(x, scale[0]), scale[1]) - scale[0]) / ((scale[1] - scale[0]) or 1.0)

    def at(element: str, style: str) -> Html:
        return tag(element, attributes={"style": style})

    parts = [] if zero is None else [at("u", f"left:{place(zero):.2f}%")]
    known = low == low and high == high  # not NaN
    if known:
        parts.append(at("i", f"left:{place(low):.2f}%;width:{place(high) - place(low):.2f}%"))
    parts.append(at("b", f"left:{place(value):.2f}%"))
    sign = "" if zero is None else ".up" if known and low > zero else ".down" if known and high < zero else ".flat"
    return tag(f"div.whisker{sign}", *parts)


def rank_range(best: int, worst: int) -> str:
    """Return the range of a rank; one number if the intervals allow no other."""
    return str(best) if best == worst else f"{best}–{worst}"


def interval_text(low: float, high: float, digits: int, *, plus: bool = True) -> str:
    """Return both ends; a dash for an unknown interval (NaN)."""
    return "–" if low != low else f"{signed(low, digits, plus=plus)} to {signed(high, digits, plus=plus)}"


def signed(number: float, digits: int, *, plus: bool = True) -> str:
    """Format a number with ``digits`` decimals; zero has no sign."""
    number = round(number, digits) + 0.0
    return f"{number:{'+' if plus and number else ''}.{digits}f}"


def scale_of(*values: object) -> tuple[float, float]:
    """Return the range of all values, with a small margin."""
    every = np.concatenate([np.atleast_1d(np.asarray(some, dtype=np.float64)) for some in values])
    low, high = np.nanmin(every), np.nanmax(every)
    room = 0.04 * (high - low) or 1.0
    return float(low - room), float(high + room)
