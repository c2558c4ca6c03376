"""The benchmarks of the posterior on small made tables: the whole command of each, and what it leaves out."""

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from p2l.heads import RankingHead
from p2l.outcomes import GRK
from tests.benchmarks.test_public import made_table, measured


def run(public: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch, name: str, *options: str) -> None:
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *options])
    public[name].main()


def test_a_share_of_prompts_is_the_same_in_every_table(public: dict[str, ModuleType]) -> None:
    in_share, keys = public["prompt_share"].in_share, [f"prompt {i}" for i in range(4000)]
    kept = in_share(keys, 0.3)
    assert 0.27 < kept.mean() < 0.33 and in_share(keys, 1.0).all() and not in_share(keys, 0.0).any()
    np.testing.assert_array_equal(in_share(keys[::-7], 0.3), kept[::-7])


def test_no_answer_does_not_widen_the_posterior_of_scores(public: dict[str, ModuleType]) -> None:
    """Its coefficient of -30 is no model's; more prompts make the posterior of the LLMs narrower."""
    torch.manual_seed(0)
    head, states = RankingHead(4, 3, GRK, init="zeros"), torch.randn(400, 4)
    narrow, wide = (public["risk_table"].posterior_for(head, measured(count), states[:count]) for count in (400, 40))
    z = np.zeros((1, 4))
    assert (np.diagonal(narrow.covariance(z)[0])[:3] < np.diagonal(wide.covariance(z)[0])[:3]).all()
    assert np.diagonal(wide.covariance(z)[0])[:3].max() < 2.0


def test_the_table_of_risks(
    public: dict[str, ModuleType], backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    made_table(240).to_csv(tmp_path / "train.csv", index=False)
    monkeypatch.setattr(public["spend_budgets"], "ORDERS", 2)
    options = ("--train", str(tmp_path / "train.csv"), "--work", str(tmp_path / "work"), "--backbone", str(backbone))
    run(public, monkeypatch, "risk_table", "table", *options, "--budgets", "8e-4", "4e-3")
    figures = json.loads((tmp_path / "work" / "table_risk.json").read_text())["test"]
    assert {"estimate", "expected", "shrunk", "shrunk expected"} < set(figures) and len(figures) == 5
    assert figures["estimate"]["gain"] == [0.0, 0.0, 0.0]
    assert all(0.6 < value < 1 for one in figures.values() for value in one["quality"])
    shown = capsys.readouterr().out
    assert "no budget: best single LLM" in shown and "quantile 0.02" in shown


def test_the_quality_of_a_posterior(
    public: dict[str, ModuleType], backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The most probable heads know more than one leaderboard."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 3000), ("val", 300), ("test", 600)):
        hard, number = rng.random(count) < 0.5, rng.integers(10**6, size=count)
        prompts = np.where(hard, [f"{x} + {7 * x} = ?" for x in number], [f"a poem about tree {x}" for x in number])
        a = rng.integers(3, size=count)
        b = (a + rng.integers(1, 3, size=count)) % 3
        strength = np.stack((np.where(hard, 2.0, -2.0), np.zeros(count), np.where(hard, -1.0, 1.0)), axis=1)
        rows = np.arange(count)
        wins = rng.random(count) < 1 / (1 + np.exp(strength[rows, b] - strength[rows, a]))
        names = np.array(["x", "y", "z"])
        winner = np.where(wins, "model_a", "model_b")
        frame = pd.DataFrame({"prompt": prompts, "model_a": names[a], "model_b": names[b], "winner": winner})
        frame.to_parquet(tmp_path / f"votes_{split}.parquet")
    options = ("--data", str(tmp_path), "--work", str(tmp_path / "work"), "--backbone", str(backbone))
    (tmp_path / "work").mkdir()
    run(public, monkeypatch, "posterior_quality", *options, "--draws", "3", "--share", "0.5")
    figures = json.loads((tmp_path / "work" / "posterior_quality.json").read_text())
    marginal = figures.pop("one leaderboard")["log_loss"]
    kept = [name for name in figures if "probable" in name or "posterior" in name or "bootstrap" in name]
    assert len(figures) == 6 and len(kept) == 4
    assert all(figures[name]["log_loss"] < marginal - 0.05 for name in kept)
    assert figures["calibrated posterior"]["minus_head"] < 0.005
