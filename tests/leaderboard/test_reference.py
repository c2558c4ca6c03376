"""Models that the ridge alone bounds do not move the points, intervals and win rates of the others."""

import numpy as np
import pandas as pd
import pytest

from p2l.leaderboard import fit
from p2l.leaderboard.leaderboard_fit import LeaderboardFit
from p2l.outcomes import BT, BT_TIE, GRK, RK, OutcomeFamily
from p2l.types import OUTCOMES
from tests.leaderboard.voting import draw_votes, frame, make_truth

COLUMNS = ["elo", "elo_low", "elo_high", "win_rate"]
ROOKIES = {
    "wins": [("new", "m0", "model_a"), ("new", "m3", "model_a"), ("m2", "newer", "model_b")],
    "loses": [("new", "m0", "model_b"), ("m1", "newer", "model_a")],
    "of one another": [("new", "m4", "model_a"), ("newer", "new", "model_a"), ("newest", "newer", "model_a")],
}


def veterans(family: OutcomeFamily, num_votes: int = 3000) -> pd.DataFrame:
    votes = draw_votes(family, make_truth(family), num_votes, np.random.default_rng(1))
    names = np.array([f"m{i}" for i in range(6)], dtype=object)
    winners = np.array([outcome.value for outcome in OUTCOMES], dtype=object)
    sides = {"model_a": names[votes.model_a], "model_b": names[votes.model_b]}
    return pd.DataFrame({**sides, "winner": winners[votes.outcome_shares.argmax(1)]})


def of_veterans(found: LeaderboardFit, columns: list[str]) -> np.ndarray:
    table = found.table().set_index("model")
    return table.loc[[f"m{i}" for i in range(6)], columns].to_numpy()


@pytest.mark.parametrize("rookies", ROOKIES.values(), ids=ROOKIES)
@pytest.mark.parametrize("family", [BT, BT_TIE, RK, GRK], ids=lambda family: family.name)
def test_models_without_a_loss_or_a_win_move_nobody(family: OutcomeFamily, rookies: list[tuple[str, str, str]]) -> None:
    votes = veterans(family)
    alone, joined = fit(votes, family), fit(pd.concat([votes, frame(rookies)], ignore_index=True), family)
    columns = [*COLUMNS, *(["coef", "low", "high"] if family.shift_invariant else [])]
    np.testing.assert_allclose(of_veterans(joined, columns), of_veterans(alone, columns), rtol=0.01, atol=0.3)
    np.testing.assert_allclose(of_veterans(joined, ["win_rate"]), of_veterans(alone, ["win_rate"]), atol=1e-3)
    assert any("relative to the 6 of " in note for note in joined.notes) and not alone.notes
    new = joined.table().set_index("model").loc["new"]
    assert new["elo_high"] - new["elo_low"] > 1000 and not new["identified"]


def test_resamples_have_the_same_reference() -> None:
    votes = veterans(BT, 1000)
    rookies = frame(ROOKIES["wins"])
    alone, joined = (fit(v, "bt", bootstrap=60) for v in (votes, pd.concat([votes, rookies], ignore_index=True)))
    widths = [np.diff(of_veterans(found, ["elo_low", "elo_high"])) for found in (alone, joined)]
    np.testing.assert_allclose(widths[1], widths[0], rtol=0.5)


def test_a_part_apart_keeps_its_own_reference() -> None:
    apart = [("x", "y", "model_a"), ("x", "y", "model_b"), ("z", "x", "model_a")]
    coefs = fit(pd.concat([veterans(BT), frame(apart)], ignore_index=True), "bt").table().set_index("model")["coef"]
    assert coefs[["x", "y"]].sum() == pytest.approx(0, abs=1e-9) and coefs["z"] > 1
    assert coefs[[f"m{i}" for i in range(6)]].sum() == pytest.approx(0, abs=1e-9)


def test_points_are_above_the_mean_of_all_if_none_is_bounded() -> None:
    found = fit(frame([("ant", "bee", "model_a")] * 3 + [("ant", "cat", "model_a")] * 3), "bt")
    assert found.table()["elo"].sum() == pytest.approx(0, abs=1e-6)
    assert not any("relative to" in note for note in found.notes)


def test_the_win_rate_is_that_against_bounded_models(caplog: pytest.LogCaptureFixture) -> None:
    votes = frame([("ant", "bee", "model_a")] * 3 + [("ant", "bee", "model_b"), ("new", "ant", "model_a")])
    found = fit(votes, "bt")
    table = found.table().set_index("model")
    assert table.loc["ant", "win_rate"] == pytest.approx(found.predict("ant", "bee")["a wins"])
    assert "do not bound" not in caplog.text
    of_new = np.mean([found.predict("new", name)["a wins"] for name in ("ant", "bee")])
    assert "the votes do not bound the strength of new: the probabilities rest on the ridge" in caplog.text
    assert table.loc["new", "win_rate"] == pytest.approx(of_new)
