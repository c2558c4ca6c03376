"""Attacks on a router of a made table: the search, the places of strings, the figures, and the whole command."""

import json
import sys
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from p2l.errors import DataError
from p2l.heads import RankingHead
from p2l.models import Checkpoint
from p2l.routing import make_router
from p2l.types import Ranking
from tests.benchmarks.test_public import MODELS, made_table, measured

DEAR = MODELS.index("dear")


@pytest.fixture(scope="module")
def checkpoint(public: dict[str, ModuleType], backbone: Path) -> Checkpoint:
    """A model with random weights, whose coefficients are of the order of 1."""
    torch.manual_seed(0)
    recipe = public["cached_states"].encoder_recipe(str(backbone), 64)
    encoder = recipe.encoder()
    network = recipe.build(encoder, partial(RankingHead, family="grk"), MODELS).eval()
    network.packed = False
    return Checkpoint(network, encoder, MODELS)


def test_the_search_raises_the_margin_of_other_prompts(public: dict[str, ModuleType], checkpoint: Checkpoint) -> None:
    suffix = public["suffix_search"]
    search = suffix.SuffixSearch(checkpoint, suffix.Margin(DEAR, np.zeros(3)))
    prompts = [(f"please write a poem about tree {number}",) for number in range(30)]
    start = search.random(6, np.random.default_rng(0))
    found = search.search(prompts[:15], start, suffix.SearchOptions(steps=8), seed=0)
    before, after = (search.margins([suffix.at_end(one, text) for one in prompts[15:]]) for text in (start, found))
    assert (after > before).all() and after.mean() > before.mean() + 0.02
    assert len(search.tokenizer(found, add_special_tokens=False)["input_ids"]) == 6
    assert found == search.search(prompts[:15], start, suffix.SearchOptions(steps=8), seed=0)


def test_slopes_are_those_of_a_finite_difference(public: dict[str, ModuleType], checkpoint: Checkpoint) -> None:
    """A shift of the embedding that all tokens share changes the margin by the sum of the slopes of the tokens."""
    suffix = public["suffix_search"]
    search = suffix.SuffixSearch(checkpoint, suffix.Margin(DEAR, np.array([0.1, 0.2, 0.3])))
    ids = torch.tensor([checkpoint.encoder.encode("what is 2 + 2?")])
    mask = torch.ones_like(ids)
    direction = torch.randn(32, generator=torch.Generator().manual_seed(0))
    expected = float((search._slopes(ids, mask).sum(dim=(0, 1)) * direction).sum())
    shared = checkpoint.model.model.embeddings.token_type_embeddings.weight
    margins = []
    for step in (1e-2, -1e-2):
        with torch.no_grad():
            shared[0] += step * direction
            margins.append(float(search.margin(checkpoint.model(ids, mask))))
            shared[0] -= step * direction
    assert (margins[0] - margins[1]) / 2e-2 == pytest.approx(expected, rel=0.02)


def test_a_margin_by_hand(public: dict[str, ModuleType]) -> None:
    ranking = Ranking(torch.tensor([[0.0, 0.0, -20.0], [20.0, 0.0, 20.0]]), None)
    found = public["suffix_search"].Margin(1, np.array([0.0, 0.2, 0.1]))(ranking)
    torch.testing.assert_close(found, torch.tensor([-0.2, -0.7]))


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("in_front", "x y What is it now?"),
        ("in_the_middle", "What is x y it now?"),
        ("at_both_ends", "x y What is it now? x y"),
        ("three_times", "What is it now? x y x y x y"),
    ],
)
def test_where_a_string_stands(public: dict[str, ModuleType], place: str, text: str) -> None:
    found = getattr(public["steering_strings"], place)(("Hello.", "What is it now?"), "x y")
    assert found == ("Hello.", text)


def test_words_behind_a_string_fill_the_tail(public: dict[str, ModuleType]) -> None:
    (found,) = public["steering_strings"].before_filler(100)(("What?",), "x y")
    assert found.startswith("What? x y Thank you") and len(found) == len("What? x y ") + 100


