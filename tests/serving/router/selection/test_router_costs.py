"""``cost: predicted``: the router's decisions, holds, charges and errors, over HTTP."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import yaml

from p2l.errors import ConfigError
from p2l.models import Checkpoint, save_checkpoint
from p2l.models.predictor import predict
from p2l.serving.router.config.load_config import load_config
from p2l.serving.router.config.router_options import RouterOptions
from p2l.serving.router.router_command import main as router_command
from p2l.serving.router.selection.model_check import check_model
from tests.models.test_cost_file import with_costs
from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import KEY, Reply, Running, Seen, chat, model
from tests.waiting import wait_until

FACTS = {"unit": "dollars", "mean": {"good": 5.0, "cheap": 1.0}, "bound": {"good": 2.0, "cheap": 1.5}}
KEYS = [{"name": "one", "key": "sk-one-000000", "budget": 12.0}]


def endpoint(facts: dict[str, Any] | None = FACTS, **of_prompt: list[float | None]):
    """A P2L endpoint: ``good`` always wins; its cost depends on the prompt."""

    def answer(seen: Seen) -> Reply:
        costs = {} if facts is None else {"costs": facts}
        if seen.path == "/models":
            return Reply(body={"models": ["good", "cheap"], "family": "bt", **costs})
        predicted = of_prompt.get(seen.body["prompt"][-1].split()[0], [4.0, 1.0])
        return Reply(body={"coefs": [1.0, 0.0], "eta": None, **({"costs": predicted} if costs else {})})

    return answer


def running(start: Starter, answer=None, rest: dict[str, Any] | None = None, **costs: Any) -> Running:
    costs = {"good": "predicted", "cheap": "predicted"} | costs
    fake = start.upstream()
    scorer = start.upstream(answer or endpoint(long=[9.0, 1.0], short=[2.0, 1.0]))
    options = {"router_type": "bt-endpoint", "router_model_endpoint": scorer.url, "cost_optimizer": "strict"}
    return start.router({name: model(fake.url, cost) for name, cost in costs.items()}, rest, **options)


def asked(text: str, **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **fields}


def test_the_budget_is_compared_with_the_cost_of_the_prompt(start: Starter) -> None:
    client = start.client(running(start))
    short = chat(client, **asked("short one"), extra_body={"cost": 3.0})
    long = chat(client, **asked("long one"), extra_body={"cost": 3.0})
    assert (short["x-p2l-model"], short["x-p2l-estimated-cost"], short["x-p2l-cost"]) == ("good", "2", "2")
    assert (long["x-p2l-model"], long["x-p2l-cost"]) == ("cheap", "1")
    with pytest.raises(openai.BadRequestError, match="the cheapest is cheap, at 1"):
        chat(client, **asked("long one"), extra_body={"cost": 0.5})
    twice = chat(client, **asked("short one", n=2), extra_body={"cost": 6.0})
    assert (twice["x-p2l-model"], twice["x-p2l-expected-cost"]) == ("good", "4")


def test_a_stream_budget_spends_on_cheap_prompts(start: Starter) -> None:
    server = running(start, rest={"router": {"mean_cost": 1.5}})
    client = start.client(server)
    chosen = [chat(client, **asked(text))["x-p2l-model"] for text in ["short", "long"] * 20]
    good = [text for text, name in zip(["short", "long"] * 20, chosen, strict=True) if name == "good"]
    assert good.count("short") > 12 and good.count("long") < 4


def test_the_preview_shows_predicted_costs(start: Starter) -> None:
    server = running(start)
    headers = {"authorization": f"Bearer {KEY}"}
    found = httpx.post(f"{server.base}/route", json=asked("long one"), headers=headers).json()
    assert found["candidates"] == [{"model": "good", "cost": 9.0}, {"model": "cheap", "cost": 1.0}]


def test_a_key_holds_the_bound_and_pays_the_prediction(start: Starter) -> None:
    held: list[float] = []

    def answer(seen: Seen) -> Reply:
        held.append(server.spent())
        return Reply(body={"choices": [{"index": 0, "message": {"content": "x"}, "finish_reason": "stop"}]})

    scorer = start.upstream(endpoint(long=[9.0, 1.0], short=[2.0, 1.0]))
    upstream = start.upstream(answer)
    models = {name: model(upstream.url, "predicted") for name in ("good", "cheap")}
    options = {"router_type": "bt-endpoint", "router_model_endpoint": scorer.url}
    server = start.router(models, {"keys": KEYS}, **options)
    client = start.client(server, "sk-one-000000")
    assert chat(client, **asked("short"))["x-p2l-model"] == "good"
    assert held == [4.0] and wait_until(lambda: server.spent() == 2.0) is None
    fell_back = chat(client, **asked("long"))  # 2 + 9 x 2 would exceed the budget of 12
    assert (fell_back["x-p2l-model"], fell_back["x-p2l-reason"]) == ("cheap", "key-budget")
    assert held[1] == 3.5 and server.spent() == 3.0


def test_without_a_scored_prompt_the_mean_counts(start: Starter) -> None:
    client = start.client(running(start))
    direct = chat(client, **asked("short"), extra_body={"direct_model": "good"})
    assert (direct["x-p2l-reason"], direct["x-p2l-cost"]) == ("direct", "5")
    with pytest.raises(openai.BadRequestError, match="at 5"):
        chat(client, **asked("short"), extra_body={"direct_model": "good", "cost": 4.0})
    session = {"x-p2l-session": "s"}
    first = chat(client, **asked("short"), extra_headers=session)
    second = chat(client, **asked("short"), extra_headers=session)
    assert (first["x-p2l-cost"], second["x-p2l-cost"], second["x-p2l-reason"]) == ("2", "5", "session")


def test_a_cost_is_not_guessed_while_the_endpoint_is_down(start: Starter) -> None:
    server = running(start, lambda seen: Reply(500, {}), {"router": {"default_model": "cheap"}})
    client = start.client(server)
    for fields in ({}, {"direct_model": "good"}):
        with pytest.raises(openai.InternalServerError) as error:
            chat(client, **asked("short"), extra_body=fields)
        assert error.value.status_code == 503
    fixed = running(
        start, lambda seen: Reply(500, {}), {"router": {"default_model": "cheap", "cost_unit": "dollars"}}, cheap=1.0
    )
    assert chat(start.client(fixed), **asked("short"))["x-p2l-reason"] == "default"


@pytest.mark.parametrize("costs", ["[1]", "[1, -1]", "[1, 0]", '[1, "2"]', "[1, true]", "[1, 1e39]", "7", "null"])
def test_costs_that_cannot_be_paid_are_malformed(start: Starter, costs: str) -> None:
    def answer(seen: Seen) -> Reply:
        if seen.path == "/models":
            return endpoint()(seen)
        return Reply(body=f'{{"coefs": [1, 0], "eta": null, "costs": {costs}}}'.encode())

    with pytest.raises(openai.InternalServerError, match="could not be scored"):
        chat(start.client(running(start, answer)), **asked("short"))


@pytest.mark.parametrize(
    ("facts", "costs", "router", "why"),
    [
        (None, {}, {}, "model_configs.cheap: the cost is to be predicted, and the P2L model predicts no costs"),
        ({**FACTS, "mean": {"good": 1.0}, "bound": {"good": 1.0}}, {}, {}, "model_configs.cheap: .* predicts no cost"),
        (FACTS, {"cheap": 1.0}, {"cost_unit": "cents"}, "router.cost_unit is 'cents'.*'dollars'"),
        (FACTS, {}, {"cost_unit": "cents"}, "router.cost_unit is 'cents'.*'dollars'"),
    ],
)
def test_costs_that_are_not_predicted_are_found_at_the_start(
    start: Starter, facts: dict[str, Any] | None, costs: dict[str, float], router: dict[str, str], why: str
) -> None:
    server = running(start, endpoint(facts), good=1.0, cheap=1.0)
    wanted = yaml.safe_load(server.config_path.read_text())
    wanted["router"] = router
    for name, entry in wanted["model_configs"].items():
        entry["cost"] = costs.get(name, "predicted")
    server.config_path.write_text(yaml.safe_dump(wanted))
    with pytest.raises(ConfigError, match=why):
        asyncio.run(check_model(server.container.options, load_config(server.config_path)))
    wait_until(lambda: server.container.metrics.reloads.labels("refused")._value.get())
    assert chat(start.client(server), **asked("short"))["x-p2l-cost"] == "1"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"good": 1.0}, "the cost of cheap is predicted and that of good is a number; .* router.cost_unit"),
        ({"good": "predict"}, "cost: expected a number; got str"),
        ({"good": None}, "expected a number; got nothing"),
        ({"good": -1.0}, "cost must be a finite number of 0 or more"),
    ],
)
def test_configurations_that_cannot_be_meant(
    tmp_path: Path, change: dict[str, Any], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    costs = {"good": "predicted", "cheap": "predicted"} | change
    path = tmp_path / "router.yaml"
    path.write_text(yaml.safe_dump({"model_configs": {name: model("http://x", cost) for name, cost in costs.items()}}))
    with pytest.raises(ConfigError, match=why):
        load_config(path)
    assert router_command(["--config", str(path), "--check-config"]) != 0


def test_embeddings_have_no_predicted_cost(tmp_path: Path) -> None:
    path = tmp_path / "router.yaml"
    embeddings = {"e": model("http://x", "predicted")}
    path.write_text(yaml.safe_dump({"model_configs": {"m": model("http://x")}, "embedding_configs": embeddings}))
    with pytest.raises(ConfigError, match="the cost of embeddings is not predicted"):
        load_config(path)


def test_another_model_of_the_endpoint_brings_its_own_costs(start: Starter) -> None:
    served = {"name": "aaaa.1", "facts": FACTS, "costs": [2.0, 1.0]}

    def answer(seen: Seen) -> Reply:
        headers = {"x-p2l-model": served["name"]}
        if seen.path == "/models":
            return Reply(body={"models": ["good", "cheap"], "family": "bt", "costs": served["facts"]}, headers=headers)
        return Reply(body={"coefs": [1.0, 0.0], "eta": None, "costs": served["costs"]}, headers=headers)

    client = start.client(running(start, answer))
    assert chat(client, **asked("x"))["x-p2l-cost"] == "2"
    served |= {"name": "bbbb.2", "facts": FACTS | {"mean": {"good": 50.0, "cheap": 10.0}}, "costs": [20.0, 10.0]}
    assert chat(client, **asked("y"))["x-p2l-cost"] == "20"
    assert chat(client, **asked("y"), extra_body={"direct_model": "good"})["x-p2l-cost"] == "50"


def test_a_checkpoint_without_costs_is_found_before_the_router_serves(
    tiny_checkpoint: Checkpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain = save_checkpoint(tmp_path / "plain", tiny_checkpoint)
    priced = save_checkpoint(tmp_path / "priced", with_costs(tiny_checkpoint))
    config = tmp_path / "router.yaml"
    config.write_text(yaml.safe_dump({"model_configs": {name: model("http://x", "predicted") for name in ("alpha",)}}))
    arguments = ["--config", str(config), "--api-key", KEY, "--router-model-path"]
    assert router_command([*arguments, str(plain)]) == 2
    assert "the P2L model predicts no costs" in caplog.text
    options = RouterOptions(config, router_model_path=str(priced))
    asyncio.run(check_model(options, load_config(config)))


def test_a_model_in_the_router_predicts_costs(start: Starter, tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "priced", with_costs(tiny_checkpoint))
    upstream = start.upstream()
    models = {name: model(upstream.url, "predicted") for name in ("alpha", "beta", "delta")}
    server = start.router(models, router_type="random", router_model_path=str(folder))
    for text in ("hi", "a longer prompt"):
        found = chat(start.client(server), **asked(text))
        ranking = predict(tiny_checkpoint, [text])
        place = tiny_checkpoint.models.index(found["x-p2l-model"])
        assert float(found["x-p2l-cost"]) == pytest.approx(float(ranking.costs[0, place]), rel=1e-3)
