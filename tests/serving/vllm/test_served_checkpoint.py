"""What the plugin reads beside the backbone; vLLM is not needed."""

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from p2l.errors import CheckpointError, ConfigError
from p2l.models import Checkpoint, load_checkpoint, save_checkpoint
from p2l.serving.http.model_header import list_of
from p2l.serving.vllm.served_checkpoint import read_served_checkpoint
from tests.serving.vllm.decoders import make_checkpoint


def vllm_config(folder: Path, max_model_len: int = 1024, **overrides: str) -> Any:
    """The part of vLLM's configuration that is read."""
    model = SimpleNamespace(
        model=str(folder), revision=None, max_model_len=max_model_len, hf_config=SimpleNamespace(**overrides)
    )
    return SimpleNamespace(model_config=model, load_config=SimpleNamespace(download_dir=None))


@pytest.fixture
def saved(tiny_checkpoint: Checkpoint, tmp_path: Path) -> Path:
    return save_checkpoint(tmp_path / "checkpoint", tiny_checkpoint)


def test_encoder_and_head_are_those_of_the_checkpoint(saved: Path, tiny_checkpoint: Checkpoint) -> None:
    served = read_served_checkpoint(vllm_config(saved))
    prompts = ["hi", ["one", "two"], "long " * 50]
    assert served.encoder.encode_batch(prompts) == tiny_checkpoint.encoder.encode_batch(prompts)
    assert (served.models, served.family, served.warning) == (tiny_checkpoint.models, tiny_checkpoint.family, None)
    weights = tiny_checkpoint.model.head.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in served.head.state_dict().items())


@pytest.mark.parametrize("default", [torch.bfloat16, torch.float64])
def test_the_head_is_in_float32_whatever_the_engine_runs_in(
    default: torch.dtype, saved: Path, tiny_checkpoint: Checkpoint
) -> None:
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)  # as vLLM does while it builds a model
    try:
        head = read_served_checkpoint(vllm_config(saved)).head
    finally:
        torch.set_default_dtype(before)
    assert torch.equal(head.head.weight, tiny_checkpoint.model.head.head.weight)


def test_another_head_has_another_fingerprint(saved: Path, tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    known = read_served_checkpoint(vllm_config(saved)).fingerprint()
    copy = save_checkpoint(tmp_path / "copy", tiny_checkpoint)
    assert read_served_checkpoint(vllm_config(copy)).fingerprint() == known
    with torch.no_grad():
        tiny_checkpoint.model.head.head.bias[0] += 1
    save_checkpoint(copy, tiny_checkpoint)
    changed = read_served_checkpoint(vllm_config(copy)).fingerprint()
    assert changed != known and list_of(changed) == list_of(known)


def test_a_shorter_engine_cuts_prompts(saved: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    served = read_served_checkpoint(vllm_config(saved, max_model_len=20))
    assert len(served.encoder.encode("long " * 50)) == 20
    assert "prompts are cut to 20 tokens" in caplog.text


def test_overrides_name_the_family_of_a_checkpoint_that_does_not(saved: Path) -> None:
    for name in ("p2l.json", "training_config.json"):
        (saved / name).unlink()
    with pytest.raises(CheckpointError, match="does not name its likelihood family"):
        read_served_checkpoint(vllm_config(saved))
    assert read_served_checkpoint(vllm_config(saved, p2l_loss_type="rk")).family.name == "rk"


@pytest.mark.parametrize("options", [{"readout": "mean"}, {"cls_position": "start"}])
def test_another_readout_is_refused(options: dict[str, Any], tmp_path: Path) -> None:
    make_checkpoint(tmp_path / "checkpoint", "qwen2", "bt", **options)
    assert load_checkpoint(tmp_path / "checkpoint")
    with pytest.raises(ConfigError, match="use p2l endpoint"):
        read_served_checkpoint(vllm_config(tmp_path / "checkpoint"))
