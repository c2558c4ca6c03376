import json
from pathlib import Path

import pytest

from p2l.errors import ConfigError, DataError
from p2l.leaderboard import LeaderboardFit, fit
from p2l.types import OUTCOMES
from tests.leaderboard.voting import frame

A, B, TIE, BAD = (outcome.value for outcome in OUTCOMES)
VOTES = [("ant", "bee", A)] * 3 + [("ant", "bee", B)] + [("bee", "cow", A)] * 2 + [("bee", "cow", B)]


@pytest.fixture
def found() -> LeaderboardFit:
    return fit(frame(VOTES), "bt")


def test_the_outcomes_of_a_pair_are_its_shares_on_a_tree(found: LeaderboardFit) -> None:
    assert found.predict("ant", "bee") == pytest.approx({"a wins": 3 / 4, "b wins": 1 / 4}, abs=1e-3)
    assert found.predict("cow", "bee")["a wins"] == pytest.approx(1 / 3, abs=1e-3)


def test_it_is_shown_in_one_line_in_text_and_in_a_notebook(found: LeaderboardFit) -> None:
    assert repr(found).startswith("LeaderboardFit(3 models, bt, 7 votes: 1 ant +") and len(repr(found)) < 120
    assert str(found).count("\n") == 3
    assert "<table" in found._repr_html_() and "7 votes, bt, log loss" in found._repr_html_()


def test_notes_are_shown() -> None:
    found = fit(frame([("ant", "<b>", A), ("<b>", "ant", A), ("cow", "dog", A), ("dog", "cow", A)]), "bt")
    assert "; 1 notes" in repr(found)
    assert "Note: the votes" in str(found) and "Note: " in found._repr_html_()
    assert "<b>" not in found._repr_html_()


def test_it_is_saved_as_table_and_picture(found: LeaderboardFit, tmp_path: Path) -> None:
    rows = json.loads(found.save(tmp_path / "fit.json").read_text())
    assert [row["model"] for row in rows] == ["ant", "bee", "cow"] and "rank_best" in rows[0]
    assert found.save(tmp_path / "fit.png").stat().st_size > 1000
    assert "votes of a week" in found.plot(title="votes of a week").axes[0].get_title()


def test_models_that_no_votes_connect_are_not_compared() -> None:
    found = fit(
        frame([("ant", "bee", A), ("bee", "ant", A), ("cow", "dog", A), ("dog", "cow", A), ("elk", "ant", TIE)]), "bt"
    )
    with pytest.raises(DataError, match="no chain of votes connects ant and cow"):
        found.predict("ant", "cow")
    with pytest.raises(DataError, match="no votes with evidence under bt on elk"):
        found.predict("ant", "elk")
    with pytest.raises(ConfigError, match="did you mean 'ant'"):
        found.predict("ants", "cow")
