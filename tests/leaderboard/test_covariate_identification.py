"""Effects of covariates that the votes do not determine: noted, and without a value."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from p2l.commands.leaderboard import LeaderboardJob
from p2l.errors import DataError
from p2l.leaderboard import fit
from p2l.leaderboard.leaderboard_fit import LeaderboardFit

NUM_VOTES = 400
RNG = np.random.default_rng(3)
A = RNG.integers(4, size=NUM_VOTES)
B = (A + RNG.integers(1, 4, size=NUM_VOTES)) % 4
NAMES = np.array(["ant", "bee", "cat", "dog"])
LENGTH = RNG.normal(size=NUM_VOTES)
WON = RNG.random(NUM_VOTES) < 1 / (1 + np.exp(-(A - B) / 2 - LENGTH / 2))
VOTES = pd.DataFrame({"model_a": NAMES[A], "model_b": NAMES[B], "winner": np.where(WON, "model_a", "model_b")})


def fitted(family: str = "bt", **columns: np.ndarray) -> LeaderboardFit:
    return fit(VOTES, family, covariates={"length": LENGTH, **columns})


def unknown(found: LeaderboardFit) -> list[str]:
    """The covariates without an effect; its interval has no ends either."""
    table = found.effect_table().set_index("covariate")
    assert (table["effect"].isna() == table["low"].isna()).all() and (table["low"].isna() == table["high"].isna()).all()
    return [name for name, effect in found.effects.items() if math.isnan(effect)]


@pytest.mark.parametrize("family", ["bt", "bt-tie", "rk", "grk"])
def test_a_column_of_zeros_has_no_effect(family: str) -> None:
    found = fitted(family, bold=np.zeros(NUM_VOTES))
    assert unknown(found) == ["bold"] and found.identified.all()
    assert any("no effect to estimate: bold" in note for note in found.notes)
    assert found.effects["length"] == pytest.approx(fitted(family).effects["length"], abs=1e-6)


COLLINEAR = {
    "twice": {"double": 2 * LENGTH},
    "of another size": {"tokens": -1e6 * LENGTH},
    "a sum": {"x": np.cos(np.arange(NUM_VOTES)), "sum": LENGTH * 3 - np.cos(np.arange(NUM_VOTES))},
}


@pytest.mark.parametrize("kind", COLLINEAR)
def test_collinear_columns_have_no_effects(kind: str) -> None:
    found = fitted(**COLLINEAR[kind], own=np.arange(NUM_VOTES) % 7.0)
    assert unknown(found) == ["length", *COLLINEAR[kind]] and math.isfinite(found.effects["own"])
    assert any("not identified: length, " in note for note in found.notes)
    assert np.isfinite(found.table()[["low", "high"]].to_numpy()).all() and found.identified.all()
    np.testing.assert_allclose(found.ranking.coefs, fitted(own=np.arange(NUM_VOTES) % 7.0).ranking.coefs, atol=0.01)


def test_a_column_that_is_a_model_replaces_its_strength() -> None:
    found = fitted(is_bee=(A == 1) * 1.0 - (B == 1) * 1.0)
    assert unknown(found) == ["is_bee"]
    assert [name for name, known in zip(found.models, found.identified) if not known] == ["bee"]
    assert any("replaces the strength of bee" in note for note in found.notes)


@pytest.mark.parametrize("column", [np.ones(NUM_VOTES), LENGTH + 0.1 * RNG.normal(size=NUM_VOTES)])
def test_a_constant_is_the_effect_of_the_side_and_a_near_copy_has_one_of_its_own(column: np.ndarray) -> None:
    found = fitted(column=column)
    assert unknown(found) == [] and found.notes == ()


@pytest.mark.parametrize("votes", [VOTES, VOTES[(A < 2) == (B < 2)]])
def test_without_a_ridge_what_the_votes_leave_free_is_an_error(votes: pd.DataFrame) -> None:
    covariates = {"bold": np.zeros(NUM_VOTES)} if votes is VOTES else {}
    with pytest.raises(DataError, match="ridge=0 leaves them without a value; give a ridge above 0"):
        fit(votes, "bt", covariates=covariates, ridge=0.0)


def test_more_covariates_than_votes() -> None:
    many = {f"x{i}": RNG.normal(size=4) for i in range(6)}
    found = fit(VOTES.head(4), "bt", covariates=many)
    assert set(unknown(found)) == set(many)


@pytest.mark.parametrize(("name", "column"), [("score", np.where(WON, 3.0, -1.0)), ("share", 1e-4 * LENGTH)])
def test_an_effect_that_the_ridge_bounds_has_a_note(name: str, column: np.ndarray) -> None:
    found = fit(VOTES, "bt", covariates={name: column})
    assert any(f"the ridge alone bounds the effect of {name}" in note for note in found.notes)


def test_zero_votes_of_evidence_do_not_count() -> None:
    bold = np.where(VOTES.index == 0, 1.0, 0.0)
    weight = np.where(VOTES.index == 0, 0.0, 1.0)
    assert unknown(fit(VOTES.assign(weight=weight), "bt", covariates={"bold": bold})) == ["bold"]


def test_the_command_prints_and_writes_no_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    VOTES.assign(length=LENGTH, double=LENGTH * 2, own=A * 1.0).to_csv(tmp_path / "votes.csv", index=False)
    covariates = ["length", "double", "own"]
    LeaderboardJob(str(tmp_path / "votes.csv"), "bt", str(tmp_path), covariates=covariates).run()
    assert "length: not identified" in capsys.readouterr().out
    written = json.loads((tmp_path / "leaderboards.json").read_text(), parse_constant=pytest.fail)
    effects = {row["covariate"]: row["effect"] for row in written["categories"]["all"]["effects"]}
    assert effects["length"] is None and effects["double"] is None and isinstance(effects["own"], float)
