"""The error of the P2L model beside that of the choice of prompts: each alone, both together, and where it is said."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from p2l.head_posterior import HeadPosterior
from p2l.insight.analysis import Questions, analyse
from p2l.insight.group_leaderboards import GroupLeaderboard, difference, group_leaderboard
from p2l.insight.html_report import MODEL_ERROR, WITH_MODEL_ERROR, render
from p2l.insight.ranked_prompts import Columns, RankedPrompts, align, rank_table
from p2l.insight.regression import compare_versions
from p2l.leaderboard import aggregate
from p2l.models import Checkpoint
from p2l.outcomes import BT, FAMILIES, GRK, OutcomeFamily
from p2l.ranking import ELO_POINTS_PER_NAT, Leaderboard
from p2l.types import Ranking
from tests.insight.rankings import MODELS, draw, every
from tests.models.test_posterior_file import with_posterior

families = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


def posterior(family: OutcomeFamily, level: float = 0.01, weights: float = 0.3, residual: float = 0.0) -> HeadPosterior:
    """Three features with a variance of ``weights``^2 / 2, if the curvature is 1, for each output."""
    size = len(MODELS) + family.num_eta
    keep = np.eye(size)
    keep[: len(MODELS), : len(MODELS)] -= 1 / len(MODELS) if family.shift_invariant else 0
    return HeadPosterior(
        centre=np.zeros(3),
        directions=np.eye(3),
        curvature=np.ones(3),
        output_directions=weights * keep,
        output_information=np.ones(size),
        level_covariance=level * keep,
        scale=1.0,
        residual=residual,
        num_models=len(MODELS),
    )


def with_states(rankings: Ranking, seed: int = 0) -> Ranking:
    states = torch.randn(len(rankings.coefs), 3, generator=torch.Generator().manual_seed(seed)) + 0.5
    return rankings._replace(states=states)


def board_of(family: OutcomeFamily, rankings: Ranking, found: HeadPosterior | None, alike: bool) -> GroupLeaderboard:
    return group_leaderboard(MODELS, family, rankings, every(rankings), found, alike=alike)


@families
def test_the_leaderboard_moves_as_its_prompts_do(family: OutcomeFamily) -> None:
    rankings, step = with_states(draw(family, 20, spread=1.5)), 1e-3
    direction = torch.tensor([0.7, -0.2, 0.4, 0.1, -0.9][: 4 + family.num_eta])
    known = replace(posterior(family, weights=0.0), level_covariance=np.outer(direction, direction).astype(np.float64))
    moved = rankings._replace(
        coefs=rankings.coefs + step * direction[:4],
        eta=None if rankings.eta is None else rankings.eta + step * direction[4],
    )
    before, after = (aggregate(one.map(lambda x: x.double()), family).coefs.numpy() for one in (rankings, moved))
    change = (after - before) / step
    expected = np.abs(change - change.mean()) * ELO_POINTS_PER_NAT
    table = board_of(family, rankings, known, alike=False).table().set_index("model").loc[list(MODELS)]
    np.testing.assert_allclose(table["error_model"], expected, rtol=0.02, atol=0.5)


@families
@pytest.mark.parametrize("alike", [True, False])
def test_a_sure_model_leaves_the_choice_of_prompts(family: OutcomeFamily, alike: bool) -> None:
    rankings = with_states(draw(family, 12))
    plain = board_of(family, rankings, None, alike=alike).table(0.9)
    sure = board_of(family, rankings, posterior(family, 0.0, 0.0), alike=alike).table(0.9)
    pd.testing.assert_frame_equal(sure[list(plain)], plain)
    assert (sure["error_model"] == 0).all() and "error_model" not in plain
    of_prompts = np.sqrt((board_of(family, rankings, None, alike=alike).influence ** 2).sum(0) * 12 / 11)
    np.testing.assert_allclose(
        sure.set_index("model").loc[list(MODELS), "error_prompts"], of_prompts * ELO_POINTS_PER_NAT
    )


@families
def test_equal_prompts_leave_the_interval_of_each(family: OutcomeFamily) -> None:
    one = with_states(draw(family, 1))
    same, known = one.map(lambda x: x.repeat(6, *(1 for _ in x.shape[1:]))), posterior(family, residual=0.4)
    single = Leaderboard(MODELS, one.map(lambda x: x[0]), family, posterior=known).table()
    table = board_of(family, same, known, alike=True).table()
    for name in ("elo_low", "elo_high"):
        np.testing.assert_allclose(table[name], single[name], atol=0.5)
    apart = board_of(family, same, replace(known, residual=0.0), alike=False).table()
    assert (apart["error_model"] < table["error_model"]).all()


def test_intervals_hold_the_leaderboard_of_all_prompts_if_both_errors_matter() -> None:
    """Heads are drawn from the posterior, prompts from a population; each part alone holds too little."""
    rng, hits, parts = np.random.default_rng(0), [], []
    known, fitted = posterior(BT, 0.02, 0.25), rng.normal(size=(4, 3)) / 2
    mean, spread = np.array([0.7, -0.4, 0.2]), np.array([[1.0, 0.3, 0.0], [0.0, 0.8, 0.2], [0.0, 0.0, 1.2]])

    def ranking(weight: np.ndarray, level: np.ndarray, states: np.ndarray) -> Ranking:
        return Ranking(torch.from_numpy(states @ weight.T + level), None, None, torch.from_numpy(states))

    for _ in range(150):
        error = known.output_directions @ rng.standard_normal((4, 3)) / np.sqrt(2)
        level = rng.multivariate_normal(np.zeros(4), known.level_covariance, method="eigh")
        population, drawn = (mean + rng.standard_normal((number, 3)) @ spread for number in (2_000, 12))
        base = np.array([0.6, 0.2, -0.2, -0.6])
        true = ranking(fitted + error, base + level, population)
        truth = board_of(BT, true, None, alike=False).elo
        table = board_of(BT, ranking(fitted, base, drawn), known, alike=False).table().set_index("model")
        table = table.loc[list(MODELS)]
        hits.append((table["elo_low"] <= truth) & (truth <= table["elo_high"]))
        alone = [np.abs(table["elo"] - truth) < 1.96 * table[name] for name in ("error_prompts", "error_model")]
        parts.append(np.mean(alone, axis=1))
    assert 0.92 <= np.mean(hits) <= 0.98
    assert (np.mean(parts, axis=0) < 0.88).all()


def test_the_error_of_the_mean_leaderboard_cancels_between_groups() -> None:
    rankings = with_states(draw(GRK, 40, spread=0.1))
    level = posterior(GRK, level=0.2, weights=0.0)

    def half_width(known: HeadPosterior | None, own: HeadPosterior | None) -> float:
        boards = [
            group_leaderboard(MODELS, GRK, rankings, rows, one, alike=alike)
            for rows, one, alike in ((np.arange(10), known, True), (np.arange(40), own, False))
        ]
        found = difference(*boards)
        return float((found.high - found.low).mean())

    plain = half_width(None, None)
    assert half_width(level, level) < 1.2 * plain
    assert half_width(level, None) == half_width(None, level) == plain  # said by ``HOLDS_MODEL_ERROR``
    assert half_width(*[posterior(GRK, level=0.0, weights=0.3)] * 2) > 2 * plain


def ranked(num_prompts: int, known: HeadPosterior | None, seed: int = 0) -> RankedPrompts:
    rankings = with_states(draw(GRK, num_prompts, seed=seed), seed)
    labels = {"topic": [(("code", "verse")[i % 2],) for i in range(num_prompts)]}
    return RankedPrompts(
        tuple((f"p {seed} {i}",) for i in range(num_prompts)), rankings, MODELS, GRK, labels, posterior=known
    )


def test_a_regression_test_knows_the_error_of_the_model() -> None:
    table, direction = ranked(30, None), np.array([1.0, -1.0, 0.0, 0.0, 0.0])
    known = replace(posterior(GRK, weights=0.0), level_covariance=1e-4 * np.outer(direction, direction))
    step = 0.01 * torch.from_numpy(direction)[:4].float()
    moved = replace(table, rankings=table.rankings._replace(coefs=table.rankings.coefs + step))
    plain, shifted, sure = (
        compare_versions(one, [], old="beta", new="alpha").table.iloc[0]
        for one in (table, moved, replace(table, posterior=known))
    )
    half, wider = plain["score"] - plain["low"], sure["score"] - sure["low"]
    assert np.sqrt(wider**2 - half**2) == pytest.approx(1.96 * (shifted["score"] - plain["score"]), rel=0.02)


def test_the_report_says_what_its_intervals_hold() -> None:
    known = posterior(GRK)
    questions = Questions(old="beta", new="alpha", focus="alpha", min_prompts=2)
    before = align(replace(ranked(20, known)), ranked(20, known))
    cases = [(known, known, 4, 1), (None, None, 0, 5), (known, None, 3, 2)]
    for own, of_reference, holding, without in cases:
        reference = ranked(20, of_reference, seed=1)
        insight = analyse(ranked(20, own), questions, reference=reference, before=before)
        page = render(insight, "x")
        assert (page.count(WITH_MODEL_ERROR), page.count(MODEL_ERROR)) == (holding, without)
        assert ("by the model." in page) == (own is not None)
        assert ("include the error of the P2L model's head" in page.replace("&#x27;", "'")) == (own is not None)


def test_prompts_that_a_checkpoint_ranks_bring_its_posterior(tiny_checkpoint: Checkpoint) -> None:
    frame = pd.DataFrame({"prompt": [f"prompt {i} " * (i + 1) for i in range(8)]})
    assert rank_table(frame, tiny_checkpoint, Columns()).posterior is None
    table = rank_table(frame, with_posterior(tiny_checkpoint), Columns())
    found = analyse(table, Questions(min_prompts=2)).overall.table()
    assert (found["error_model"] > 0).all() and (found["error_prompts"] > 0).all()
