"""What votes do not determine is noted, and intervals do not shrink for want of clusters."""

import logging
import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from p2l.errors import ConfigError, DataError
from p2l.leaderboard import fit
from p2l.leaderboard.cross_validation import cross_validate
from p2l.leaderboard.fit_leaderboard import check_fit_options
from p2l.leaderboard.vote_clusters import vote_clusters
from p2l.options import check_count, check_level, check_share
from p2l.outcomes import BT
from tests.leaderboard.voting import draw_votes, frame, make_truth

BOTH_WAYS = [("ant", "bee", "model_a"), ("ant", "bee", "model_b")]


def said(votes: list[tuple[str, str, str]], family: str) -> str:
    return "; ".join(fit(frame(votes), family).notes)


@pytest.mark.parametrize("gap", [None, np.nan, "", "  ", "nan"])
def test_votes_without_a_cluster_are_refused(gap: object) -> None:
    votes = frame(BOTH_WAYS * 20)
    users = [gap if i % 4 == 0 else f"user {i}" for i in range(40)]
    for cluster, name in ((users, "cluster"), ("user", "user")):
        with pytest.raises(DataError, match=f"{name} is missing in 10 of 40 votes, first in vote 0, 4, 8"):
            fit(votes.assign(user=users), "bt", cluster=cluster)


def test_one_cluster_in_all_is_refused_and_few_are_noted() -> None:
    votes = frame(BOTH_WAYS * 20)
    with pytest.raises(DataError, match="all 40 votes have the same session, 's0'"):
        fit(votes.assign(session="s0"), "bt", cluster="session", bootstrap=50)
    few = fit(votes, "bt", cluster=np.arange(40) % 3)
    assert "only 3 clusters" in few.notes[0]
    assert fit(votes, "bt", cluster=np.arange(40)).notes == ()


@pytest.mark.parametrize("family", ["grk", "ba", "rk", "rk-reparam"])
def test_ties_alone_identify_no_strength(family: str) -> None:
    found = fit(frame([("ant", "bee", "tie")] * 9 + [("bee", "cat", "tie")] * 3), family)
    assert not found.identified.any() and not found.table()["identified"].any()
    notes = "; ".join(found.notes)
    assert "do not identify the strength of ant, bee, cat" in notes and "eta is not identified" in notes


def test_ties_and_wins_of_one_side_fit_any_margin() -> None:
    found = fit(frame([("ant", "bee", "model_a")] * 5 + [("ant", "bee", "tie")] * 3), "rk")
    assert not found.identified.any() and any("eta is not identified" in note for note in found.notes)
    circle = [("ant", "bee", "model_a"), ("bee", "cat", "model_a"), ("cat", "ant", "model_a"), ("ant", "bee", "tie")]
    assert fit(frame(circle), "rk").notes == ()


def test_every_model_without_a_win_or_a_loss_is_named() -> None:
    notes = said([("ant", "bee", "model_a")] * 3 + [("ant", "cat", "model_a")] * 3, "bt")
    assert "ridge bounds them: ant, bee, cat" in notes
    assert "without a loss: ant" in notes and "without a win: bee, cat" in notes
    apart = [*BOTH_WAYS * 2, ("cat", "dog", "model_a")]
    assert "ridge bounds them: cat, dog" in said(apart, "bt")  # of a smaller part too
    grounded = [*BOTH_WAYS * 2, ("ant", "bee", "tie"), ("ant", "bee", "tie (bothbad)"), ("cat", "ant", "model_a")]
    assert "do not bound the strength of cat" in said(grounded, "grk")
    assert said(grounded[:-1], "grk") == ""


def test_the_level_of_a_grounded_family_needs_both_bad() -> None:
    found = fit(frame([*BOTH_WAYS * 5, ("ant", "bee", "tie")]), "grk")
    assert found.identified.all() and "level of the coefficients is not identified" in found.notes[0]


@pytest.mark.parametrize("weight", [50, 30_000])
def test_without_ties_the_margin_lies_on_its_bound(weight: int, caplog: pytest.LogCaptureFixture) -> None:
    """At the least margin m, P(win) = sigmoid(d - m): 3 wins to 1 give a difference a little above log 3."""
    votes = frame([("ant", "bee", "model_a")] * 3 + [("ant", "bee", "model_b")]).assign(weight=weight)
    with caplog.at_level(logging.WARNING, "p2l"):
        found = fit(votes, "rk")
    assert found.converged and not caplog.records
    assert float(found.ranking.coefs[0] - found.ranking.coefs[1]) == pytest.approx(math.log(3), rel=0.05)
    assert any("no vote is a tie" in note or "lies on its lower bound" in note for note in found.notes)
    assert not any("did not converge" in note for note in found.notes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ridge": -1}, "ridge must be a finite number of at least 0; got -1"),
        ({"ridge": math.nan}, "ridge"),
        ({"bootstrap": -3}, "bootstrap must be a whole number, at least 2"),
        ({"bootstrap": 1}, "bootstrap"),
        ({"seed": -1}, "seed"),
    ],
)
def test_options_of_a_fit_are_checked(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fit(frame(BOTH_WAYS), "bt", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("level", [95, 0, 1, -0.5, math.nan])
def test_levels_are_checked(level: float) -> None:
    found = fit(frame(BOTH_WAYS), "bt")
    for table in (found.table, found.effect_table):
        with pytest.raises(ConfigError, match="level must lie between 0 and 1"):
            table(level)
    with pytest.raises(ConfigError, match=r"did you mean 0\.95"):
        found.table(95)


@pytest.mark.parametrize("folds", [0, 1, 31])
def test_folds_are_checked(folds: int) -> None:
    votes = draw_votes(BT, make_truth(BT, 3), 30, np.random.default_rng(0))
    with pytest.raises(ConfigError, match="folds must be a whole number, from 2 to 30"):
        cross_validate(votes, [BT], folds=folds)


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda: check_fit_options(1e-3, "foo", 0, 0), "pair_weights must be one of votes, uniform; got 'foo'"),
        (lambda: check_count("bootstrap", 2.5, least=2), "bootstrap must be a whole number, at least 2; got 2.5"),
        (lambda: check_level("0.9"), "level must lie between 0 and 1"),
        (lambda: check_level(True), "level must lie between 0 and 1"),
        (lambda: check_share("share", 1.5), "share must be a share from 0 to 1; got 1.5"),
    ],
)
def test_other_types_are_refused(check: Callable[[], None], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check()


def test_rows_left_out_do_not_count_as_gaps() -> None:
    votes = pd.concat([frame(BOTH_WAYS * 20), frame([("ant", "ant", "tie")])], ignore_index=True)
    assert len(fit(votes.assign(user=[*range(40), None]), "bt", cluster="user").table()) == 2


def test_spaces_around_cluster_ids_do_not_count() -> None:
    ids = np.array(["a", "a ", "\u00a0b", "b", 3], dtype=object)
    assert vote_clusters(ids, "user").codes.tolist() == [0, 0, 1, 1, 2]
