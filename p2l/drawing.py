"""The rules of every picture: names are plain text, fit and stay distinct; legends fit; omissions are stated.

A drawing function makes its figure with ``new_figure``, writes names with ``plain`` or ``short_names``, and returns
``finish(figure)``.
"""

import textwrap
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text
from matplotlib.ticker import Formatter, LogLocator, NullFormatter

GRID, NOTE_COLOUR, WARNING_COLOUR = "#dddddd", "#666666", "#b00020"
ROW_HEIGHT, FRAME_HEIGHT = 0.26, 1.3  # inches of a row, and of title and axis label together
LONGEST_NAME, LONGEST_LABEL = 36, 60
MOST_LEGEND_COLUMNS = 4
NOTE_SIZE = 8
LEGEND_LINE = 0.17  # inches
# largest ratio of the ends of a log scale -> its ticks within a power of ten
LOG_TICKS = {10.0: (1.0, 1.5, 2.0, 3.0, 5.0, 7.0), 1000.0: (1.0, 2.0, 5.0), float("inf"): (1.0,)}
# searched, in this order, for characters that matplotlib's own font lacks
FALLBACK_FONTS = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Source Han Sans SC", "WenQuanYi Micro Hei"),
    *(
        "WenQuanYi Zen Hei",
        "Droid Sans Fallback",
        "Arial Unicode MS",
        "PingFang SC",
        "Hiragino Sans",
        "Microsoft YaHei",
    ),
    *("Noto Sans Devanagari", "Noto Sans Bengali", "Noto Sans Tamil", "Noto Sans Thai", "Noto Emoji", "Symbola"),
)
_EM_OF_A_CHARACTER = 0.58  # mean width in the default font


def new_figure(width: float, height: float) -> Figure:
    """Return a figure of this size in inches, with a layout that makes room for labels and legends."""
    return Figure(figsize=(width, height), layout="constrained")


def height_of_rows(rows: int, row_height: float = ROW_HEIGHT) -> float:
    """Return the height in inches of a figure with a line of text in each row."""
    return FRAME_HEIGHT + row_height * max(rows, 2)


def plain(text: object) -> str:
    r"""Return text on one line; characters that no installed font can draw are written as escapes, such as ``\u6a21``.

    A box in their place would make different names look alike.
    """
    return "".join(char if _can_draw(char) else _escaped(char) for char in " ".join(str(text).split()))


def short_names(names: Iterable[object], most: int = LONGEST_NAME) -> list[str]:
    """Return each name in about ``most`` characters, without its middle; different names stay different."""
    drawn = [plain(name) for name in names]
    while len({_without_middle(name, most) for name in drawn}) < len(set(drawn)):
        most += 8
    return [_without_middle(name, most) for name in drawn]


def wrapped(text: object, width: float, fontsize: float, lines: int = 2) -> str:
    """Return text in at most ``lines`` lines of ``width`` inches; " ..." ends a text that is cut."""
    characters = max(12, int(width * 72 / (_EM_OF_A_CHARACTER * fontsize)))
    return "\n".join(textwrap.wrap(plain(text), characters, max_lines=lines, placeholder=" ..."))


def text_width(names: Sequence[str], fontsize: float) -> float:
    """Estimate the width in inches of the longest name."""
    return max((len(name) for name in names), default=0) * _EM_OF_A_CHARACTER * fontsize / 72


def name_rows(axis: Axes, places: Sequence[float], names: Iterable[object], fontsize: float = 8) -> None:
    """Write names beside the rows at ``places``, the first row on top."""
    axis.set_yticks(places, short_names(names), fontsize=fontsize, parse_math=False)
    axis.set_ylim(max(places, default=0) + 0.6, min(places, default=0) - 0.6)


def best_of(shown: int, total: int, what: str = "models") -> str:
    """Return "best 15 of 24 models"; "" if all are shown."""
    return f"best {shown:,} of {total:,} {what}" if shown < total else ""


