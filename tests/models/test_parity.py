"""Checkpoints of the published code and what they gave there; see tests/golden/README.md."""

import json
from pathlib import Path

import pytest
import torch

from p2l.models import load_checkpoint, save_checkpoint
from p2l.models.predictor import predict

FAMILY_OF = {
    "llama_bt_tie": "bt-tie",
    "qwen2_ba": "ba",
    "qwen2_bt": "bt",
    "qwen2_bt_lowrank": "bt-tie",
    "qwen2_grk": "grk",
    "qwen2_rk": "rk",
    "qwen2_rk_lowrank_etadown": "grk",
}
checkpoints = pytest.mark.parametrize("name", FAMILY_OF)


def published(folder: Path) -> list[dict]:
    return json.loads((folder / "golden.json").read_text(encoding="utf-8"))["rows"]


@checkpoints
def test_token_ids_coefficients_and_eta_are_the_published_ones(name: str, golden: Path) -> None:
    rows = published(golden / name)
    checkpoint = load_checkpoint(str(golden / name))
    assert checkpoint.family.name == FAMILY_OF[name]
    assert checkpoint.encoder.format.max_length == 64
    for row in rows:
        assert checkpoint.encoder.encode(row["prompt"]) == row["input_ids"], row["name"]
    assert_published(predict(checkpoint, [row["prompt"] for row in rows]), rows)


@checkpoints
@pytest.mark.parametrize("max_shard_size", ["5GB", "20KB"])
def test_saving_loses_nothing(name: str, max_shard_size: str, golden: Path, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "copy", load_checkpoint(str(golden / name)), max_shard_size=max_shard_size)
    assert (tmp_path / "copy" / "model.safetensors.index.json").exists() == (max_shard_size == "20KB")
    rows = published(golden / name)
    copy = load_checkpoint(str(tmp_path / "copy"))
    assert copy.encoder.encode_batch([row["prompt"] for row in rows]) == [row["input_ids"] for row in rows]
    assert_published(predict(copy, [row["prompt"] for row in rows]), rows)


def assert_published(ranking, rows: list[dict]) -> None:
    gamma = torch.tensor([row["gamma"] or 0.0 for row in rows])
    coefs = torch.tensor([row["coefs"] for row in rows]) - gamma[:, None]
    torch.testing.assert_close(ranking.coefs, coefs, rtol=0, atol=1e-5)
    assert (ranking.eta is None) == (rows[0]["eta"] is None)
    if ranking.eta is not None:
        torch.testing.assert_close(ranking.eta, torch.tensor([row["eta"] for row in rows]), rtol=0, atol=1e-5)
