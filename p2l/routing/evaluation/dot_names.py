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
    """Write each name at a free place around its dot; return how many found none.

    Of the free places, the first that hides the fewest lines and markers of lines is taken. ``places`` are in data
    units; the first names are placed first. Limits and layout of the figure must be set.
    """
    figure.draw_without_rendering()
    point = figure.dpi / 72
    dots = {name: axis.transData.transform(place) for name, place in places.items()}
    taken = [Bbox.from_extents(x - DOT, y - DOT, x + DOT, y + DOT) for x, y in dots.values()]
    missing = 0
    for (name, place), text in zip(places.items(), short_names(list(places), 30), strict=True):
        written = axis.annotate(text, place, (0, 0), textcoords="offset points", fontsize=FONT_SIZE, color=COLOUR)
        written.set(in_layout=False, parse_math=False, path_effects=[withStroke(linewidth=2, foreground="white")])
        size = written.get_window_extent()
        x, y = dots[name]
        boxes = {
            (right, up): Bbox.from_bounds(x + right * point, y + up * point, size.width, size.height)
            for right, up in _offsets(size.width / point, size.height / point)
        }
        free = {at: box for at, box in boxes.items() if _is_within(axis, box) and not box.count_overlaps(taken)}
        if free:
            hidden = {at: _hidden(axis, box) for at, box in free.items()}
            offset = min(free, key=hidden.__getitem__)
            written.set_position(offset)
            taken.append(free[offset])
        else:
            written.remove()
            missing += 1
    return missing


def _is_within(axis: Axes, box: Bbox) -> bool:
    panel = axis.get_window_extent()
    return bool(panel.x0 <= box.x0 and box.x1 <= panel.x1 and panel.y0 <= box.y0 and box.y1 <= panel.y1)


def _hidden(axis: Axes, box: Bbox) -> int:
    """Return how many lines of the axis cross a box in pixels, and how many of their markers it hides."""
    count = 0
    for line in axis.lines:
        path = line.get_path().transformed(line.get_transform())
        if line.get_linestyle() != "None":  # else points alone
            count += int(path.intersects_bbox(box, filled=False))
            count += int(box.count_contains(path.vertices)) if line.get_marker() != "None" else 0
    return count


def _offsets(width: float, height: float) -> Iterator[tuple[float, float]]:
    """Yield places of the lower left corner of a text around its dot, in points, the nearest first."""
    for gap in (4.0, 10.0, 16.0):
        yield gap, -height / 2
        yield gap, -height - gap / 2
        yield gap, gap / 2
        yield -gap - width, -height / 2
        yield -gap - width, gap / 2
        yield -gap - width, -height - gap / 2
        yield -width / 2, gap
        yield -width / 2, -gap - height
