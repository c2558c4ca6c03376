"""Names beside dots: within the panel, apart, and off the lines if there is such a place."""

import numpy as np
import pytest

from p2l.drawing import new_figure
from p2l.routing.evaluation.dot_names import write_names


@pytest.mark.parametrize(
    ("line", "crossed"),
    [
        ([(0.0, 0.5), (1.0, 0.5)], False),  # through the dot, where the first place is
        ([(0.5, 0.5), (0.52, 0.4), (1.0, 0.3)], False),
        ([(x, y) for x in np.linspace(0, 1, 200) for y in (0.0, 1.0)], True),  # everywhere
    ],
)
def test_a_name_keeps_off_lines_if_it_can(line: list[tuple[float, float]], crossed: bool) -> None:
    figure = new_figure(4.0, 3.0)
    axis = figure.subplots()
    axis.set(xlim=(0, 1), ylim=(0, 1))
    (drawn,) = axis.plot(*zip(*line, strict=True))
    axis.plot([0.5, 0.9], [0.5, 0.9], "s")  # points alone, not a line between them
    assert write_names(figure, axis, {"a-name": (0.5, 0.5)}) == 0
    figure.draw_without_rendering()
    (text,) = axis.texts
    path = drawn.get_path().transformed(drawn.get_transform())
    assert path.intersects_bbox(text.get_window_extent(), filled=False) == crossed
    panel = axis.get_window_extent()
    assert panel.containsx(text.get_window_extent().x0) and panel.containsy(text.get_window_extent().y0)


def test_points_alone_do_not_move_a_name() -> None:
    offsets = []
    for style in ("s", "s-"):
        figure = new_figure(4.0, 3.0)
        axis = figure.subplots()
        axis.set(xlim=(0, 1), ylim=(0, 1))
        axis.plot([0.5, 0.9], [0.5, 0.5], style)
        write_names(figure, axis, {"a-name": (0.5, 0.5)})
        offsets.append(axis.texts[0].get_position())
    assert offsets[0] != offsets[1] and offsets[0][0] > 0


def test_of_crossed_places_the_one_that_hides_fewest_markers_is_taken() -> None:
    """Vertical lines cross every place; only those above the dot have no markers."""
    figure = new_figure(4.0, 3.0)
    axis = figure.subplots()
    axis.set(xlim=(0, 1), ylim=(0, 1))
    for x in np.linspace(0, 1, 30):
        axis.plot([x] * 20, np.linspace(0.0, 0.52, 20), "o-", markersize=2)
        axis.plot([x, x], [0.52, 1.0])
    assert write_names(figure, axis, {"a-name": (0.5, 0.5)}) == 0
    assert axis.texts[0].get_position()[1] > 0
