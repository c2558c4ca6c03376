"""A shrinkage file in the configuration: every decision uses its scores, and mistakes are reported."""

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
import yaml
from scipy.special import expit

from p2l.errors import ConfigError
from p2l.routing.cost_optimizer import Optimizer
from p2l.routing.shrinkage import Shrinkage
from p2l.serving.router.router_command import main
from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import HELLO, KEY, Running, chat, model
from tests.waiting import wait_until

COEFS = {"dear": 0.0, "elsewhere": 2.0, "cheap": 1.0}  # of every prompt; on other prompts dear was better
FORMS: tuple[Optimizer, ...] = ("strict", "simple-lp", "optimal-lp")


def general(folder: Path, optimizer: Optimizer, dear: float = 0.9, slope: float = 0.0) -> str:
    """A file of two LLMs; the cheap one was right on half of the prompts."""
    path = folder / "shrinkage.json"
    prior, center = np.array([dear, 0.5]), np.array([0.5, 0.5])
    Shrinkage(optimizer, ("dear", "cheap"), prior, center, slope * np.eye(2)).save(path)
    return str(path)


def running(start: Starter, rest: dict[str, Any], **options: Any) -> Running:
    fake = start.upstream()
    models = {"dear": model(fake.url, 3.0), "cheap": model(fake.url, 1.0)}
    url = start.scorer(COEFS).url
    return start.router(models, rest, router_type="bt-endpoint", router_model_endpoint=url, **options)


def preview(router: Running, **fields: Any) -> dict[str, Any]:
    body, headers = {"messages": HELLO, **fields}, {"authorization": f"Bearer {KEY}"}
    found: dict[str, Any] = httpx.post(f"{router.base}/route", json=body, headers=headers).json()
    return found


@pytest.mark.parametrize("optimizer", FORMS)
def test_every_optimiser_goes_by_the_shrunk_scores(start: Starter, tmp_path: Path, optimizer: Optimizer) -> None:
    plain = running(start, {}, cost_optimizer=optimizer)
    assert preview(plain)["model"] == "cheap" and preview(plain)["router_outputs"] == {"dear": 0.0, "cheap": 1.0}
    rest = {"router": {"shrinkage": general(tmp_path, optimizer), "seed": 0}}
    shrunk = running(start, rest, cost_optimizer=optimizer)
    assert preview(shrunk)["model"] == "dear" and preview(shrunk)["router_outputs"] == {"dear": 0.9, "cheap": 0.5}
    assert [entry["model"] for entry in preview(shrunk)["candidates"]] == ["dear", "cheap"]
    assert preview(shrunk, cost=1.0)["model"] == "cheap"
    half = preview(shrunk, cost=2.0)
    assert half["expected_score"] == pytest.approx(0.5 if optimizer == "strict" else 0.7)
    assert half["shadow_price"] == pytest.approx(0.2)
    headers = chat(start.client(shrunk))
    assert (headers["x-p2l-model"], headers["x-p2l-score"]) == ("dear", "0.9")


def test_a_slope_takes_part_of_what_the_prompt_says(start: Starter, tmp_path: Path) -> None:
    rest = {"router": {"shrinkage": general(tmp_path, "optimal-lp", slope=0.5)}}
    found = preview(running(start, rest, cost_optimizer="optimal-lp"))["router_outputs"]
    coefs = np.array(list(COEFS.values()))
    wins = dict(zip(COEFS, expit(coefs[:, None] - coefs).mean(axis=1)))
    assert found["dear"] == pytest.approx(0.9 + 0.5 * (wins["dear"] - 0.5))
    assert found["cheap"] == pytest.approx(0.5 + 0.5 * (wins["cheap"] - 0.5))


def test_the_stream_goes_by_them_too(start: Starter, tmp_path: Path) -> None:
    rest = {"router": {"shrinkage": general(tmp_path, "optimal-lp"), "mean_cost": 2.0}}
    client = start.client(running(start, rest, cost_optimizer="optimal-lp"))
    answers = [chat(client) for _ in range(60)]
    assert {answer["x-p2l-reason"] for answer in answers} == {"stream"}
    assert 1.7 < sum(float(answer["x-p2l-cost"]) for answer in answers) / 60 < 2.3
    spent = [answer["x-p2l-model"] for answer in answers].count("dear")
    assert 20 < spent < 40


@pytest.mark.parametrize(
    ("router", "optimizer", "expected"),
    [
        ({"shrinkage": "none.json"}, "simple-lp", "none.json cannot be read"),
        ({}, "simple-lp", "lacks other of model_configs; it has dear, cheap"),
        ({}, "optimal-lp", "fitted to scores of simple-lp; the router's are of optimal-lp"),
    ],
)
def test_mistakes_are_reported(
    start: Starter,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    router: dict[str, str],
    optimizer: Optimizer,
    expected: str,
) -> None:
    models = {name: model("http://nowhere") for name in ("dear", "cheap", *(["other"] if "lacks" in expected else []))}
    config = {"model_configs": models, "router": {"shrinkage": general(tmp_path, "simple-lp"), **router}}
    with pytest.raises(ConfigError, match=expected):
        start.router(models, {"router": config["router"]}, router_type="random", cost_optimizer=optimizer)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    arguments = ["-c", str(tmp_path / "config.yaml"), "--check-config", "--cost-optimizer", optimizer]
    assert main(arguments) == 2 and expected in caplog.text


def test_win_rates_against_chosen_opponents_are_others(start: Starter, tmp_path: Path) -> None:
    router = {"shrinkage": general(tmp_path, "optimal-lp"), "opponents": {"dear": 1.0}}
    with pytest.raises(ConfigError, match="leave out opponents"):
        running(start, {"router": router}, cost_optimizer="optimal-lp")


def test_a_p2l_model_that_does_not_rank_what_the_file_needs(start: Starter, tmp_path: Path) -> None:
    url, fake = start.scorer({"dear": 1.0}).url, start.upstream()
    rest = {"router": {"shrinkage": general(tmp_path, "simple-lp")}}
    router = start.router(
        {"dear": model(fake.url)}, rest, router_type="bt-endpoint", router_model_endpoint=url, cost_optimizer="strict"
    )
    with pytest.raises(openai.APIStatusError, match="could not be scored"):
        chat(start.client(router))
    assert httpx.get(f"{router.url}/ready").json() == {"status": "no scores", "reason": "unfit_configuration"}


def test_a_new_file_is_used_and_a_broken_one_is_not(start: Starter, tmp_path: Path) -> None:
    path = general(tmp_path, "simple-lp")
    router = running(start, {"router": {"shrinkage": path}})
    assert preview(router)["router_outputs"]["dear"] == 0.9
    Path(path).write_text("{")
    wait_until(lambda: b'reloads_total{result="refused"}' in router.container.metrics.exposition())
    assert preview(router)["router_outputs"]["dear"] == 0.9
    general(tmp_path, "simple-lp", dear=0.3)
    wait_until(lambda: preview(router)["router_outputs"]["dear"] == 0.3)
    assert preview(router)["model"] == "cheap"
