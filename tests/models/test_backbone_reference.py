"""Checkpoints that refer to the weights of a frozen backbone."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from p2l.errors import CheckpointError
from p2l.models import Checkpoint, load_checkpoint, save_checkpoint

PROMPTS = ["What is 1+1?", "Write a poem about rain."]


@pytest.fixture
def whole(tmp_path: Path, tiny_checkpoint: Checkpoint) -> Path:
    return save_checkpoint(tmp_path / "whole", tiny_checkpoint)


@pytest.fixture
def refers(tmp_path: Path, tiny_checkpoint: Checkpoint, whole: Path) -> Path:
    return save_checkpoint(tmp_path / "refers", tiny_checkpoint, backbone=str(whole))


def coefs_of(folder: Path) -> torch.Tensor:
    return load_checkpoint(folder).rank(PROMPTS).rankings.coefs


def test_it_ranks_as_the_whole_one_and_has_no_weights_of_the_backbone(whole: Path, refers: Path) -> None:
    torch.testing.assert_close(coefs_of(refers), coefs_of(whole), rtol=0, atol=0)
    size = {folder: (folder / "model.safetensors").stat().st_size for folder in (whole, refers)}
    assert size[refers] < size[whole] / 5


def test_saving_what_was_loaded_makes_it_whole(tmp_path: Path, refers: Path, whole: Path) -> None:
    again = save_checkpoint(tmp_path / "again", load_checkpoint(refers))
    shutil.rmtree(whole)
    assert torch.isfinite(coefs_of(again)).all()
    assert "backbone" not in json.loads((again / "p2l.json").read_text())


def test_a_trained_backbone_cannot_be_referred_to(tmp_path: Path, tiny_checkpoint: Checkpoint, whole: Path) -> None:
    with torch.no_grad():
        next(tiny_checkpoint.model.model.parameters()).view(-1)[0] += 1e-3
    with pytest.raises(CheckpointError, match="differs from the backbone"):
        save_checkpoint(tmp_path / "refers", tiny_checkpoint, backbone=str(whole))
    assert not (tmp_path / "refers").exists()


def test_another_backbone_at_its_place_is_refused(tiny_checkpoint: Checkpoint, whole: Path, refers: Path) -> None:
    with torch.no_grad():
        next(tiny_checkpoint.model.model.parameters()).view(-1)[0] += 1e-3
    save_checkpoint(whole, tiny_checkpoint)
    with pytest.raises(CheckpointError, match="was trained on the backbone .* but those there are"):
        load_checkpoint(refers)


def test_a_backbone_that_is_missing_is_an_error_of_its_place(whole: Path, refers: Path) -> None:
    shutil.rmtree(whole)
    with pytest.raises(CheckpointError, match="whole"):
        load_checkpoint(refers)
    whole.mkdir()
    with pytest.raises(CheckpointError, match="are missing"):
        load_checkpoint(refers)


@pytest.mark.parametrize("entry", ["somewhere", {"path": "somewhere"}, {"path": 3, "digest": "a"}, []])
def test_a_damaged_reference_is_an_error(refers: Path, entry: object) -> None:
    description = json.loads((refers / "p2l.json").read_text())
    (refers / "p2l.json").write_text(json.dumps({**description, "backbone": entry}))
    with pytest.raises(CheckpointError, match="backbone must be an object with path and digest"):
        load_checkpoint(refers)


def test_models_may_be_added_to_it(refers: Path, tmp_path: Path) -> None:
    loaded = load_checkpoint(refers)
    renamed = replace(loaded, models=tuple(f"new {name}" for name in loaded.models))
    assert load_checkpoint(save_checkpoint(tmp_path / "renamed", renamed)).models == renamed.models
