"""Groups of models that were never compared: each is ranked apart, wherever a leaderboard is shown."""

import pytest
import torch
from matplotlib.figure import Figure

from p2l import aggregate
from p2l.errors import ConfigError
from p2l.outcomes import BT, GRK
from p2l.ranking import Leaderboard, Leaderboards, leaderboard_table
from p2l.ranking.leaderboard_table import members_of
from p2l.types import Ranking

MODELS = ("ant", "bee", "cow", "dog", "elk")
GROUPS = {"insects": ["ant", "bee"], "mammals": ["cow", "dog"]}
COEFS = torch.tensor([0.5, 2.0, -1.0, 3.0, 1.0])


def leaderboard() -> Leaderboard:
    return Leaderboard(MODELS, Ranking(COEFS, torch.tensor(0.3)), GRK, ("hi",), groups=GROUPS)


def test_ranks_elo_and_win_rates_are_those_within_the_group() -> None:
    table = leaderboard().table()
    assert table["group"].tolist() == ["insects", "insects", "mammals", "mammals", "other"]
    assert table["model"].tolist() == ["bee", "ant", "dog", "cow", "elk"] and table["rank"].tolist() == [1, 2, 1, 2, 1]
    alone = leaderboard_table(["ant", "bee"], Ranking(COEFS[:2], torch.tensor(0.3)), GRK)
    assert table.head(2).drop(columns="group").equals(alone)
    assert table.groupby("group")["elo"].mean().abs().max() < 1e-9


def test_other_models_do_not_move_a_group() -> None:
    moved = Leaderboard(
        MODELS, Ranking(COEFS + torch.tensor([0, 0, 5.0, 5.0, 5.0]), torch.tensor(0.3)), GRK, groups=GROUPS
    )
    assert moved.table().head(2).equals(leaderboard().table().head(2))


def test_a_pair_of_two_groups_has_no_probability() -> None:
    assert leaderboard().predict("ant", "bee")["b wins"] > 0.5
    with pytest.raises(ConfigError, match="ant and cow were never compared: their groups are insects and mammals"):
        leaderboard().predict("ant", "cow")


def test_texts_name_the_groups() -> None:
    text = str(leaderboard())
    assert text.index("insects") < text.index("bee") < text.index("ant") < text.index("mammals") < text.index("dog")
    assert repr(leaderboard()).count("1 ") == 3
    assert all(f"hi: {group}" in leaderboard()._repr_html_() for group in GROUPS)


def test_pictures_have_a_panel_for_each_group() -> None:
    def titles(figure: Figure) -> list[str]:
        return [axis.get_title() for axis in figure.axes if axis.get_title()]

    assert titles(leaderboard().plot()) == ["hi: insects", "hi: mammals", "hi: other"]
    many = Leaderboards(MODELS, Ranking(COEFS.repeat(2, 1), torch.zeros(2)), GRK, (("a",), ("b",)), None, GROUPS)
    assert titles(many.plot())[2:4] == ["a: other", "b: insects"]
    assert many[1:].groups == many[0].groups == aggregate(many).groups == GROUPS
    assert many.table()["group"].tolist() == 2 * leaderboard().table()["group"].tolist()
    assert "group" in Leaderboards(MODELS, Ranking(COEFS[None][:0], None), BT, (), None, GROUPS).table()


def test_members_keep_the_order_of_the_models() -> None:
    assert members_of(["dog", "ant", "cow"], GROUPS) == {"insects": ["ant"], "mammals": ["dog", "cow"]}
