"""The picture of routing: every LLM is a dot, and what has no place is counted."""

import pytest

from p2l.routing.evaluation.routing_plots import plot_routing
from tests.gallery import routing_result


def texts(figure) -> list[str]:
    return [text.get_text() for axis in figure.axes for text in axis.texts]


def test_every_llm_has_a_dot_and_a_name_or_is_counted() -> None:
    few, many = plot_routing([routing_result(6)]), plot_routing([routing_result(130)])
    for figure, number in ((few, 6), (many, 130)):
        assert sum(len(dots.get_offsets()) for dots in figure.axes[0].collections[-2:]) == number
    assert len(texts(few)) == 6 and "without room" not in few.legends[0].get_title().get_text()
    missing = 130 - len(texts(many))
    assert missing > 0 and f"{missing} LLMs without room for a name" in many.legends[0].get_title().get_text()


def test_an_llm_without_a_cost_and_one_below_the_scale_are_shown_at_the_edges() -> None:
    result = routing_result(4)
    result["singles"] = {"free": (0.0, 0.6), "bad": (1.0, 0.01), "good": (2.0, 0.7)}
    figure = plot_routing([result])
    axis = figure.axes[0]
    assert set(texts(figure)) == {"free", "bad", "good"}
    dots, edge = (collection.get_offsets() for collection in axis.collections[-2:])
    assert len(dots) == 2 and dots[:, 0].min() >= axis.get_xlim()[0] > 0
    assert len(edge) == 1 and edge[0, 1] >= axis.get_ylim()[0] > 0.01
    legend = figure.legends[0]
    assert "LLMs without a cost stand at the left edge" in legend.get_title().get_text()
    assert "a single LLM below the scale" in [text.get_text() for text in legend.get_texts()]


def test_panels_share_the_scale_of_one_unit_and_the_legend_has_the_lines_of_all() -> None:
    first, second = routing_result(3), routing_result(24, 1)
    second["curves"]["conservative stream"] = second["curves"]["stream"]
    figure = plot_routing([first, second])
    assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim()
    assert "one price, shrunk scores" in [text.get_text() for text in figure.legends[0].get_texts()]
    other = plot_routing([first, {**second, "unit": "seconds"}])
    assert other.axes[0].get_xlim() != other.axes[1].get_xlim()


@pytest.mark.parametrize("jitter", [0.0, 1e-9])
def test_a_policy_of_one_point_has_a_marker_and_an_interval(jitter: float) -> None:
    result = routing_result(3)
    curve = result["curves"]["stream"]
    at = len(curve["cost"]) // 2
    alone = {key: [values[at], values[at] * (1 + jitter)] for key, values in curve.items()}
    result["curves"] = {**result["curves"], "stream": alone}
    axis = plot_routing([result]).axes[0]
    markers = [line.get_marker() for line in axis.lines]
    assert markers.count("D") == 1 and len(markers) == len(result["curves"])
    once = {**result, "curves": {name: {key: v[:1] for key, v in c.items()} for name, c in result["curves"].items()}}
    assert {line.get_marker() for line in plot_routing([once]).axes[0].lines} == {"D"}


def test_a_policy_that_cannot_mix_is_drawn_as_steps() -> None:
    result = routing_result(2)
    lines = plot_routing([result]).axes[0].lines
    steps = {line.get_label() for line in lines if line.get_drawstyle() == "steps-post"}
    drawn = {"strict": "budget on each prompt (strict)", "best affordable single": "best affordable single LLM"}
    assert steps == {label for name, label in drawn.items() if name in result["curves"]} and steps


def test_an_oracle_above_the_scale_is_said_with_its_best_score() -> None:
    inside, above = routing_result(2), routing_result(3, 1)
    above["curves"]["oracle"]["quality"][-1] = 5.4321
    for results, said in (
        ([inside], ""),
        ([above], "5.43"),
        ([inside, above], "5.43"),
        ([above, above], "5.43 and 5.43"),
    ):
        caption = plot_routing(results).legends[0].get_title().get_text().replace("\n", " ").lower()
        assert ("the oracle goes on above the scale, to " + said in caption) if said else "the oracle" not in caption
    without = {**inside, "curves": {name: curve for name, curve in inside["curves"].items() if name != "oracle"}}
    assert plot_routing([without])


@pytest.mark.parametrize("results", [[], [{**routing_result(2), "singles": {}}], [{**routing_result(2), "curves": {}}]])
def test_missing_parts_are_no_error(results) -> None:
    plot_routing(results).draw_without_rendering()
