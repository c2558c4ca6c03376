import numpy as np

from p2l.scaling import fit_with_intervals, hold_out, plot_law
from tests.scaling.simulated import simulate


def test_every_point_and_prediction_is_drawn() -> None:
    seen = simulate(scatter=1e-3)
    figure = plot_law(fit_with_intervals(seen, resamples=2), hold_out(seen), title="a law")
    curves, contours, held_out = figure.axes[:3]
    dots = [line for line in curves.lines if line.get_marker() == "o"]
    assert sorted(value for line in dots for value in line.get_ydata()) == sorted(seen.log_loss)
    assert curves.get_legend().get_texts()[0].get_text() == "1.8M parameters"
    assert len(contours.lines[0].get_xdata()) == 16
    names = [text.get_text() for text in held_out.get_legend().get_texts()]
    assert names == ["law", "no constant", "votes alone", "nearest smaller"]


def test_too_few_points_to_hold_one_out() -> None:
    seen = simulate()
    few = seen.select((seen.parameters > 3e6) & (seen.votes > 1e4)).select(np.array([0, 1, 2, 3, 4, 8]))
    figure = plot_law(fit_with_intervals(few, resamples=2), hold_out(few))
    assert figure.axes[2].get_legend() is None
