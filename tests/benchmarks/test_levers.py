"""The benchmark of levers on small made tables: each way to fit, the command, its table and its picture."""

import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from p2l.data.measured_scores import MeasuredScores
from p2l.errors import ConfigError, DataError
from tests.benchmarks.test_public import made_table, measured

FEW = {"ridges": (0.1, 0.01), "epochs": 1}


def run(public: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch, name: str, *options: str) -> None:
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *options])
    public[name].main()


def test_an_mlp_learns_what_a_linear_head_cannot(public: dict[str, ModuleType]) -> None:
    """An answer is usable if two numbers have the same sign."""
    fits, heads = public["lever_fits"], public["score_heads"]
    states = torch.randn(600, 2, generator=torch.Generator().manual_seed(0))
    share = (states.prod(dim=1) > 0).double().numpy()[:, None].repeat(2, axis=1)
    known = np.ones_like(share)
    table = MeasuredScores(("a", "b"), tuple((str(at),) for at in range(600)), share, known, known)
    options = heads.HeadOptions(1e-4)
    linear = heads.fit_head(states, heads.Evidence.of(table, options), options, fits.zeros(states, table))
    network = fits.fit_mlp(states, table, options, linear, seed=0)
    assert fits.log_losses(table, heads.usable(linear, states)).mean() > 0.68
    assert fits.log_losses(table, network.usable(states)).mean() < 0.45


def test_an_mlp_begins_as_the_linear_head(public: dict[str, ModuleType]) -> None:
    fits, heads = public["lever_fits"], public["score_heads"]
    table, states = measured(30), torch.randn(30, 5)
    options = heads.HeadOptions(0.1)
    linear = heads.fit_head(states, heads.Evidence.of(table, options), options, fits.zeros(states, table))
    assert fits.MlpHead(linear).usable(states) == pytest.approx(heads.usable(linear, states), abs=1e-6)


def test_log_losses_by_hand_leave_unknown_scores_out(public: dict[str, ModuleType]) -> None:
    score, weight = np.array([[1.0, 0.5, 0.0]]), np.array([[1.0, 1.0, 0.0]])
    table = MeasuredScores(("a", "b", "c"), (("q",),), score, weight, weight)
    losses = public["lever_fits"].log_losses(table, np.array([[0.8, 0.25, 0.99]]))
    assert losses == pytest.approx([(-np.log(0.8) - 0.5 * np.log(0.25 * 0.75)) / 2])


@pytest.mark.parametrize("lever", ["LoRA on the last layers", "whole backbone"])
def test_tuning_changes_the_layers_that_it_names(
    public: dict[str, ModuleType], backbone: Path, tmp_path: Path, lever: str
) -> None:
    fits = public["lever_fits"]
    levers = fits.Levers(measured(40), measured(9, seed=1), tmp_path, str(backbone), **FEW)
    linear, tuned = levers.predict(fits.LINEAR), levers.predict(lever)
    assert tuned.shape == (9, 3) and np.isfinite(tuned).all()
    assert 1e-6 < abs(tuned - linear).max() < 0.5
    again = fits.Levers(measured(40), measured(9, seed=1), tmp_path, str(backbone), **FEW)
    assert (again.predict(lever) == tuned).all()


def test_routed_scores_at_equal_cost(public: dict[str, ModuleType]) -> None:
    """By hand: the budget pays the dear LLM for one prompt of two, and the prediction names the right one."""
    score, known = np.array([[0.0, 1.0], [1.0, 1.0]]), np.ones((2, 2))
    table = MeasuredScores(("cheap", "dear"), (("hard",), ("easy",)), score, known, np.array([[1.0, 3], [1, 3]]))
    routed = public["levers"].routed
    assert routed(np.array([[0.1, 0.9], [0.8, 0.9]]), table, [2.0]) == 1.0
    assert routed(np.array([[0.8, 0.9], [0.1, 0.9]]), table, [2.0]) == 0.5
    assert routed(np.array([[0.1, 0.9], [0.9, 0.8]]), table, []) == 1.0


def test_the_command_and_its_table(
    public: dict[str, ModuleType],
    backbone: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    """The prompts tell the scores, so that a head is far better than one leaderboard, and both seeds agree."""
    made_table(600).to_csv(tmp_path / "train.csv", index=False)
    options = ("--train", str(tmp_path / "train.csv"), "--work", str(tmp_path / "work"), "--backbone", str(backbone))
    few = ("--shares", "0.5", "1", "--seeds", "0", "1", "--budgets", "8e-4", "4e-3")
    run(public, monkeypatch, "levers", "table", *options, *few)
    path = tmp_path / "work" / "levers-table.json"
    first = path.read_bytes()
    rows = {(row["lever"], row["share"]): row for row in json.loads(first)["rows"]}
    assert set(rows) == {(one, s) for one in ("one leaderboard", "linear head", "MLP head") for s in (0.5, 1.0)}
    linear = rows["linear head", 1.0]
    assert linear["loss minus marginal"]["high"] < 0 and linear["explained"] > 0.1
    assert linear["routed"] > rows["one leaderboard", 1.0]["routed"]
    stamps = {one: one.stat().st_mtime_ns for one in (tmp_path / "work" / "predictions").iterdir()}
    run(public, monkeypatch, "levers", "table", *options, *few)
    assert path.read_bytes() == first
    assert stamps == {one: one.stat().st_mtime_ns for one in (tmp_path / "work" / "predictions").iterdir()}
    capsys.readouterr()
    run(public, monkeypatch, "lever_table", str(path), str(path), "--picture", str(tmp_path / "levers.png"))
    shown = capsys.readouterr().out
    held = json.loads(first)["held out"]
    assert shown.count("| linear head |") == 2 and f"table, {held:,} prompts held out" in shown
    assert "] yes |" in shown
    assert (tmp_path / "levers.png").read_bytes().startswith(b"\x89PNG")


def test_adapters_need_a_backbone_whose_layers_are_known(
    public: dict[str, ModuleType], backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits, tuned = public["lever_fits"], public["end_to_end"]
    monkeypatch.setattr(tuned, "ATTENTION", "nothing")
    levers = fits.Levers(measured(20), measured(3), tmp_path, str(backbone), **FEW)
    with pytest.raises((ConfigError, ValueError)):
        levers.predict(fits.ADAPTERS)


def test_some_prompts_of_each_part(public: dict[str, ModuleType], tmp_path: Path) -> None:
    """A tenth of the prompts to fit and of those held out, the same ones each time."""
    tables, levers = public["public_tables"], public["levers"]
    parts = public["route_table"].rehearsal(made_table(100))
    table = tables.load_table("made", parts, tmp_path)
    some = levers.drawn(table, 10)
    assert (len(some.fit), len(some.tests["rehearsal"])) == (8, 2)
    assert set(some.fit.measured.prompts) < set(table.fit.measured.prompts)
    assert some.fit.measured.prompts == levers.drawn(table, 10).fit.measured.prompts
    assert levers.drawn(table, None) is levers.drawn(table, 100) is table


def test_an_llm_without_a_score_in_a_share_is_an_error(
    public: dict[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = made_table(60)
    rare = table["model"] == "dear"
    table[~rare | (table.index >= 160)].to_csv(tmp_path / "train.csv", index=False)
    options = ("--train", str(tmp_path / "train.csv"), "--work", str(tmp_path / "work"), "--budgets", "1e-3")
    with pytest.raises(DataError, match=r"share 0.1, seed 0: no score of dear; give larger --shares"):
        run(public, monkeypatch, "levers", "table", *options, "--shares", "0.1", "--seeds", "0")
