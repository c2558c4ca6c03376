"""Write names beside dots, where there is room for them."""

from collections.abc import Iterator, Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox

from p2l.drawing import short_names

FONT_SIZE, DOT = 7, 3.0  # points: of the names, and around a dot
COLOUR = "#333333"


def write_names(figure: Figure, axis: Axes, places: Mapping[str, tuple[float, float]]) -> int:
    """Write each name at the first free place around its dot; return how many found none.

    ``places`` are in data units; the first names are placed first. Limits and layout of the figure must be set.
    """
    figure.draw_without_rendering()
    point = figure.dpi / 72
    dots = {name: axis.transData.transform(place) for name, place in places.items()}
    taken = [Bbox.from_extents(x - DOT, y - DOT, x + DOT, y + DOT) for x, y in dots.values()]
    inside, missing = axis.get_window_extent(), 0
    for (name, place), text in zip(places.items(), short_names(list(places), 30), strict=True):
        written = axis.annotate(text, place, (0, 0), textcoords="offset points", fontsize=FONT_SIZE, color=COLOUR)
        written.set(in_layout=False, parse_math=False, path_effects=[withStroke(linewidth=2, foreground="white")])
        size = written.get_window_extent()
        for offset in _offsets(size.width / point, size.height / point):
            x, y = dots[name] + [part * point for part in offset]
            box = Bbox.from_bounds(x, y, size.width, size.height)
            if inside.containsx(box.x0) and inside.containsx(box.x1) and inside.containsy(box.y0) \
                    and inside.containsy(box.y1) and not box.count_overlaps(taken):  # fmt: skip
                written.set_position(offset)
                taken.append(box)
                break
        else:
            written.remove()
            missing += 1
    return missing


def _offsets(width: float, height: float) -> Iterator[tuple[float, float]]:
    """Yield places of the lower left corner of a text around its dot, in points, the nearest first."""
    for gap in (4.0, 10.0):
        yield gap, -height / 2
        yield gap, -height - gap / 2
        yield gap, gap / 2
        yield -gap - width, -height / 2
        yield -gap - width, gap / 2
        yield -gap - width, -height - gap / 2
        yield -width / 2, gap
        yield -width / 2, -gap - height
