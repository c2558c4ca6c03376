"""Intervals of a model with few votes: chance must not make them narrow, as one tie does, whose score is 0."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from p2l.data.battle_counts import BattleCounts
from p2l.data.count_battles import count_battles
from p2l.data.readers import blocked_table
from p2l.leaderboard import fit
from p2l.leaderboard.leaderboard_fit import LeaderboardFit
from p2l.outcomes import BT_TIE, GRK, RK, RK_REPARAM, OutcomeFamily
from p2l.types import Ranking
from tests.leaderboard.voting import draw_votes, frame, make_truth

EVEN = [("a", "b", winner) for winner in ("model_a", "model_b") for _ in range(2000)]


def soft(votes: pd.DataFrame) -> pd.DataFrame:
    columns = zip(("p_model_a", "p_model_b", "p_tie", "p_both_bad"), ("model_a", "model_b", "tie", "tie (bothbad)"))
    return votes.assign(**{column: (votes.winner == winner).astype(float) for column, winner in columns})


def counted(votes: pd.DataFrame, folder: Path) -> BattleCounts:
    votes.to_parquet(folder / "votes.parquet")
    counts = count_battles(blocked_table(str(folder / "votes.parquet")))[0]["all"]
    assert isinstance(counts, BattleCounts)
    return counts


@pytest.mark.parametrize("kind", ["hard", "weighted", "soft", "counted", "clusters", "covariates"])
@pytest.mark.parametrize("number", [1, 4])
def test_ties_by_hand(kind: str, number: int, tmp_path: Path) -> None:
    """n ties with an equal model, p = 1/2: the variance of the difference is 1 / (n p (1 - p)) = 4 / n.

    Two thirds of the difference are left above the mean of the three models, the others of which are known well.
    """
    votes = frame([*EVEN, *[("new", "b", "tie")] * number])
    options = {}
    if kind == "weighted":
        votes["weight"] = 3.0
    elif kind == "clusters":
        options["cluster"] = np.arange(len(votes))
    elif kind == "covariates":
        options["covariates"] = {"length": np.tile([1.0, -1.0], len(votes))[: len(votes)]}
    source = soft(votes) if kind == "soft" else counted(votes, tmp_path) if kind == "counted" else votes
    table = fit(source, "bt-tie", ridge=1e-9, **options).table().set_index("model")
    width = 2 * 1.96 * (2 / 3) * (4 / number) ** 0.5
    assert table.loc["new", "high"] - table.loc["new", "low"] == pytest.approx(width, rel=0.05)
    assert (table.loc["new", "rank_best"], table.loc["new", "rank_worst"]) == (1, 3)


def interval_of(found: LeaderboardFit, model: str, other: str) -> tuple[float, float]:
    """Return the difference of two models, and its standard error."""
    a, b = found.models.index(model), found.models.index(other)
    apart = np.zeros(len(found.covariance))
    apart[[a, b]] = 1, -1
    return float(found.ranking.coefs[a] - found.ranking.coefs[b]), float(apart @ found.covariance @ apart) ** 0.5


@pytest.mark.parametrize("family", [BT_TIE, RK, RK_REPARAM, GRK], ids=lambda family: family.name)
def test_a_model_of_three_votes_covers_the_truth(family: OutcomeFamily) -> None:
    rng = np.random.default_rng(0)
    truth = make_truth(family, 4)
    votes = draw_votes(family, truth, 3000, rng)
    pair = Ranking(truth.coefs[[1, 1]], truth.eta)
    covered = []
    for _ in range(40):
        new = draw_votes(family, pair, 3, rng)
        rows = pd.concat([_frame(votes, ["m0", "m1", "m2", "m3"]), _frame(new, ["m1", "new"])], ignore_index=True)
        apart, error = interval_of(fit(rows, family.name), "new", "m1")
        covered.append(abs(apart) <= 1.96 * error)
    assert np.mean(covered) > 0.9


def _frame(votes: object, names: list[str]) -> pd.DataFrame:
    winners = np.array(["model_a", "model_b", "tie", "tie (bothbad)"], dtype=object)
    of = np.array(names, dtype=object)
    return pd.DataFrame(
        {"model_a": of[votes.model_a], "model_b": of[votes.model_b], "winner": winners[votes.outcome_shares.argmax(1)]}
    )


@pytest.mark.parametrize("kind", ["hard", "weighted", "soft", "counted"])
@pytest.mark.parametrize("number", [20, 60])
def test_many_ties_leave_room_for_other_outcomes(kind: str, number: int, tmp_path: Path) -> None:
    """3 of n votes may be wins or losses: the variance of the difference is 3 (1/4) / (n/4)^2 = 12 / n^2."""
    votes = frame([*EVEN, *[("new", "b", "tie")] * number])
    if kind == "weighted":
        votes["weight"] = 3.0
    source = soft(votes) if kind == "soft" else counted(votes, tmp_path) if kind == "counted" else votes
    many = fit(source, "bt-tie", ridge=1e-9).table().set_index("model")
    width = 2 * 1.96 * (2 / 3) * 12**0.5 / number
    assert many.loc["new", "high"] - many.loc["new", "low"] == pytest.approx(width, rel=0.1)


def test_models_of_many_votes_keep_the_sandwich() -> None:
    """Half of the votes are ties, whose scores are 0: the variance is half of that without ties, 4 / n."""
    wins = [("new", "b", winner) for winner in ("model_a", "model_b") for _ in range(10)]
    many = fit(frame([*EVEN, *wins, *[("new", "b", "tie")] * 20]), "bt-tie", ridge=1e-9).table().set_index("model")
    width = 2 * 1.96 * (2 / 3) * (4 / 40 / 2) ** 0.5
    assert many.loc["new", "high"] - many.loc["new", "low"] == pytest.approx(width, rel=0.05)


def test_the_bootstrap_of_few_votes_has_a_note() -> None:
    votes = frame([*EVEN, ("new", "b", "tie"), ("other", "b", "model_a")])
    notes = fit(votes, "bt-tie", bootstrap=40).notes
    assert "fewer than 20 votes, so that resamples vary too little: new, other" in notes
    assert not any("fewer than 20 votes" in note for note in fit(votes, "bt-tie").notes)


def test_the_bootstrap_of_ties_alone_has_a_note() -> None:
    votes = frame([*EVEN, *[("new", "b", "tie")] * 15, *[("b", "new", "tie (bothbad)")] * 15])
    notes = fit(votes, "bt-tie", bootstrap=40).notes
    assert "no vote is won or lost, so that resamples do not vary: new" in notes
    assert fit(votes, "bt-tie").notes == ()
    assert [note for note in fit(votes, "bt", bootstrap=40).notes if "new" in note] == [
        "no vote with evidence under bt on new: left out of the leaderboard"
    ]


def test_weights_beyond_whole_numbers_are_no_counts() -> None:
    table = fit(frame([("a", "b", "model_a"), ("a", "b", "model_b")]).assign(weight=1e30), "bt").table()
    assert table["votes"].tolist() == pytest.approx([2e30, 2e30])


@pytest.mark.parametrize("weight", [1e-12, 1e-3])
def test_weights_below_the_ridge_are_said(weight: float) -> None:
    rows = [{"model_a": "x", "model_b": "y", "winner": "model_a", "weight": weight}] * 2
    found = fit(pd.DataFrame([*rows, {**rows[0], "winner": "model_b"}]), BT_TIE)
    assert "the votes of x, y weigh so little that the ridge of 0.001 outweighs them" in " ".join(found.notes)
    assert not found.identified.any() and not found.table()["identified"].any()
    heavier = pd.DataFrame([*rows, {**rows[0], "winner": "model_b"}]).assign(weight=1.0)
    light = fit(heavier.assign(weight=0.03), BT_TIE)
    assert "the ridge of 0.001 pulls the coefficients of x, y to 0, by about 4%" in " ".join(light.notes)
    assert light.identified.all()
    assert not fit(heavier, BT_TIE).notes and fit(heavier, BT_TIE).identified.all()
