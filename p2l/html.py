"""Pieces of a page. Whatever is not ``Html`` already is text and is escaped, so that no prompt can become markup."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from html import escape

_NUMBER_STARTS = set("0123456789+-−–.")


class Html(str):
    """Markup that is safe to show as it is."""

    __slots__ = ()


def safe(content: object) -> Html:
    """Text, escaped; markup as it is."""
    if isinstance(content, Html):
        return content
    text = str(content).encode("utf-8", "replace").decode()  # half a surrogate pair has no place in a file
    return Html(escape(text.replace("\0", "\ufffd"), quote=True))


def join(content: Iterable[object]) -> Html:
    """One after the other."""
    return Html("".join(safe(part) for part in content))


def tag(name: str, *content: object, attributes: Mapping[str, object] | None = None) -> Html:
    """An element; "td.number" is a td of class "number". ``attributes`` are escaped like all else."""
    element, _, classes = name.partition(".")
    of = {**({"class": classes.replace(".", " ")} if classes else {}), **(attributes or {})}
    written = "".join(f' {key}="{safe(value)}"' for key, value in of.items())
    return Html(f"<{element}{written}>{join(content)}</{element}>")


def table(head: Sequence[str], rows: Sequence[Sequence[object]], *, wide: Collection[str] = ()) -> Html:
    """A table that scrolls sideways where it must; ``wide`` columns are left out on a narrow screen.

    A column of numbers, by the first row, stands on the right.
    """
    kinds = [_classes(name, value, wide) for name, value in zip(head, rows[0] if rows else head, strict=True)]
    top = (tag(f"th{kind}", name, attributes={"scope": "col"}) for kind, name in zip(kinds, head, strict=True))
    body = (tag("tr", *(tag(f"td{kind}", value) for kind, value in zip(kinds, row, strict=True))) for row in rows)
    return scrolling(tag("table", tag("thead", tag("tr", *top)), tag("tbody", *body)))


def scrolling(content: Html) -> Html:
    """``content``, sideways where it is too wide; the keyboard can move it too."""
    return tag("div.scroll", content, attributes={"tabindex": "0"})


def _classes(name: str, value: object, wide: Collection[str]) -> str:
    number = not isinstance(value, Html) and str(value)[:1] in _NUMBER_STARTS
    return (".number" if number else "") + (".wide" if name in wide else "")


def whisker(value: float, low: float, high: float, scale: tuple[float, float], *, zero: float | None = None) -> Html:
    """A dot and its interval on a scale from the first to the second number, with a line at ``zero``."""

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
