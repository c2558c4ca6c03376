"""Numbers of the views by hand, and names that are markup."""

import math
import re

import pandas as pd
import pytest
import torch

from p2l.explorer.views import comparison_view, find_models, leaderboard_view, pair_view
from p2l.leaderboard import leaderboard_table
from p2l.outcomes import BT, FAMILIES, OutcomeFamily
from p2l.types import Ranking
from tests.explorer.conftest import EVIL

NAMES = ["ant-8b", "bee-70b", "cat-70b"]


def table(*odds: float, names: list[str] = NAMES):
    """Return the Bradley-Terry leaderboard of LLMs with these odds."""
    return leaderboard_table(names, Ranking(torch.tensor([math.log(x) for x in odds]), None), BT)


def names_of(markup: str) -> list[str]:
    return re.findall(r'<td class="name">(.*?)</td>', markup)


def widths(markup: str) -> list[float]:
    return [float(width) for width in re.findall(r"width:([\d.]+)%", markup)]


def test_a_leaderboard_has_a_bar_as_long_as_the_win_rate() -> None:
    # 3 beats 1 and 1 with 3/4; 1 beats 3 with 1/4 and 1 with 1/2
    markup = leaderboard_view(table(1, 3, 1), top=10)
    assert names_of(markup) == ["bee-70b", "ant-8b", "cat-70b"]
    assert widths(markup) == [75.0, 37.5, 37.5]
    assert "75.0%" in markup and "37.5%" in markup
    elo = 400 * math.log10(3)
    assert f"{elo * 2 / 3:+.0f}" in markup and f"{-elo / 3:+.0f}" in markup


def test_some_of_the_leaderboard() -> None:
    assert names_of(leaderboard_view(table(1, 3, 2), top=1)) == ["bee-70b"]
    found = leaderboard_view(table(1, 3, 2), top=10, search="ANT, cat")
    assert names_of(found) == ["cat-70b", "ant-8b"] and "2 of 3 LLMs" in found
    assert re.findall(r'<td class="number">(\d)</td>', found) == ["2", "3"]  # the ranks among all
    assert leaderboard_view(table(1, 3, 2), 10, "<b>dog</b>").count("&lt;b&gt;dog&lt;/b&gt;") == 1
    assert len(find_models(table(1, 3, 2), " , ")) == 3


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_a_bar_of_outcomes_is_full(family: OutcomeFamily) -> None:
    eta = torch.tensor(0.5) if family.num_eta else None
    probs = family.log_probs(torch.tensor(1.0), torch.tensor(0.0), eta).exp().tolist()
    markup = pair_view(("ant", "bee"), family.outcomes, {"The prompt": probs})
    assert sum(widths(markup)) == pytest.approx(100, abs=0.01)
    assert markup.count("<li>") == len(family.outcomes)
    assert markup.index("ant wins") < markup.index("bee wins")  # ties between them
    for label, share in zip(["ant wins", "bee wins", *family.outcomes[2:]], probs, strict=True):
        assert f"{label} {share:.1%}" in markup


def test_a_pair_on_two_prompts() -> None:
    markup = pair_view(("ant", "bee"), BT.outcomes, {"First prompt": [0.75, 0.25], "Second prompt": [0.04, 0.96]})
    assert "<b>75.0% → 4.0%</b>" in markup and ">4%<" not in markup  # too narrow for its text
    assert pair_view(("ant", "ant"), BT.outcomes, {"The prompt": [0.5, 0.5]}) == (
        '<p class="soft">Choose two different LLMs.</p>'
    )


def test_who_moves_up_and_down() -> None:
    markup = comparison_view(table(4, 2, 1), table(1, 2, 4), top=10)
    assert names_of(markup) == ["cat-70b", "bee-70b", "ant-8b"]
    assert "3 → 1" in markup and "▲2" in markup and "1 → 3" in markup and "▼2" in markup
    change = 400 * math.log10(4)
    assert f">{change:+.0f}<" in markup and f">{-change:+.0f}<" in markup and ">+0<" in markup
    assert widths(markup) == [50.0, 0.0, 50.0]
    assert "2 of 3 LLMs change their rank" in markup


def test_the_largest_moves_are_shown() -> None:
    assert names_of(comparison_view(table(1, 1, 1), table(1, 1, 8), top=1)) == ["cat-70b"]
    assert names_of(comparison_view(table(4, 2, 1), table(1, 2, 4), 10, "8b")) == ["ant-8b"]
    assert "Shown: the 1 largest changes of 3 LLMs." in comparison_view(table(1, 1, 1), table(1, 1, 8), top=1)
    assert "Shown" not in comparison_view(table(1, 1, 1), table(1, 1, 8), top=3)
    same = comparison_view(table(4, 2, 1), table(4, 2, 1), top=10)
    assert "0 of 3 LLMs change their rank" in same and set(widths(same)) == {0.0}


def test_names_are_text() -> None:
    leaderboards = [table(1, 2, 3, 4, names=list(EVIL)), table(4, 3, 2, 1, names=list(EVIL))]
    for markup in (
        leaderboard_view(leaderboards[0], 10),
        comparison_view(leaderboards[0], leaderboards[1], 10),
        pair_view((EVIL[0], EVIL[1]), BT.outcomes, {EVIL[0]: [0.5, 0.5]}),
    ):
        assert "<script" not in markup and "<img" not in markup and "&lt;script" in markup


def test_ranks_and_the_order_that_is_sure() -> None:
    three = table(4, 2, 1).assign(elo_low=[90.0, -40, -200], elo_high=[130.0, 40, -60], rank_best=[1, 1, 3])
    markup = leaderboard_view(three.assign(rank_worst=[2, 2, 3]), top=10)
    assert re.findall(r'<tr><td class="number">(.*?)</td>', markup) == ["1–2", "1–2", "3"]
    assert "2 LLMs may be first; the order of 2 of 3 pairs is sure." in markup and "-40 to +40" in markup
    first = leaderboard_view(three.assign(rank_best=[1, 2, 2], rank_worst=[1, 3, 3]), top=1)
    assert "ant-8b is surely first" in first and "1 of 3 LLMs." in first


def test_changes_have_intervals() -> None:
    ends = pd.DataFrame({"model": NAMES[::-1], "change_low": [10.0, -5, -300], "change_high": [300.0, 5, -12]})
    markup = comparison_view(table(4, 2, 1), table(1, 2, 4), top=10, ends=ends)
    assert "leaves out 0 for 2." in markup and "-300 to -12" in markup
