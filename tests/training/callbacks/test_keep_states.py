"""A frozen backbone runs once over each prompt, and the run is the same as if it ran at every step."""

import numpy as np
import pandas as pd
import pytest

from p2l.models import load_checkpoint
from p2l.models.hidden_states import rank_with_hidden_states
from p2l.training import train
from tests.running import build, curve

KEPT = "+callbacks.keep_states._target_=p2l.training.callbacks.KeepStates"
FROZEN = ("head.init=zeros", "optimizer.lr=0", "optimizer.head_lr=0.05", "trainer.max_epochs=3")


def prompts_run(folder, *overrides: str) -> tuple[int, dict[str, float]]:
    """Train, and return how many prompts the backbone ran before the final validation, with the metrics."""
    module, data, trainer = build(folder, *FROZEN, f"output_dir={folder / 'run'}", "example_prompts=[]", *overrides)
    sizes: list[int] = []
    module.model.model.register_forward_pre_hook(
        lambda _, arguments, named: sizes.append(len(named["input_ids"])), with_kwargs=True
    )
    metrics = train(module, data, trainer)
    return sum(sizes), metrics


def test_the_run_is_the_same_and_each_prompt_runs_once(tmp_path) -> None:
    folders = [tmp_path / name for name in ("each_step", "once")]
    for folder in folders:
        folder.mkdir()
    every, expected = prompts_run(folders[0])
    once, found = prompts_run(folders[1], KEPT)
    assert once == 16 + 6 < every  # training and validation prompts
    losses = [curve(folder / "run") for folder in folders]
    assert losses[1] == pytest.approx(losses[0], abs=1e-5) and losses[0][-1] < losses[0][0]
    assert found["val/log_loss"] == pytest.approx(expected["val/log_loss"], abs=1e-5)


def test_the_checkpoint_ranks_the_prompts_as_the_validation_did(tmp_path) -> None:
    prompts_run(tmp_path, KEPT)
    validated = pd.read_json(tmp_path / "run" / "eval_output.jsonl", lines=True)
    checkpoint = load_checkpoint(tmp_path / "run" / "checkpoint")
    rankings, _ = rank_with_hidden_states(checkpoint, validated["prompt"].tolist(), token_budget=256)
    assert rankings.coefs.numpy() == pytest.approx(np.array(validated["betas"].tolist()), abs=1e-4)


def test_a_trained_backbone_runs_at_every_step(tmp_path) -> None:
    ran, _ = prompts_run(tmp_path, KEPT, "optimizer.lr=0.001")
    assert ran > 3 * 16
