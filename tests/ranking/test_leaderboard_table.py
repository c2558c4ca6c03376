import math

import pytest
import torch

from p2l.leaderboard import leaderboard_table
from p2l.outcomes import BT, FAMILIES, GRK, OutcomeFamily
from p2l.types import Ranking


def test_numbers_checkable_by_hand() -> None:
    table = leaderboard_table(["ant", "bee"], Ranking(torch.tensor([0.0, math.log(10)]), None), BT)
    assert table["rank"].tolist() == [1, 2]
    assert table["model"].tolist() == ["bee", "ant"]
    assert table["coef"].tolist() == pytest.approx([math.log(10), 0.0])
    assert table["elo"].tolist() == pytest.approx([200.0, -200.0])  # 400 points are a factor of 10
    assert table["win_rate"].tolist() == pytest.approx([10 / 11, 1 / 11])


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_win_rates_average_one_half_and_fall_with_rank(family: OutcomeFamily) -> None:
    ranking = Ranking(torch.tensor([0.3, -1.0, 2.0, 0.5]), torch.tensor(0.2) if family.num_eta else None)
    table = leaderboard_table(["a", "b", "c", "d"], ranking, family)
    assert table["model"].tolist() == ["c", "d", "a", "b"]
    assert table["win_rate"].mean() == pytest.approx(0.5)
    assert table["win_rate"].is_monotonic_decreasing
    assert table["elo"].mean() == pytest.approx(0.0, abs=1e-6)


def test_models_of_equal_strength_keep_their_order() -> None:
    table = leaderboard_table(["b", "a", "c"], Ranking(torch.zeros(3), torch.zeros(())), GRK)
    assert table["model"].tolist() == ["b", "a", "c"]
    assert table["win_rate"].tolist() == pytest.approx([0.5] * 3)


def test_one_model_alone_and_gradients_are_no_trouble() -> None:
    table = leaderboard_table(["a"], Ranking(torch.ones(1, requires_grad=True), None), BT)
    assert table[["rank", "coef", "elo", "win_rate"]].to_numpy().tolist() == [[1, 1, 0, 0]]
