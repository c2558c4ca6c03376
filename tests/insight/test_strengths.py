"""Simulated strengths are found; others are not."""

import numpy as np
import pytest
import torch

from p2l.errors import ConfigError, DataError
from p2l.insight.compare_leaderboards import compare_leaderboards
from p2l.insight.group_leaderboards import group_leaderboard
from p2l.insight.prompt_groups import Group
from p2l.insight.strengths import all_differences, model_index, strengths_and_weaknesses
from p2l.outcomes import GRK
from p2l.types import Ranking
from tests.insight.rankings import MODELS, draw, every

GROUPS = [
    Group("topic", name, np.arange(25 * i, 25 * i + 25)) for i, name in enumerate(("law", "math", "code", "talk"))
]


def planted() -> tuple[Ranking, list]:
    rankings = draw(GRK, 100, spread=0.3)
    rankings.coefs[25:50, 1] += 2  # beta is strong in math
    rankings.coefs[50:75, 1] -= 2  # and weak in code
    return rankings, [(group, group_leaderboard(MODELS, GRK, rankings, group.rows)) for group in GROUPS]


def test_planted_strengths_and_weaknesses_are_found() -> None:
    rankings, boards = planted()
    overall = group_leaderboard(MODELS, GRK, rankings, every(rankings))
    found = strengths_and_weaknesses("beta", overall, boards)
    assert found["group"].iloc[0] == "math" and found["verdict"].iloc[0] == "strength"
    assert found["group"].iloc[-1] == "code" and found["verdict"].iloc[-1] == "weakness"
    assert found["difference"].is_monotonic_decreasing
    assert found["rank"].iloc[0] < found["overall_rank"].iloc[0] < found["rank"].iloc[-1]
    assert (found["prompts"] == 25).all()


def test_false_discoveries_are_rare() -> None:
    """Of 40 tables without differences, few have a discovery: the rate is 5 %."""
    false = 0
    for seed in range(40):
        rankings = draw(GRK, 100, seed=seed)
        overall = group_leaderboard(MODELS, GRK, rankings, every(rankings))
        boards = [(group, group_leaderboard(MODELS, GRK, rankings, group.rows)) for group in GROUPS]
        false += bool((strengths_and_weaknesses("beta", overall, boards)["verdict"] != "").any())
    assert false <= 6


def test_all_llms_at_once_are_the_same_one_by_one() -> None:
    rankings, boards = planted()
    overall = group_leaderboard(MODELS, GRK, rankings, every(rankings))
    every_one = all_differences(overall, boards)
    assert every_one["model"].drop_duplicates().tolist() == list(MODELS)
    alone = strengths_and_weaknesses("gamma", overall, boards)
    together = every_one[every_one["model"] == "gamma"]
    np.testing.assert_array_equal(together["p_value"], alone["p_value"])
    assert together["verdict"].tolist() == alone["verdict"].tolist()


@pytest.mark.parametrize(
    ("name", "near"), [("Beta", "did you mean beta"), ("gama", "gamma"), ("xyz", "it ranks alpha")]
)
def test_an_unknown_llm_is_answered_with_near_names(name, near) -> None:
    with pytest.raises(ConfigError, match=f"no LLM '{name}'; .*{near}"):
        model_index(MODELS, name)


def test_a_personal_leaderboard_says_what_is_different_on_it() -> None:
    everybody = draw(GRK, 80, seed=1)
    own = draw(GRK, 20, seed=2)
    own.coefs[:, 3] += 3  # one's own prompts suit gamma, the last of all
    boards = [group_leaderboard(MODELS, GRK, rankings, every(rankings)) for rankings in (own, everybody)]
    table = compare_leaderboards(*boards).set_index("model")
    assert table.loc["gamma", ["rank", "reference_rank", "verdict"]].tolist() == [1, 4, "higher"]
    assert table.index[0] == "gamma" and table["elo_low"].notna().all()
    others = group_leaderboard(("a", "b", "c", "d"), GRK, everybody, every(everybody))
    with pytest.raises(DataError, match="must rank the same LLMs"):
        compare_leaderboards(boards[0], others)


def test_the_same_prompts_ranked_again_show_who_moved() -> None:
    rankings = draw(GRK, 30)
    moved = Ranking(rankings.coefs + torch.tensor([0, 0, 0.5, 0]), rankings.eta)
    before, after = (group_leaderboard(MODELS, GRK, some, every(some)) for some in (rankings, moved))
    table = compare_leaderboards(after, before, same_table=True).set_index("model")
    assert table.loc["delta", "verdict"] == "higher" and table.loc["delta", "difference"] > 20
