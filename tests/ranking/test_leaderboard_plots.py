from pathlib import Path

import torch
from matplotlib.figure import Figure

from p2l.leaderboard import fit, leaderboard_table, plot_intervals, plot_leaderboards
from p2l.outcomes import BT
from p2l.types import Ranking
from tests.leaderboard.voting import frame

MODELS = [f"model {i:02d}" for i in range(20)]


def leaderboards() -> list:
    coefs = torch.linspace(-1, 1, 20)
    return [leaderboard_table(MODELS, Ranking(c, None), BT) for c in (coefs, -coefs)]


def names(figure: Figure, panel: int) -> list[str]:
    return [label.get_text() for label in figure.axes[panel].get_yticklabels()]


def test_each_panel_shows_the_best_models_of_its_leaderboard() -> None:
    figure = plot_leaderboards(["one", "other"], leaderboards(), top=5)
    assert len(figure.axes) == 2
    assert names(figure, 0) == MODELS[:-6:-1] and names(figure, 1) == MODELS[:5]
    assert figure.axes[0].yaxis_inverted()
    assert [axis.get_title() for axis in figure.axes] == ["one", "other"]


def test_a_model_has_one_colour() -> None:
    figure = plot_leaderboards(["one", "other"], leaderboards(), top=20)
    colours = [
        dict(zip(names(figure, i), (bar.get_facecolor() for bar in figure.axes[i].patches), strict=True))
        for i in (0, 1)
    ]
    assert colours[0] == colours[1]


def test_a_picture_is_written_whatever_the_titles(tmp_path: Path) -> None:
    plot_leaderboards(["a title " * 50, "what is $x^$?"], leaderboards()).savefig(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 0


def test_intervals_and_ranks_are_drawn(tmp_path: Path) -> None:
    votes = frame([("ant", "$bee_1", "model_a")] * 9 + [("$bee_1", "cat", "model_a"), ("cat", "$bee_1", "model_a")])
    table = fit(votes, "bt").table(0.8)
    figure = plot_intervals(table, title="all", level=0.8)
    axis = figure.axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == table["model"].tolist()
    assert "80% intervals" in axis.get_xlabel()
    figure.savefig(tmp_path / "intervals.png")
