"""Leaderboards of groups: the projection, intervals that agree with a bootstrap, and differences of two."""

import numpy as np
import pytest
import torch

from p2l.insight.group_leaderboards import difference, group_leaderboard
from p2l.leaderboard import aggregate, aggregate_subsets
from p2l.outcomes import BT, FAMILIES, GRK
from p2l.types import Ranking
from tests.insight.rankings import MODELS, draw, every

families = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


def repeat(ranking: Ranking, times: int) -> Ranking:
    return Ranking(ranking.coefs.repeat(times, 1), None if ranking.eta is None else ranking.eta.repeat(times))


@families
def test_the_leaderboard_is_the_projection_of_the_group(family) -> None:
    rankings, rows = draw(family, 12), np.array([1, 4, 7, 8])
    board = group_leaderboard(MODELS, family, rankings, rows)
    part = Ranking(rankings.coefs[rows], None if rankings.eta is None else rankings.eta[rows])
    torch.testing.assert_close(board.ranking.coefs, aggregate(part, family).coefs)
    assert len(board) == 4
    np.testing.assert_array_equal(board.rows, rows)


@families
def test_influences_of_all_prompts_cancel_and_leave_the_mean_alone(family) -> None:
    rankings = draw(family, 15)
    influence = group_leaderboard(MODELS, family, rankings, every(rankings)).influence
    assert np.abs(influence).max() > 1e-3
    np.testing.assert_allclose(influence.sum(axis=0), 0, atol=2e-5)  # aggregate sums in float32
    np.testing.assert_allclose(influence.sum(axis=1), 0, atol=1e-9)


@families
def test_standard_errors_are_those_of_a_bootstrap_over_prompts(family) -> None:
    rankings = draw(family, 60)
    board = group_leaderboard(MODELS, family, rankings, every(rankings))
    rows = torch.randint(60, (600, 60), generator=torch.Generator().manual_seed(1))
    again = aggregate_subsets(rankings, family, rows).coefs
    bootstrap = (again - again.mean(1, keepdim=True)).std(0).numpy()
    np.testing.assert_allclose(np.sqrt((board.influence**2).sum(axis=0)), bootstrap, rtol=0.12)


def test_intervals_have_their_nominal_coverage() -> None:
    """The truth is the leaderboard of the 4,000 prompts that groups of 10 are drawn from."""
    rankings = draw(BT, 4000)
    truth = group_leaderboard(MODELS, BT, rankings, every(rankings)).elo
    rng, hits = np.random.default_rng(0), []
    for _ in range(150):
        board = group_leaderboard(MODELS, BT, rankings, rng.integers(4000, size=10))
        table = board.table(0.9).set_index("model").loc[list(MODELS)]
        hits.append((table["elo_low"] <= truth) & (truth <= table["elo_high"]))
    assert 0.86 <= np.mean(hits) <= 0.94  # of 600; three standard errors about 0.9, were they independent


def test_the_table_has_ranges_that_the_differences_allow() -> None:
    coefs = torch.tensor([[2.0, 0.1, -0.1, -2.0], [2.0, -0.1, 0.1, -2.0], [2.1, 0.1, -0.1, -2.1]])
    table = group_leaderboard(MODELS, BT, Ranking(coefs, None), np.arange(3)).table()
    assert table["model"].tolist() == ["alpha", "beta", "delta", "gamma"]
    assert table["rank"].tolist() == [1, 2, 3, 4]
    assert table["rank_best"].tolist() == [1, 2, 2, 4]
    assert table["rank_worst"].tolist() == [1, 3, 3, 4]
    assert (table["elo_low"] <= table["elo"]).all() and (table["elo"] <= table["elo_high"]).all()


@families
def test_equal_prompts_have_no_width_and_a_single_one_has_no_interval(family) -> None:
    one = draw(family, 1)
    same = group_leaderboard(MODELS, family, repeat(one, 5), np.arange(5))
    np.testing.assert_allclose(same.influence, 0, atol=1e-5)
    single = group_leaderboard(MODELS, family, one, np.arange(1))
    np.testing.assert_allclose(single.elo, same.elo, atol=1e-2)
    table = single.table()
    assert table[["elo_low", "elo_high"]].isna().all(axis=None)
    assert (table["rank_best"] == 1).all() and (table["rank_worst"] == 4).all()
    assert np.isnan(difference(single, same).p_value).all()


@families
def test_a_leaderboard_does_not_differ_from_itself_and_differences_are_mirrored(family) -> None:
    rankings = draw(family, 30)
    board, part = (group_leaderboard(MODELS, family, rankings, rows) for rows in (every(rankings), np.arange(12)))
    none = difference(board, board)
    np.testing.assert_allclose([none.value, none.low, none.high], 0, atol=1e-6)
    there, back = difference(part, board), difference(board, part)
    np.testing.assert_allclose(there.value / board.spread, -back.value / part.spread, atol=1e-9)
    np.testing.assert_allclose(there.p_value, back.p_value, atol=1e-9)


def test_a_wider_spread_is_no_difference() -> None:
    coefs = torch.tensor([[1.0, 0.5, -0.3, -1.2]])
    narrow, wide = (group_leaderboard(MODELS, BT, repeat(Ranking(coefs * by, None), 4), np.arange(4)) for by in (1, 2))
    assert wide.spread == pytest.approx(2 * narrow.spread, rel=1e-6)
    np.testing.assert_allclose(difference(wide, narrow).value, 0, atol=1e-3)


def test_the_same_prompts_tell_more_than_other_ones() -> None:
    rankings = draw(GRK, 40)
    before = group_leaderboard(MODELS, GRK, rankings, every(rankings))
    after = group_leaderboard(
        MODELS, GRK, rankings._replace(coefs=rankings.coefs + torch.tensor([0.2, 0, 0, 0])), every(rankings)
    )
    paired, apart = difference(after, before), difference(after, before, same_table=False)
    np.testing.assert_allclose(paired.value, apart.value)
    assert paired.value[0] > 0 and (paired.high - paired.low < (apart.high - apart.low) / 3).all()


def test_the_difference_of_standing_has_the_error_of_a_bootstrap() -> None:
    rankings, group = draw(BT, 80), 30
    board, part = (group_leaderboard(MODELS, BT, rankings, rows) for rows in (every(rankings), np.arange(group)))
    rng = torch.Generator().manual_seed(0)
    inside = torch.randint(group, (500, group), generator=rng)
    outside = group + torch.randint(80 - group, (500, 80 - group), generator=rng)
    of_part = aggregate_subsets(rankings, BT, inside).coefs
    of_all = aggregate_subsets(rankings, BT, torch.cat((inside, outside), dim=1)).coefs
    standing = [c / c.std(1, correction=0, keepdim=True) for c in (of_part, of_all)]
    bootstrap = ((standing[0] - standing[1]) * board.spread).std(0).numpy()
    apart = difference(part, board, level=0.95)
    np.testing.assert_allclose((apart.high - apart.low) / 2 / 2.045, bootstrap, rtol=0.2)  # t(29) at 0.975
