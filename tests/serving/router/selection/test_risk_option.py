"""``router.risk``: scores are quantiles under the posterior of the P2L model, which it must have."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml

from p2l.errors import ConfigError
from p2l.models import Checkpoint, save_checkpoint
from p2l.models.predictor import predict
from p2l.routing import make_router
from p2l.serving.router.config.load_config import load_config
from p2l.serving.router.config.router_options import RouterOptions
from p2l.serving.router.router_command import main as router_command
from p2l.serving.router.selection.model_check import check_model
from tests.models.test_posterior_file import with_posterior
from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import KEY, Running, chat, model
from tests.waiting import wait_until

NAMES = ("alpha", "beta", "delta")


def running(start: Starter, folder: Path, **router: Any) -> Running:
    fake = start.upstream()
    models = {name: model(fake.url, cost) for name, cost in zip(NAMES, (1.0, 2.0, 4.0), strict=True)}
    return start.router(models, {"router": router}, router_type="random", router_model_path=str(folder))


def asked(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


@pytest.mark.parametrize("more", [{}, {"mean_cost": 3.0}])
def test_scores_are_those_of_the_risk_everywhere(
    start: Starter, tiny_checkpoint: Checkpoint, tmp_path: Path, more: dict[str, float], caplog: Any
) -> None:
    caplog.set_level("INFO")
    checkpoint = with_posterior(tiny_checkpoint)
    server = running(start, save_checkpoint(tmp_path / "sure", checkpoint), risk=0.2, **more)
    posterior = checkpoint.model.head.posterior_head.posterior
    router = make_router("simple-lp", checkpoint.family, np.ones(4), risk=0.2, posterior=posterior)
    for text in ("hi", "a longer prompt"):
        headers = {"authorization": f"Bearer {KEY}"}
        found = httpx.post(f"{server.base}/route", json=asked(text), headers=headers).json()
        expected = router.scores(predict(checkpoint, [text]).map(lambda x: x[0]))
        own = {name: expected[checkpoint.models.index(name)] for name in NAMES}
        assert found["risk"] == 0.2 and found["router_outputs"] == pytest.approx(own, rel=1e-3)
        answer = chat(start.client(server), **asked(text))
        assert answer["x-p2l-risk"] == "0.2"
        assert float(answer["x-p2l-score"]) == pytest.approx(own[answer["x-p2l-model"]], rel=1e-3)
        if not more:
            assert answer["x-p2l-model"] == found["model"] == max(own, key=own.__getitem__)
    (line, *_) = [record for record in caplog.records if record.getMessage() == "answered"]
    assert line.fields["risk"] == 0.2


def test_without_a_posterior_it_is_found_at_the_start_and_refused_later(
    start: Starter, tiny_checkpoint: Checkpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain = save_checkpoint(tmp_path / "plain", tiny_checkpoint)
    sure = save_checkpoint(tmp_path / "sure", with_posterior(tiny_checkpoint))
    config = tmp_path / "with_risk.yaml"
    config.write_text(yaml.safe_dump({"model_configs": {"alpha": model("http://x", 1.0)}, "router": {"risk": 0.1}}))
    arguments = ["--config", str(config), "--api-key", KEY, "--router-model-path"]
    assert router_command([*arguments, str(plain)]) == 2
    assert "router.risk needs a P2L model with a posterior" in caplog.text and "p2l posterior" in caplog.text
    asyncio.run(check_model(RouterOptions(config, router_model_path=str(sure)), load_config(config)))
    endpoint = RouterOptions(config, router_type="grk-endpoint", router_model_endpoint="http://127.0.0.1:1")
    with pytest.raises(ConfigError, match="an endpoint does not send"):
        asyncio.run(check_model(endpoint, load_config(config)))
    server = running(start, plain)
    wanted = yaml.safe_load(server.config_path.read_text()) | {"router": {"risk": 0.1}}
    server.config_path.write_text(yaml.safe_dump(wanted))
    wait_until(lambda: server.container.metrics.reloads.labels("refused")._value.get())
    assert "x-p2l-risk" not in chat(start.client(server), **asked("hi"))


@pytest.mark.parametrize(
    ("router", "why"),
    [
        ({"risk": 0}, "risk must be a quantile above 0 and below 1"),
        ({"risk": 1.5}, "got 1.5"),
        ({"risk": "mean"}, "risk: expected a number; got str"),
        ({"risk": True}, "risk: expected a number; got bool"),
        ({"risk": 0.1, "shrinkage": "s.json"}, "risk goes without shrinkage"),
    ],
)
def test_what_cannot_be_meant_is_an_error_of_the_file(tmp_path: Path, router: dict[str, Any], why: str) -> None:
    path = tmp_path / "router.yaml"
    path.write_text(yaml.safe_dump({"model_configs": {"m": model("http://x", 1.0)}, "router": router}))
    with pytest.raises(ConfigError, match=why):
        load_config(path)
