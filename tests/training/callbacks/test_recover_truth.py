"""The recovery of a known truth."""

import pytest

from p2l.composition.build_run import build_run
from p2l.errors import ConfigError
from p2l.training import train
from tests.running import TINY, build, compose, curve

TRUTH = "+callbacks.truth._target_=p2l.training.callbacks.RecoverTruth"


def test_real_votes_are_refused_before_anything_is_trained(tmp_path):
    module, datamodule, trainer = build(tmp_path, TRUTH)
    with pytest.raises(ConfigError, match="only data=simulated has"):
        train(module, datamodule, trainer)
    assert trainer.global_step == 0
    assert not (tmp_path / "run" / "checkpoint").exists()


def test_the_correlations_of_a_simulated_arena_are_logged(tmp_path):
    votes = ["data=simulated", "data.num_models=5", "data.votes_per_prompt=2", "trainer.max_steps=1"]
    cfg = compose(*TINY, *votes, TRUTH, f"output_dir={tmp_path}")
    train(*build_run(cfg))
    logged = curve(tmp_path, "truth/spearman_p2l") + curve(tmp_path, "truth/spearman_marginal")
    assert len(logged) == 2
    assert all(-1 <= value <= 1 for value in logged)
