"""Intervals on leaderboards: what they mean, and where they show."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from p2l.errors import ConfigError
from p2l.head_posterior import HeadPosterior
from p2l.outcomes import BT, FAMILIES, GRK, RK, OutcomeFamily
from p2l.ranking import ELO_POINTS_PER_NAT, Leaderboard, Leaderboards
from p2l.ranking.leaderboard_intervals import change_intervals, pair_intervals
from p2l.types import Ranking

MODELS = ("ant", "bee", "cow")


def posterior(num_outputs: int) -> HeadPosterior:
    """Two hidden units; outputs are independent, with a prior variance of 0.25, and information 2.5, 5, ... of it."""
    return HeadPosterior(
        centre=np.zeros(2),
        directions=np.eye(2),
        curvature=np.array([1.0, 0.1]),
        output_directions=np.eye(num_outputs) / 2,
        output_information=2.5 * np.arange(1, num_outputs + 1),
        level_covariance=np.diag(1 / (10.0 * np.arange(1, num_outputs + 1) + 1)),
        scale=1.0,
        residual=0.0,
        num_models=3,
    )


def leaderboard(state: tuple[float, float] = (0.0, 0.0), coefs: tuple[float, ...] = (2.0, 0.0, -2.0)) -> Leaderboard:
    ranking = Ranking(torch.tensor(coefs), torch.tensor(0.3), None, torch.tensor(state))
    return Leaderboard(MODELS, ranking, GRK, ("hi",), posterior=posterior(4))


def test_the_interval_of_a_coefficient_is_the_formula() -> None:
    table = leaderboard((1.0, 2.0)).table(level=0.9).set_index("model")
    variance = 1 / 21 + 0.25 * (1 / (1 + 5) + 4 / (1 + 0.1 * 5))  # of bee
    assert table.loc["bee", "high"] == pytest.approx(1.6448536 * variance**0.5)
    assert table.loc["bee", "low"] == pytest.approx(-1.6448536 * variance**0.5)
    assert (table["elo_low"] < table["elo"]).all() and (table["elo"] < table["elo_high"]).all()


def test_the_points_above_the_mean_share_the_mean() -> None:
    found = leaderboard().table().set_index("model")
    variances = 1 / (10 * np.arange(1, 4) + 1) + 0
    centred = (4 / 9) * variances[0] + (variances[1] + variances[2]) / 9
    half = 1.959964 * centred**0.5 * ELO_POINTS_PER_NAT
    assert found.loc["ant", "elo_high"] - found.loc["ant", "elo"] == pytest.approx(half, rel=1e-5)


def test_ranks_hold_for_all_models_at_once() -> None:
    sure = leaderboard().table()
    assert sure[["rank_best", "rank_worst"]].to_numpy().tolist() == [[1, 1], [2, 2], [3, 3]]
    far = leaderboard((30.0, 30.0)).table()  # far from the votes nothing is sure
    assert far[["rank_best", "rank_worst"]].to_numpy().tolist() == [[1, 3]] * 3
    # a difference of 2.1 standard errors is beyond 1.96, but not beyond what three pairs need at once (2.34)
    variance = 1 / 11 + 1 / 21
    near = leaderboard(coefs=(0.0, 2.1 * variance**0.5, -9.0)).table()
    assert near["rank_worst"].tolist() == [2, 2, 3]


def test_scale_and_residual_widen_all_intervals() -> None:
    board = leaderboard((1.0, 2.0))
    wider = replace(board, posterior=replace(board.posterior, scale=2.0, residual=3.0))
    before, after = (one.table()["high"] - one.table()["coef"] for one in (board, wider))
    np.testing.assert_allclose((after / 1.959964) ** 2, 2 * (before / 1.959964) ** 2 + 3.0 * 0.25, rtol=1e-6)


def test_a_prompt_far_from_the_votes_has_wider_intervals() -> None:
    near, far = (leaderboard((x, x)).table() for x in (0.5, 5.0))
    assert ((far["high"] - far["low"]) > 2 * (near["high"] - near["low"])).all()


def test_without_a_posterior_tables_are_as_before() -> None:
    plain = replace(leaderboard(), posterior=None)
    assert list(plain.table()) == ["rank", "model", "coef", "elo", "win_rate"]
    with pytest.raises(ConfigError, match="no posterior; p2l posterior adds one"):
        plain.predict_interval("ant", "bee")


def test_models_of_a_group_are_compared_within_it() -> None:
    grouped = replace(leaderboard(), groups={"one": ["ant", "cow"], "two": ["bee"]})
    table = grouped.table().set_index("model")
    assert table["group"].tolist() == ["one", "one", "two"]
    assert table.loc["bee", ["elo_low", "elo_high"]].tolist() == pytest.approx([0, 0], abs=1e-9)
    assert table.loc["bee", ["rank_best", "rank_worst"]].tolist() == [1, 1]


def test_probabilities_have_intervals_around_them() -> None:
    board = leaderboard((0.3, 0.3), (0.5, 0.0, -0.5))
    found, point = board.predict_interval("ant", "bee"), board.predict("ant", "bee")
    assert found.keys() == point.keys()
    for outcome, (low, high) in found.items():
        assert 0 <= low < point[outcome] < high <= 1
    narrow = board.predict_interval("ant", "bee", level=0.5)
    assert all(narrow[x][0] > found[x][0] and narrow[x][1] < found[x][1] for x in found)


def test_a_shift_invariant_family_needs_no_eta() -> None:
    ranking = Ranking(torch.tensor([1.0, 0.0, -1.0]), None, None, torch.zeros(2))
    board = Leaderboard(MODELS, ranking, BT, ("hi",), posterior=posterior(3))
    low, high = board.predict_interval("ant", "cow")["a wins"]
    deviation = (1 / 11 + 1 / 31) ** 0.5
    expected = [1 / (1 + np.exp(-(2 + sign * 1.96 * deviation))) for sign in (-1, 1)]
    assert [low, high] == pytest.approx(expected, abs=0.01)


def test_many_leaderboards_keep_intervals_and_draw_them() -> None:
    rankings = Ranking(torch.randn(3, 3), torch.zeros(3), None, torch.randn(3, 2))
    boards = Leaderboards(MODELS, rankings, GRK, (("a",), ("b",), ("c",)), posterior=posterior(4))
    assert {"elo_low", "rank_worst"} <= set(boards.table()) and "low" in boards[1:].table()
    one = boards[2].table().reset_index(drop=True)
    assert boards.table().query("prompt == 2").drop(columns="prompt").reset_index(drop=True).equals(one)
    empty = Leaderboards(MODELS, rankings.map(lambda x: x[:0]), GRK, (), posterior=posterior(4))
    assert list(empty.table()) == list(boards.table())
    boards.plot()


def test_the_posterior_follows_a_rescaled_head() -> None:
    board = leaderboard((0.4, 0.1))
    doubled = replace(
        board,
        posterior=board.posterior.rescaled(2.0, 1.0),
        ranking=board.ranking._replace(coefs=2 * board.ranking.coefs),
    )
    for name in ("low", "high", "elo_low", "elo_high"):
        np.testing.assert_allclose(doubled.table()[name], 2 * board.table()[name], rtol=1e-6)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
@pytest.mark.parametrize("spread", [0.3, 1.0, 60.0])
def test_intervals_of_probabilities_are_the_quantiles_of_draws(family: OutcomeFamily, spread: float) -> None:
    rng = np.random.default_rng(1)
    size = 4 + family.num_eta
    outputs, root = rng.normal(size=size), spread * rng.normal(size=(size, size)) / 2
    outputs[4:] += 22.5 if family is RK else 0
    pairs = np.array([[0, 1], [2, 3], [3, 0]])
    draws = (outputs + rng.standard_normal((100_000, size)) @ root.T).T
    with np.errstate(all="ignore"):
        probs = np.exp(family.log_probs(draws[pairs[:, 0]], draws[pairs[:, 1]], draws[4] if family.num_eta else None))
    found = pair_intervals(outputs, root @ root.T, family, pairs, 0.9)
    np.testing.assert_allclose(found, np.percentile(probs, [5, 95], axis=1), atol=0.03)
    wins = pair_intervals(outputs, root @ root.T, family, pairs, 0.9, num_outcomes=1)
    np.testing.assert_array_equal(wins, found[..., :1])


def test_what_two_prompts_share_cancels_in_the_change_between_them() -> None:
    boards = [leaderboard((1.0, 2.0)), leaderboard((1.0, 2.0), coefs=(0.0, 3.0, -1.0))]
    own, rankings = boards[0].posterior, (boards[0].ranking, boards[1].ranking)
    same = change_intervals(MODELS, rankings, own, 0.95)
    change = np.array([-2.0, 3.0, 1.0]) - 2 / 3
    np.testing.assert_allclose(same["change_low"], change * ELO_POINTS_PER_NAT)
    np.testing.assert_allclose(same["change_high"], change * ELO_POINTS_PER_NAT)
    # draws of the head's weights, whose two prompts are (1, 2) and (4, -1), with a residual of each prompt
    own = replace(own, residual=0.2)
    rng, states = np.random.default_rng(0), np.array([[1.0, 2.0], [4.0, -1.0]])
    deviation = np.sqrt(1 / (1 + own.curvature[:, None] * own.output_information))
    weights = rng.standard_normal((50_000, 2, 4)) * deviation
    errors = (states @ weights + np.sqrt(0.2) * rng.standard_normal((50_000, 2, 4))) @ own.output_directions.T
    drawn = np.cov((errors[:, 1] - errors[:, 0]).T)
    np.testing.assert_allclose(own.change_covariance(*states), drawn, atol=0.05)


def test_changes_within_groups() -> None:
    rankings = (leaderboard((1.0, 2.0)).ranking, leaderboard((0.0, 1.0), coefs=(5.0, 9.0, 9.0)).ranking)
    found = change_intervals(MODELS, rankings, posterior(4), 0.95, {"one": ["ant", "cow"]}).set_index("model")
    assert found.loc["bee"].tolist() == [0.0, 0.0]
    assert found.loc["ant", "change_low"] == pytest.approx(-found.loc["cow", "change_high"])
