from pathlib import Path

import pandas as pd
import torch
from matplotlib.figure import Figure

from p2l.leaderboard import fit, leaderboard_table, plot_intervals, plot_leaderboards
from p2l.outcomes import BT
from p2l.ranking.leaderboard_plots import unsettled
from p2l.ranking.prompt_leaderboards import Leaderboards
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
    assert table["model"].iloc[0] == "ant"  # it never lost, and stands below the others
    assert [label.get_text() for label in axis.get_yticklabels()] == [*table["model"][1:], "ant"]
    assert "80% intervals" in axis.get_xlabel()
    figure.savefig(tmp_path / "intervals.png")


def test_panels_have_one_scale_and_the_caption_states_what_is_left_out() -> None:
    coefs = torch.stack([torch.linspace(-1, 1, 20), torch.linspace(5, -5, 20)]).repeat(4, 1)
    figure = Leaderboards(tuple(MODELS), Ranking(coefs, None), BT, (("hi",),) * 8).plot(top=5)
    assert len({axis.get_xlim() for axis in figure.axes}) == 1 and len(figure.axes) == 4
    assert figure.legends[0].get_title().get_text() == "Best 5 of 20 models. First 4 of 8 prompts."
    assert not plot_leaderboards(["one"], leaderboards()[:1], top=20).legends


def test_no_prompt_and_no_model_is_a_sentence() -> None:
    empty = Leaderboards(tuple(MODELS), Ranking(torch.zeros(0, 20), None), BT, ())
    for figure in (empty.plot(), plot_leaderboards([], []), plot_intervals(fitted([5, 5]).head(0))):
        assert len(figure.texts) == 1 and not figure.axes


def fitted(votes: list[int], lost: int = 0) -> pd.DataFrame:
    """Fit a chain of models with this many votes between neighbours, both ways; the last beats all, or loses some."""
    rows = []
    for i, number in enumerate(votes):
        pair = (MODELS[i], MODELS[i + 1])
        rows += [(*pair, "model_a")] * number + [(*pair, "model_b")] * (
            lost if i == len(votes) - 1 and lost else number
        )
    return fit(frame(rows), "bt").table()


def test_a_model_with_few_votes_stands_apart_and_does_not_stretch_the_scale() -> None:
    table = fitted([400] * 8 + [1], lost=3)  # the last won three of four votes: first, with any rank
    assert table["model"].iloc[0] == MODELS[9] and unsettled(table).tolist() == [True] + [False] * 9
    axis = plot_intervals(table).axes[0]
    assert names(plot_intervals(table), 0)[-1] == MODELS[9]
    widest = (table["elo_high"] - table["elo_low"]).iloc[1:].max()
    assert axis.get_xlim()[1] - axis.get_xlim()[0] < 2 * widest + table["elo"].iloc[1:].max() - table["elo"].min()
    assert axis.get_xlim()[1] < table["elo_high"].iloc[0]
    note = plot_intervals(table).legends[0].get_title().get_text().replace("\n", " ")
    assert "Below the line: the votes do not settle the rank" in note and "the interval goes on" in note


def test_intervals_of_one_width_are_all_settled_and_a_second_component_is_apart() -> None:
    assert not unsettled(fitted([3, 3])).any() and not unsettled(fitted([1])).any()
    parts = fit(
        frame([(a, b, w) for a, b in (("x", "y"), ("y", "z"), ("p", "q")) for w in ("model_a", "model_b")]), "bt"
    )
    table = parts.table()
    assert set(table["model"][unsettled(table)]) == {"p", "q"}


def test_of_many_models_the_best_and_few_of_the_unsettled_are_drawn_and_counted() -> None:
    table = fitted([30] * 19)
    table["identified"] = [False] * 14 + [True] * 6
    figure = plot_intervals(table, top=4)
    assert len(names(figure, 0)) == 4 + 12
    note = figure.legends[0].get_title().get_text().replace("\n", " ")
    assert "Best 4 of 6 settled models." in note and "Best 12 of 14 models below the line." in note