def key_below(figure: Figure, *sentences: str, notes: Sequence[str] = ()) -> None:
    """Draw below the panels the sentences that are not empty, and one legend of all panels, each label once.

    Each of the ``notes`` begins a line of its own.

    The legend has as many columns as fit, and the figure grows by its height.
    """
    found: dict[str, Any] = {}
    for axis in figure.axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            found.setdefault(short_names([label], LONGEST_LABEL)[0], handle)
    column = text_width(list(found), NOTE_SIZE) + 4 * NOTE_SIZE / 72
    columns = max(1, min(MOST_LEGEND_COLUMNS, len(found), int(figure.get_figwidth() / column)))
    lines_of_notes = (wrapped(note, figure.get_figwidth() - 0.3, NOTE_SIZE, lines=4) for note in notes)
    text = "\n".join(filter(None, (_caption(figure, sentences), *lines_of_notes)))
    if found or text:
        lines = -(-len(found) // columns) + (text.count("\n") + 1 if text else 0)
        figure.set_figheight(figure.get_figheight() + lines * LEGEND_LINE)
        key = figure.legend(
            found.values(), found.keys(), loc="outside lower left", ncols=columns, frameon=False, fontsize=NOTE_SIZE,
            title=text, title_fontsize=NOTE_SIZE, alignment="left", borderaxespad=0.2,
        )  # fmt: skip
        key.get_title().set_color(NOTE_COLOUR)


def change_caption(figure: Figure, *sentences: str) -> None:
    """Write other sentences into the key of ``key_below``."""
    figure.legends[0].get_title().set_text(_caption(figure, sentences))


def _caption(figure: Figure, sentences: Sequence[str]) -> str:
    text = " ".join(f"{sentence[:1].upper()}{sentence[1:]}." for sentence in sentences if sentence)
    return wrapped(text, figure.get_figwidth() - 0.3, NOTE_SIZE, lines=4)


def log_scale(axis: Axes, name: str, formatter: Formatter | str) -> None:
    """Make the x or y axis logarithmic, with more ticks the fewer powers of ten it spans; call it last."""
    axis.set(**{f"{name}scale": "log"})
    ticks = axis.xaxis if name == "x" else axis.yaxis
    low, high = ticks.get_view_interval()
    ticks.set_major_locator(LogLocator(subs=next(subs for ratio, subs in LOG_TICKS.items() if high <= ratio * low)))
    ticks.set_major_formatter(formatter)
    ticks.set_minor_formatter(NullFormatter())


def message_figure(text: str) -> Figure:
    """Return a picture of a sentence, for results that have nothing to draw."""
    figure = new_figure(5.0, 1.2)
    figure.text(0.5, 0.5, wrapped(text, 4.6, 10), ha="center", va="center", fontsize=10, color=NOTE_COLOUR)
    return finish(figure)


def warn_above(figure: Figure, warning: str | None) -> None:
    """Write a warning above the panels, in whole; None writes nothing."""
    if warning:
        text = wrapped(f"Warning: {warning}.", figure.get_figwidth() - 0.4, 9, lines=20)
        figure.suptitle(text, fontsize=9, color=WARNING_COLOUR)
        figure.set_figheight(figure.get_figheight() + LEGEND_LINE * (1 + text.count("\n")))


def tidy(axis: Axes) -> None:
    """Draw a light grid behind the data, and no frame at the top and right."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(color=GRID, linewidth=0.5)
    axis.set_axisbelow(True)


def finish(figure: Figure) -> Figure:
    """Make every text plain, so that "$" is a dollar, and give it fonts for all scripts; return the figure."""
    fonts = [name for name, _ in _fonts()]
    for text in figure.findobj(Text):
        text.set_parse_math(False)
        if not text.get_text().isascii():
            text.set_fontfamily(fonts)
    return figure


def _without_middle(name: str, most: int) -> str:
    tail = most // 3
    return name if len(name) <= most else f"{name[: most - tail - 1]}…{name[-tail:]}"


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()


@cache
def _can_draw(char: str) -> bool:
    return char.isprintable() and any(font.get_char_index(ord(char)) for _, font in _fonts())


@cache
def _fonts() -> tuple[tuple[str, FT2Font], ...]:
    """Return the default font and the installed ones of ``FALLBACK_FONTS``, by family."""
    installed = set(font_manager.get_font_names())
    families = ("DejaVu Sans", *(name for name in FALLBACK_FONTS if name in installed))
    return tuple((name, font_manager.get_font(font_manager.findfont(name))) for name in families)
