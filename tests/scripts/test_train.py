"""The training script as a user calls it."""

import pytest

from tests.running import HEADS, TINY, on_votes, run_process, run_script

pytestmark = pytest.mark.slow


def test_help_lists_the_choices():
    status, output = run_process("--help")
    assert status == 0
    assert f"head: {', '.join(HEADS)}" in output
    assert "trainer: auto, cpu, ddp" in output


def test_a_sweep_runs_its_jobs_one_after_the_other_and_apart(tmp_path):
    options = [*TINY, *on_votes(tmp_path), "trainer.max_steps=1", "logger=wandb", "callbacks=none"]
    sweep = ["model.scratch.hidden_size=16,32", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    status, output = run_script("-m", *options, *sweep)
    assert status == 0, output
    for job, width in (("0", 16), ("1", 32)):
        folder = tmp_path / "sweep" / job
        assert f'"hidden_size": {width}' in (folder / "checkpoint" / "config.json").read_text()
        assert (folder / "eval_output.jsonl").exists()
        assert len(list(folder.glob("wandb/offline-run-*"))) == 1


def test_a_run_is_not_noisy(tmp_path):
    options = [*TINY, *on_votes(tmp_path), "trainer.max_steps=1", f"output_dir={tmp_path / 'run'}"]
    status, output = run_process(*options)
    assert status == 0, output
    output = output.replace("Warning: this model is not better than one leaderboard", "")  # one step: true and wanted
    for noise in ("Tip", "GPU available", "TPU", "Warning", "deprecated", "kernels", "Model weights successfully"):
        assert noise not in output
    assert "checkpoint:" in output
