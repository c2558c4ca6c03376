"""Plots show the numbers that they are drawn from."""

import numpy as np

from p2l.evaluation.evaluation_plots import MOST_MODELS, draw_plots, plot_against_truth, plot_scale

LINES = ["ant $5: 1.0", "bee: x: 0.0", "cat: -1.0"]
ENTRY = {
    "category_metrics": {"Leaderboard": {"ground-truth": LINES, "model-aggr": LINES[::-1]}},
    "proper_metrics": {
        "votes": 10,
        "calibration_error": {"value": 0.1, "low": 0.05, "high": 0.2},
        "reliability": {
            name: {"predicted": [0.2, 0.7], "observed": [0, 1], "votes": [4, 6]} for name in ("a wins", "b wins")
        },
    },
    "aggr_scale": {"1": {"L1-Dist-Prob": 0.3}, "100": {"L1-Dist-Prob": 0.1, "Kendall-lbs": 0.5}},
}


def test_each_picture_is_drawn_where_there_are_numbers(tmp_path) -> None:
    figures = draw_plots({"p2l-all": ENTRY, "p2l-math": {"omitted": {}}})
    assert set(figures) == {"reliability", "leaderboard", "aggr_scale"}
    for name, figure in figures.items():
        figure.savefig(tmp_path / f"{name}.png")
    assert draw_plots({"p2l-all": {"simple_metrics": {}}}) == draw_plots({}) == {}


def test_points_are_elo_above_the_mean_and_many_models_are_cut() -> None:
    axis = plot_against_truth(ENTRY["category_metrics"]["Leaderboard"], "x").axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["ant $5", "bee: x", "cat"]
    np.testing.assert_allclose(axis.collections[1].get_offsets()[:, 0], [400 / np.log(10), 0, -400 / np.log(10)])
    many = [f"m{i}: {-i}.0" for i in range(40)]
    axis = plot_against_truth({"ground-truth": many, "model-aggr": many}, "x").axes[0]
    assert len(axis.get_yticks()) == MOST_MODELS and "best 30 of 40" in axis.get_title()


def test_a_size_without_a_metric_has_no_point() -> None:
    figure = plot_scale({"p2l-all": ENTRY["aggr_scale"]})
    assert figure.axes[0].lines[0].get_xdata().tolist() == [1, 100]
