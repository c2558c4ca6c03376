"""Names: unknown ones in requests, mistyped ones in the configuration."""

from typing import Any

import httpx
import openai
import pytest

from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import HELLO, KEY, Reply, chat, model

STRICT = {"router": {"strict_models": True, "aliases": ["best"]}}


@pytest.mark.parametrize("path", ["chat/completions", "route"])
def test_a_misspelt_model_is_not_routed(start: Starter, path: str) -> None:
    running = start.router({"gpt-4o-mini": model(start.upstream().url)}, STRICT)

    def ask(name: Any) -> httpx.Response:
        body = {"model": name, "messages": HELLO}
        return httpx.post(f"{running.base}/{path}", json=body, headers={"authorization": f"Bearer {KEY}"})

    assert [ask(name).status_code for name in ("gpt-4o-mini", "best", "-", None)] == [200] * 4
    for name in ("gpt-4o-mni", "p2l-router", "", "Best"):
        error = ask(name).json()["error"]
        assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert "did you mean 'gpt-4o-mini'?" in ask("gpt-4o-mni").json()["error"]["message"]
    assert "did you mean 'best'?" in ask("Best").json()["error"]["message"]


def test_without_the_option_any_name_is_routed(start: Starter) -> None:
    running = start.router({"gpt-4o-mini": model(start.upstream().url)})
    assert chat(start.client(running), model="gpt-4o-mni")["x-p2l-reason"] == "routed"


def test_a_suggestion_names_no_model_that_the_key_may_not_use(start: Starter) -> None:
    keys = [{"name": "narrow", "key": "sk-narrow-0000", "models": ["other"]}]
    models = {"gpt-4o-mini": model(start.upstream().url), "other": model(start.upstream().url)}
    running = start.router(models, {**STRICT, "keys": keys})
    with pytest.raises(openai.NotFoundError) as error:
        chat(start.client(running, "sk-narrow-0000"), model="gpt-4o-mni")
    assert "mini" not in error.value.message


def test_a_mistyped_model_of_the_configuration_is_a_warning_with_near_names(
    start: Starter, caplog: pytest.LogCaptureFixture
) -> None:
    scorer = start.scorer({"gpt-4o-mini": 1.0, "gpt-4o": 2.0})
    fake = start.upstream()
    running = start.router(
        {"gpt-4o": model(fake.url), "gpt-4o-mimi": model(fake.url)},
        router_type="bt-endpoint",
        router_model_endpoint=scorer.url,
    )
    chat(start.client(running)), chat(start.client(running))
    warned = [record for record in caplog.records if "reached by direct_model only" in record.message]
    assert [(record.levelname, record.fields) for record in warned] == [
        ("WARNING", {"models": {"gpt-4o-mimi": ["gpt-4o-mini", "gpt-4o"]}})
    ]


def test_an_opponent_that_the_p2l_model_does_not_rank_is_an_error(
    start: Starter, caplog: pytest.LogCaptureFixture
) -> None:
    opponents = {"router": {"opponents": {"gpt-4o-mni": 1.0}}}
    running = start.router({"gpt-4o-mini": model(start.upstream().url)}, opponents, cost_optimizer="optimal-lp")
    ready = httpx.get(f"{running.url}/ready")
    assert (ready.status_code, ready.json()["reason"]) == (503, "unfit_configuration")
    assert "router.opponents.gpt-4o-mni" in caplog.text and "did you mean 'gpt-4o-mini'?" in caplog.text


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("chat/completions", {"messages": HELLO, "direct_model": "gpt-4o-mni"}, "direct_model"),
        ("route", {"messages": HELLO, "direct_model": "GPT-4o-mini"}, "direct_model"),
        ("responses", {"input": "hi", "direct_model": "gpt-4o-mni"}, "direct_model"),
        ("models/gpt-4o-mni", None, "model"),
        ("embeddings", {"input": "x", "model": "text-embeding"}, "model"),
    ],
)
def test_a_mistyped_model_of_a_request_is_an_error_with_near_names(
    start: Starter, path: str, body: Any, param: str
) -> None:
    keys = [{"name": "narrow", "key": "sk-narrow-0000", "models": ["other"]}]
    url = start.upstream().url
    able = {"capabilities": {"responses": True}}
    models = {"gpt-4o-mini": model(url, **able), "other": model(url, **able)}
    running = start.router(models, {"keys": keys, "embedding_configs": {"text-embedding": model(url)}})

    def ask(key: str) -> Any:
        headers = {"authorization": f"Bearer {key}"}
        answer = httpx.request("GET" if body is None else "POST", f"{running.base}/{path}", json=body, headers=headers)
        assert answer.status_code == 404
        return answer.json()["error"]

    error = ask(KEY)
    near = "text-embedding" if path == "embeddings" else "gpt-4o-mini"
    assert f"did you mean '{near}'?" in error["message"]
    assert (error["param"], error["code"]) == (param, "model_not_found")
    assert path == "embeddings" or "did you mean" not in ask("sk-narrow-0000")["message"]


def test_a_model_that_is_no_longer_there_is_not_the_clients_typing_error(start: Starter) -> None:
    fake = start.upstream(lambda seen: Reply(body={"id": "resp_1", "output": []}))
    able = {"capabilities": {"responses": True}}
    running = start.router({"old": model(fake.url, **able), "new": model(fake.url, **able)})
    start.client(running).responses.create(model="old", input="hi")
    running.container.responses.keep("default", "resp_1", "gone", 60.0)
    with pytest.raises(openai.NotFoundError, match="previous_response_id: 'gone' is not one of"):
        start.client(running).responses.create(model="-", input="hi", previous_response_id="resp_1")
