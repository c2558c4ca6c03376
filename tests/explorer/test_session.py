from dataclasses import replace

import pytest
import torch

from p2l.errors import ConfigError
from p2l.explorer import Controls, Explorer, Prices, read_prompt
from p2l.html import interval_text, rank_range
from p2l.models import Checkpoint
from p2l.models.predictor import Predictor
from p2l.outcomes import FAMILIES
from tests.explorer.conftest import EVIL
from tests.models.test_posterior_file import with_posterior

READ = {
    "one turn": ("hi", False, "hi"),
    "as it was typed": (" a\n---\nb ", False, " a\n---\nb "),
    "two turns": ("a\n---\nb", True, ["a", "b"]),
    "several lines in a turn": ("a\nb\n --- \n\nc\n", True, ["a\nb", "c"]),
    "empty turns": ("---\na\n---\n---\n", True, ["a"]),
    "dashes in a line": ("a --- b", True, ["a --- b"]),
    "only dashes": ("---\n---", True, None),
    "blank": (" \n\t", False, None),
    "empty": ("", True, None),
    "nothing": (None, False, None),
}


@pytest.mark.parametrize(("text", "conversation", "prompt"), READ.values(), ids=READ)
def test_reading_what_was_typed(text, conversation, prompt) -> None:
    assert read_prompt(text, conversation) == prompt


def test_rankings_are_those_of_the_predictor(explorer: Explorer, predictor: Predictor) -> None:
    prompts = ["hi", ["one", "two turns, the second longer"]]
    ranked = explorer.rank([*prompts[:1], None, *prompts[1:]])
    expected = predictor.rank(prompts)
    assert [one.prompt for one in ranked] == prompts
    for one, coefs, eta in zip(ranked, expected.coefs, expected.eta, strict=True):
        torch.testing.assert_close(one.ranking.coefs, coefs)
        torch.testing.assert_close(one.ranking.eta, eta)
        best = [predictor.models[i] for i in coefs.argsort(descending=True)]
        assert one.table["model"].tolist() == best
        assert [predictor.models[one.model(choice)] for choice in (-1, -2)] == best[:2] and one.model(3) == 3


def test_how_prompts_were_read(explorer: Explorer) -> None:
    status = explorer.status(explorer.rank([["a", "b"], "x" * 1000]))
    assert "First prompt: 2 user turns, " in status
    assert "Second prompt: 1 user turn, 64 tokens, the maximum" in status
    assert "The prompt: 1 user turn" in explorer.status(explorer.rank(["hi"]))
    assert "Type a prompt." in explorer.status(())


def test_nothing_is_ranked_and_nothing_is_drawn(explorer: Explorer) -> None:
    assert explorer.rank([None, None]) == ()
    assert set(explorer.views((), Controls())) == {""}


@pytest.mark.parametrize("name", FAMILIES)
def test_all_parts_for_every_family(name: str, make_explorer) -> None:
    explorer = make_explorer(name, Prices({"alpha": [1, 1], "beta": [2, 2]}))
    views = explorer.views(explorer.rank(["hi", "something else entirely"]), Controls(top=3, a=0, b=3))
    assert views.leaderboard.count('class="name"') == 3 and "First prompt" in views.leaderboard
    assert "alpha wins" in views.pair and "gamma wins" in views.pair and views.pair.count("<h4>") == 2
    assert ("both bad" in views.pair) == ("both bad" in FAMILIES[name].outcomes)
    assert views.comparison.count('class="name"') == 3
    assert "the router takes" in views.costs and "without a price: 2 of 4 LLMs" in views.costs


def test_one_prompt_without_prices(predictor: Predictor) -> None:
    explorer = Explorer(predictor)
    views = explorer.views(explorer.rank(["hi"]), Controls())
    assert "Type a second prompt" in views.comparison and "No prices are given" in views.costs
    assert "<h4>" not in views.leaderboard


def test_a_price_list_of_other_llms(predictor: Predictor) -> None:
    with pytest.raises(ConfigError, match=r"none of the checkpoint's LLMs \(alpha, beta, delta, ...\)"):
        Explorer(predictor, Prices({"elk": [1, 1]}))


def test_prompts_and_names_are_text(evil_predictor: Predictor) -> None:
    explorer = Explorer(evil_predictor, Prices({EVIL[0]: [1, 1], EVIL[1]: [2, 2]}))
    ranked = explorer.rank([*EVIL[:2]])
    for part in (explorer.status(ranked), *explorer.views(ranked, Controls(search="<b>"))):
        assert "<script" not in part and "<img" not in part


def test_groups_that_were_never_compared_stand_apart(tiny_checkpoint: Checkpoint) -> None:
    groups = {"north": ["alpha", "delta"], "south": ["beta", "gamma"]}
    grouped = replace(tiny_checkpoint, recipe={**tiny_checkpoint.recipe, "groups": groups})
    explorer = Explorer(Predictor(grouped))
    ranked = explorer.rank(["hi", "write a poem"])
    best, second = (grouped.models[ranked[0].model(choice)] for choice in (-1, -2))
    assert {best, second} == {"alpha", "delta"}
    views = explorer.views(ranked, Controls(top=1))
    assert views.leaderboard.index("north") < views.leaderboard.index(best) < views.leaderboard.index("south")
    assert views.leaderboard.count("1 of 2 LLMs.") == 2 and f"{best} wins" in views.pair
    a, b = (grouped.models.index(name) for name in ("alpha", "beta"))
    assert "alpha and beta are of groups that were never compared" in explorer.views(ranked, Controls(a=a, b=b)).pair


@pytest.fixture
def sure(tiny_checkpoint: Checkpoint) -> Explorer:
    return Explorer(Predictor(with_posterior(tiny_checkpoint)))


def test_intervals_of_a_checkpoint_with_a_posterior(sure: Explorer, tiny_checkpoint: Checkpoint) -> None:
    prompts = ["hi", "write a poem"]
    ranked = sure.rank(prompts)
    views = sure.views(ranked, Controls(top=2, a=0, b=3))
    table = tiny_checkpoint.rank(prompts[0]).table()
    first, second = table.to_dict("records")[:2]
    for row in (first, second):
        assert f'<td class="number">{rank_range(row["rank_best"], row["rank_worst"])}</td>' in views.leaderboard
        assert interval_text(row["elo_low"], row["elo_high"], 0) in views.leaderboard
    assert "2 of 4 LLMs." in views.leaderboard
    assert f"the order of {(table['rank_best'] - 1).sum()} of 6 pairs is sure" in views.leaderboard
    low, high = tiny_checkpoint.rank(prompts[1]).predict_interval("alpha", "gamma")["a wins"]
    assert f"→ {100 * low:.0f} to {100 * high:.0f}]" in views.pair and "95% intervals" in views.pair
    assert "The 95% interval of the change leaves out 0 for " in views.comparison


def test_without_a_posterior_nothing_is_said_of_intervals(explorer: Explorer) -> None:
    views = explorer.views(explorer.rank(["hi", "write a poem"]), Controls())
    assert not [part for part in views if "interval" in part or "whisker" in part or "possible" in part]


def test_intervals_of_groups_are_within_them(tiny_checkpoint: Checkpoint) -> None:
    groups = {"north": ["alpha", "delta"], "south": ["beta", "gamma"]}
    known = replace(with_posterior(tiny_checkpoint), recipe={**tiny_checkpoint.recipe, "groups": groups})
    explorer = Explorer(Predictor(known))
    views = explorer.views(explorer.rank(["hi", "write a poem"]), Controls())
    assert views.leaderboard.count(" of 1 pairs is sure.") == 2
