"""The routing curve at the end of a run."""

import numpy as np
import pandas as pd
import pytest

from p2l.composition.build_run import build_run
from p2l.data.readers import read_table
from p2l.training import train
from tests.running import TINY, Run, compose, curve, run, write_votes

ROUTING = (
    "+callbacks.routing._target_=p2l.training.callbacks.RoutingCurve",
    "+callbacks.routing.folder=${output_dir}",
    "+callbacks.routing.num_budgets=3",
)
SIMULATED = ("data=simulated", "data.num_models=4", "data.votes_per_prompt=2", "trainer.max_steps=1")


def test_areas_and_qualities_are_logged_and_drawn(tmp_path):
    cfg = compose(*TINY, *SIMULATED, *ROUTING, "+callbacks.routing.costs={}", f"output_dir={tmp_path}")
    models = build_run(cfg)[1].models
    cfg.callbacks.routing.costs = {model: 10.0**i for i, model in enumerate(models)}
    train(*build_run(cfg))
    for name in ("stream", "per-prompt LP", "strict", "batch", "single mixture", "best single"):
        assert all(0 <= value <= 1 for value in curve(tmp_path, f"routing/quality/{name}")), name
        assert len(curve(tmp_path, f"routing/area/{name}")) == 1
    assert (tmp_path / "routing.png").read_bytes().startswith(b"\x89PNG")


def run_on(folder, val: pd.DataFrame, costs: dict[str, float]) -> Run:
    """Train one step on the votes of ``folder``; validate and test on ``val``."""
    val.to_json(folder / "val.jsonl", orient="records", lines=True)
    priced = ",".join(f"{model}:{cost}" for model, cost in costs.items())
    costed = f"+callbacks.routing.costs={{{priced}}}"
    return run(folder, *ROUTING, costed, "data.test=${data.val}", "trainer.max_steps=1", "callbacks=none")


@pytest.fixture
def votes(tmp_path) -> pd.DataFrame:
    return read_table(str(write_votes(tmp_path / "votes.jsonl")))


def test_an_llm_without_validation_votes_is_left_out(tmp_path, votes, caplog):
    """The cheapest one: the lowest budget would choose it alone."""
    models = sorted({*votes["model_a"], *votes["model_b"]})
    val = votes[(votes["model_a"] != models[0]) & (votes["model_b"] != models[0])]
    finished = run_on(tmp_path, val, {model: 10.0**i for i, model in enumerate(models)})
    assert f"omits LLMs without validation votes: {models[0]}" in caplog.text
    assert len(curve(finished.folder, "routing/area/stream")) == 1
    assert (finished.folder / "test_report.json").exists()


def test_one_llm_that_is_left_draws_nothing(tmp_path, votes, caplog):
    models = sorted({*votes["model_a"], *votes["model_b"]})
    val = votes[(votes["model_a"] != models[0]) & (votes["model_b"] != models[0])]
    finished = run_on(tmp_path, val, {models[0]: 1.0, models[1]: 10.0})
    assert "needs two LLMs with a cost and validation votes; there are 1" in caplog.text
    assert not (finished.folder / "routing.png").exists()
    assert (finished.folder / "test_report.json").exists()


def test_unknown_answers_do_not_end_a_run(tmp_path, votes, caplog, monkeypatch):
    """Each of two LLMs has votes only on prompts for which the other is chosen."""
    cheap, dear, other = sorted({*votes["model_a"], *votes["model_b"]})[:3]
    rows = [("one", cheap), ("two", dear)]
    val = pd.DataFrame([{"prompt": p, "model_a": m, "model_b": other, "winner": "model_a"} for p, m in rows])
    chosen = np.array([[0.0, 1.0], [1.0, 0.0]])
    monkeypatch.setattr("p2l.training.callbacks.routing_curve.route_scores", lambda *_: chosen)
    finished = run_on(tmp_path, val, {cheap: 1.0, dear: 10.0})
    assert "no answer that it chose has a known score" in caplog.text
    assert not (finished.folder / "routing.png").exists()
    assert (finished.folder / "test_report.json").exists()
