"""The benchmark of rules from scores to votes on small made tables: the votes, the choice of a penalty, the command."""

import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from p2l.data.measured_scores import MeasuredScores
from p2l.data.score_votes import PairRule
from tests.benchmarks.test_public import made_table, measured


@pytest.mark.parametrize("rule", [PairRule(), PairRule(2), PairRule(temperature=0.2), PairRule(bad_below=0.5)])
def test_each_prompt_weighs_as_much_as_its_llms(public: dict[str, ModuleType], rule: PairRule) -> None:
    """Prompt 0 has one score and so no pair; the places of the others stay."""
    table = measured(6, 4)
    table.weight[0, 1:] = 0
    evidence = public["pair_rules"].evidence_of(table, rule, seed=3)
    weight = np.bincount(evidence.battle.ranking_index.numpy(), evidence.weight.numpy(), minlength=6)
    assert weight == pytest.approx([0, 4, 4, 4, 4, 4])
    assert evidence.targets.sum(dim=1).numpy() == pytest.approx(np.ones(len(evidence.weight)))


def test_all_pairs_learn_an_order_that_the_state_tells(public: dict[str, ModuleType]) -> None:
    """The sign of a state says which of two LLMs is better: heads of the other folds order nearly all pairs right."""
    module, states = public["pair_rules"], torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
    first = (states[:, :1] > 0).double().numpy()
    score, known = np.hstack((first, 1 - first)), np.ones((200, 2))
    table = MeasuredScores(("a", "b"), tuple((str(at),) for at in range(200)), score, known, known)
    sweep = module.Sweep(table, states, np.arange(200) % 5, (1.0, 0.01))
    found, default = sweep.cross_fitted(PairRule(temperature=0.2)), sweep.cross_fitted(PairRule())
    row = module.row_of({"pairs": "all"}, found, default, sweep.folds)
    assert row["ordered"]["value"] == row["routed"]["value"] > 0.95  # two LLMs: the better one is the right order
    assert len(row["ordered minus the default, by fold"]) == 5
    same = module.row_of({}, default, default, sweep.folds)
    assert same["routed minus the default"] == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_the_command(
    public: dict[str, ModuleType],
    backbone: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    """Three LLMs make three pairs: 4 of them are all, so that only one number is drawn."""
    made_table(80).to_csv(tmp_path / "train.csv", index=False)
    files = ("table", "--train", str(tmp_path / "train.csv"), "--work", str(tmp_path / "work"))
    few = ("--backbone", str(backbone), "--pairs", "1", "4", "--temperature", "0", "0.2", "--ridges", "0.1")
    options = (*files, *few, "--bad-below", "0.5", "--prompts", "40")
    monkeypatch.setattr(sys, "argv", ["pair_rules.py", *options])
    public["pair_rules"].main()
    content = json.loads((tmp_path / "work" / "pair-rules-table.json").read_text())
    found = [(row["pairs"], row["temperature"], row["bad_below"]) for row in content["rows"]]
    drawn = [(1, 0.0, None), (1, 0.2, None)]
    soft = [("all", 0.0, None), ("all", 0.0, 0.5), ("all", 0.2, None), ("all", 0.2, 0.5)]
    assert content["prompts"] == 40 and found == [*soft, *drawn, (public["pair_rules"].SCORES, 0.0, None)]
    assert all(row["ordered"]["value"] > 0.7 for row in content["rows"])
    assert "of 5 folds" in capsys.readouterr().out
