"""The routing curve at the end of a run."""

from p2l.config import build_run
from p2l.training import train
from tests.running import TINY, compose, curve

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
