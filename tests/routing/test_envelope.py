"""The envelope of points whose shape is known."""

from p2l.routing.envelope import Frontier, Point, mix, upper_envelope


def test_points_under_a_chord_and_equal_ones_are_no_vertices():
    points = [
        Point(1, 0, 0),
        Point(2, 1, 1),
        Point(2, 2, 2),
        Point(3, 2.9, 3),
        Point(4, 4, 4),
        Point(5, 5, 5),
        Point(6, 5, 6),
    ]
    assert [point.model for point in upper_envelope(points)] == [0, 2, 5]  # 4 lies on the chord of 2 and 5
    frontier = Frontier.of(upper_envelope(points))
    assert (frontier.cost.tolist(), frontier.score.tolist()) == ([1, 2, 5], [0, 2, 5])
    assert frontier.model.tolist() == [0, 2, 5]


def test_the_price_is_the_slope_ahead_of_the_budget():
    vertices = upper_envelope([Point(0, 0, 0), Point(1, 2, 1), Point(3, 3, 2)])
    assert mix(vertices, 0.5) == (0, 1, 0.5, 2.0, 1.0)
    assert mix(vertices, 1.0) == (1, 1, 0.0, 0.5, 2.0)
    assert mix(vertices, 3.0) == (2, 2, 0.0, 0.0, 3.0)
    assert mix(vertices, None) == mix(vertices, 99.0)
