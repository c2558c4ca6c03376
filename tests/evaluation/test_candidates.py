"""Candidates: rankings of prompts, or one leaderboard for all."""

import numpy as np
import pytest
import torch

from p2l.data.battle_table import BattleTable
from p2l.errors import ConfigError
from p2l.evaluation import UndefinedError
from p2l.evaluation.candidates import MODEL_TYPES, RIDGE, Leaderboards, make_candidate
from p2l.leaderboard import fit_votes
from p2l.options import check_choice
from p2l.outcomes import BT, FAMILIES
from p2l.types import Ranking


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_the_training_fit_is_read_at_the_models_of_the_votes(family, drawn_votes) -> None:
    votes = drawn_votes(family)
    battles = votes.battles
    longer = BattleTable(4 - battles.model_a + 1, 4 - battles.model_b + 1, battles.outcome_shares, battles.weight,
                         ("aaa", *battles.models[::-1]))  # fmt: skip
    boards = Leaderboards(votes, family, longer, "none")
    expected = fit_votes(battles, family, ridge=RIDGE)
    np.testing.assert_allclose(boards.of("marginal").coefs, expected.coefs, atol=1e-5)
    assert boards.baseline().fitted_to == "training votes"
    assert "favours" in Leaderboards(votes, family, None, "none").baseline().fitted_to


def test_arena_is_scored_on_votes_between_models_that_it_rates(drawn_votes) -> None:
    ratings = Ranking(torch.tensor([1.0, 0.5, torch.nan, 0.0, -1.0], dtype=torch.float64), None)
    candidate = make_candidate("arena", Leaderboards(drawn_votes(BT), BT, None, ratings))
    assert 0 < len(candidate.votes) < 240 and candidate.of_subsets is None
    assert not (candidate.votes.battles.model_a == 2).any()
    assert torch.isfinite(candidate.votes.log_probs(BT)).all()


def test_what_is_missing_is_named(drawn_votes) -> None:
    boards = Leaderboards(drawn_votes(BT), BT, None, "there are no Arena ratings; give arena_path")
    with pytest.raises(UndefinedError, match="give train_path"):
        make_candidate("marginal", boards)
    with pytest.raises(UndefinedError, match="give arena_path"):
        make_candidate("arena", boards)
    with pytest.raises(ConfigError, match=r"model_type must be one of p2l, marginal-gt, marginal, arena; got 'p3l'"):
        check_choice("model_type", "p3l", MODEL_TYPES)