def test_figures_by_hand(public: dict[str, ModuleType]) -> None:
    """Four prompts, of which one goes to the dear LLM; two strings move one prompt more, and none."""
    table = measured(4, 2)
    table.score[:] = [[0.5, 1.0]]
    table.cost[:] = [[1.0, 9.0]]
    clean = np.eye(2)[[1, 0, 0, 0]]
    found = public["steering_figures"].steered(clean, [np.eye(2)[[1, 1, 0, 0]], np.eye(2)[[0, 0, 0, 0]]], 1, table)
    values = (found.dearest.value, found.moved.value, found.cost.value, found.score.value)
    assert values == pytest.approx((0.25, 1 / 6, 1.0, 0.0))
    unchanged = public["steering_figures"].steered(clean, [clean], 1, table)
    assert (unchanged.cost.low, unchanged.cost.high, unchanged.score.high) == (1.0, 1.0, 0.0)


def test_a_price_takes_the_cheapest_of_two_readings(public: dict[str, ModuleType]) -> None:
    router = make_router("simple-lp", public["steered_policies"].GRK, [1.0, 2.0, 10.0])
    attacked, clean = Ranking(np.array([[0.0, 0.0, 9.0]]), None), Ranking(np.array([[0.0, 2.0, 2.1]]), None)
    priced = partial(public["steered_policies"].priced, router, 0.01)
    chosen = [priced(readings, measured(1)).argmax() for readings in ([attacked], [attacked, clean], [clean, attacked])]
    assert chosen == [2, 1, 1]


def run(public: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    monkeypatch.setattr(sys, "argv", ["robustness.py", "table", *options])
    public["robustness"].main()


def test_the_command_on_any_table(
    public: dict[str, ModuleType],
    backbone: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    """The searched string moves more prompts than random tokens; without a tail fewer, and in front as many."""
    made_table(120).to_csv(tmp_path / "train.csv", index=False)
    made_table(24, seed=1).drop(index=[0]).to_csv(tmp_path / "test.csv", index=False)
    monkeypatch.setattr(public["spend_budgets"], "ORDERS", 2)
    monkeypatch.setattr(public["ready_checkpoint"], "OPTIONS", public["ready_checkpoint"].OPTIONS[2:3])
    files = ("--train", str(tmp_path / "train.csv"), "--test", str(tmp_path / "test.csv"))
    work = ("--work", str(tmp_path / "work"), "--backbone", str(backbone), "--budget", "5e-3")
    few = ("--lengths", "8", "--seeds", "1", "--steps", "6", "--own", "3", "--own-steps", "2", "--tail", "12")
    run(public, monkeypatch, *files, *work, *few)
    found = json.loads((tmp_path / "work" / "table_robustness.json").read_text())
    rows = {name: row["one price"] for name, row in found["steered"].items()}
    searched = rows["8 searched tokens"]["none"]
    assert searched["dearest"]["value"] > rows["8 random tokens"]["none"]["dearest"]["value"]
    assert searched["cost"]["value"] > 1.5
    assert rows["8 searched tokens"]["cheaper of two decisions"]["moved"]["value"] < searched["moved"]["value"]
    assert found["dearest"] == "dear" and found["prompts"] == 23 and found["own"] == 3
    assert [row["share"] for row in found["stream"][::3]] == [0.1, 0.5, 1.0]
    assert len(found["strings"]["8 tokens of its own"]) == 3
    shown = capsys.readouterr().out
    assert "1 of 24 test prompts lack a score of some LLM and are left out" in shown and "## stream budget" in shown
    assert (tmp_path / "work" / "table_robustness.png").read_bytes().startswith(b"\x89PNG")
    monkeypatch.setattr(public["suffix_search"].SuffixSearch, "search", None)
    run(public, monkeypatch, *files, *work, *few, "--own", "0")  # the universal string is kept
    again = json.loads((tmp_path / "work" / "table_robustness.json").read_text())
    assert again["steered"]["8 searched tokens"] == found["steered"]["8 searched tokens"]


def test_a_table_without_costs_is_an_error(
    public: dict[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_table(20).drop(columns="cost").to_csv(tmp_path / "train.csv", index=False)
    with pytest.raises(DataError, match="table has no costs"):
        run(public, monkeypatch, "--train", str(tmp_path / "train.csv"), "--work", str(tmp_path / "work"))
