"""Proper scores with intervals, compared to the marginal and to the best model."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from p2l.evaluation import ScoredVotes, UndefinedError, proper_metrics
from p2l.evaluation.proper_metrics import Baseline
from p2l.evaluation.simple_metrics import SIMPLE_METRICS
from p2l.outcomes import BT, FAMILIES, GRK
from p2l.types import Ranking

LOG3 = math.log(3)


def baseline(coefs, eta=None) -> Baseline:
    return Baseline(Ranking(torch.tensor(coefs, dtype=torch.float64), eta), "training votes")


def test_by_hand(make_votes) -> None:
    # ant wins on even prompts, bee on odd ones, as the rankings predict; each prompt has the same votes
    votes = make_votes([("ant", "bee", "model_a"), ("ant", "bee", "model_b")] * 10, [[LOG3, 0], [0, LOG3]] * 10)
    found = proper_metrics(ScoredVotes(votes, BT), baseline([0.1, 0.0]))
    same = lambda value: {name: pytest.approx(value) for name in ("value", "low", "high")}  # noqa: E731
    assert (found["votes"], found["prompts"]) == (20, 20)
    assert found["log_loss"] == same(math.log(4 / 3)) and found["accuracy"] == same(1)
    assert found["brier"] == same(2 / 16) and found["calibration_error"] == same(1 / 4)
    assert found["minus_marginal"]["log_loss"]["value"] == pytest.approx(
        math.log(4 / 3) - (0.6444 + 0.7444) / 2, abs=1e-4
    )
    best = found["minus_best_model"]
    assert (best["best_model"], best["routed"]["value"], best["best"]["value"]) == ("ant", 1, 0.5)
    assert best["difference"]["low"] < best["difference"]["value"] == 0.5 < best["difference"]["high"]


def test_a_tie_scores_half_and_both_bad_nothing(make_votes) -> None:
    votes = make_votes(
        [("ant", "bee", winner) for winner in ("tie", "tie (bothbad)", "model_a", "model_b")], [1.0, 0.0], 0.0
    )
    found = proper_metrics(ScoredVotes(votes, GRK), baseline([1.0, 0.0], torch.tensor(0.0)))["minus_best_model"]
    assert found["routed"]["value"] == found["best"]["value"] == pytest.approx(1.5 / 4)
    assert found["difference"] == {"value": 0, "low": 0, "high": 0}


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_intervals_hold_the_means_and_nothing_beats_itself(family, drawn_votes) -> None:
    votes = drawn_votes(family)
    one = Ranking(votes.rankings.coefs[0], None if votes.rankings.eta is None else votes.rankings.eta[0])
    scored = ScoredVotes(votes.predicted_by(one), family)
    found = proper_metrics(scored, Baseline(one, "itself"))
    assert found["log_loss"]["value"] == pytest.approx(SIMPLE_METRICS["Loss"](scored))
    assert found["accuracy"]["value"] == pytest.approx(SIMPLE_METRICS["Accuracy"](scored))
    for name in ("log_loss", "brier", "accuracy", "calibration_error"):
        assert found[name]["low"] <= found[name]["value"] <= found[name]["high"]
    for name in ("log_loss", "brier", "accuracy"):
        assert found["minus_marginal"][name] == {"value": 0, "low": 0, "high": 0}
    assert set(found["reliability"]) == set(family.outcomes)


def test_the_interval_of_a_mean_is_that_of_the_normal_law(make_votes) -> None:
    wins = np.random.default_rng(0).random(900) < 0.7
    votes = make_votes([("ant", "bee", "model_a" if won else "model_b") for won in wins], [1.0, 0.0])
    found = proper_metrics(ScoredVotes(votes, BT), None)["accuracy"]
    half_width = 1.96 * wins.std() / 30
    assert (found["high"] - found["low"]) / 2 == pytest.approx(half_width, rel=0.1)


def test_votes_that_repeat_their_prompts_are_less_certain(drawn_votes) -> None:
    votes = drawn_votes(GRK)
    apart = replace(votes, prompt_index=np.arange(len(votes)))
    together = replace(votes, prompt_index=votes.battles.model_a)
    widths = [
        found["high"] - found["low"]
        for found in (proper_metrics(ScoredVotes(v, GRK), None)["log_loss"] for v in (apart, together))
    ]
    assert widths[0] != widths[1]
    assert proper_metrics(ScoredVotes(together, GRK), None)["prompts"] == 5


def test_without_evidence_there_is_no_score_and_without_a_baseline_no_difference(make_votes) -> None:
    ties = make_votes([("ant", "bee", "tie")] * 2, [1.0, 0.0])
    with pytest.raises(UndefinedError, match="no vote carries evidence under bt"):
        proper_metrics(ScoredVotes(ties, BT), None)
    wins = make_votes([("ant", "bee", "model_a"), ("bee", "cat", "tie")], [1.0, 0.0, 2.0])
    found = proper_metrics(ScoredVotes(wins, BT), None)
    assert found["votes"] == 1 and not {"minus_marginal", "minus_best_model"} & found.keys()
    unmet = proper_metrics(ScoredVotes(wins.select(np.array([0])), BT), baseline([0.0, 0.0, 1.0]))
    assert "minus_marginal" in unmet and "minus_best_model" not in unmet
