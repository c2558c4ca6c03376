"""``router.erase_tail``: a string at the end of a prompt does not buy a dear model; one elsewhere still does."""

from typing import Any

import httpx
import pytest

from p2l.errors import ConfigError
from p2l.serving.router.config.router_config import RouterConfig
from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import KEY, Reply, Running, Seen, chat, model

STRING = "xyzzy plugh"
QUESTION = "Please tell me what the capital of France is."


def scores(seen: Seen) -> Reply:
    """The cheap model is the better one, unless the string stands in the last turn. Costs fall with it as well."""
    facts = {"unit": "dollars", "mean": {"dear": 8.0, "cheap": 1.0}, "bound": {"dear": 2.0, "cheap": 2.0}}
    if seen.path == "/models":
        return Reply(body={"models": ["dear", "cheap"], "family": "bt", "costs": facts})
    hit = STRING in seen.body["prompt"][-1]
    return Reply(body={"coefs": [9.0 if hit else -1.0, 0.0], "eta": None, "costs": [0.5 if hit else 8.0, 1.0]})


def running(start: Starter, cost: Any = None, **router: Any) -> Running:
    fake, scorer = start.upstream(), start.upstream(scores)
    models = {"dear": model(fake.url, cost or 8.0), "cheap": model(fake.url, cost or 1.0)}
    options = {"router_type": "bt-endpoint", "router_model_endpoint": scorer.url}
    return start.router(models, {"router": router}, **options)


def asked(text: str, *before: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": turn} for turn in (*before, text)]}


@pytest.mark.parametrize("cost", [None, "predicted"])
@pytest.mark.parametrize("stream", [{}, {"mean_cost": 7.0}])
def test_a_string_at_the_end_does_not_buy_the_dear_model(start: Starter, stream: dict[str, Any], cost: Any) -> None:
    attacked = asked(f"{QUESTION} {STRING}", "Hello.")
    client = start.client(running(start, cost, **stream))
    assert "dear" in [chat(client, **attacked)["x-p2l-model"] for _ in range(5)]
    client = start.client(running(start, cost, erase_tail=20, **stream))
    answers = [chat(client, **attacked) for _ in range(5)]
    assert {answer["x-p2l-model"] for answer in answers} == {"cheap"}
    assert (answers[-1]["x-p2l-tail-erased"], answers[-1]["x-p2l-score"]) == ("true", "0")  # of the deciding reading
    clean = chat(client, **asked(QUESTION, "Hello."))
    assert clean["x-p2l-model"] == "cheap" and "x-p2l-tail-erased" not in clean
    in_front = asked(f"{STRING} {QUESTION}")
    assert "dear" in [chat(client, **in_front)["x-p2l-model"] for _ in range(5)]


def test_a_budget_of_the_request_counts_both_readings(start: Starter) -> None:
    server = running(start, "predicted", erase_tail=20)
    headers, body = {"authorization": f"Bearer {KEY}"}, {**asked(f"{QUESTION} {STRING}"), "cost": 4.0}
    found = httpx.post(f"{server.base}/route", json=body, headers=headers).json()
    assert found["model"] == "cheap" and found["tail_erased"] is True
    assert found["expected_cost"] == 1.0 and found["candidates"] == [{"model": "cheap", "cost": 1.0}]


def test_both_readings_are_asked_at_once_and_kept(start: Starter) -> None:
    fake, scorer = start.upstream(), start.upstream(scores)
    models = {"dear": model(fake.url, 8.0), "cheap": model(fake.url, 1.0)}
    options = {"router_type": "bt-endpoint", "router_model_endpoint": scorer.url}
    client = start.client(start.router(models, {"router": {"erase_tail": 8}}, **options))
    chat(client, **asked(QUESTION))
    texts = [seen.body["prompt"] for seen in scorer.seen if seen.path == "/predict"]
    assert sorted(texts, key=lambda turns: len(turns[-1])) == [[QUESTION[:-8]], [QUESTION]]


@pytest.mark.parametrize("wrong", [0, -3])
def test_a_length_of_the_tail_is_checked(wrong: int) -> None:
    with pytest.raises(ConfigError, match=f"erase_tail must be a whole number, at least 1; got {wrong}"):
        RouterConfig(erase_tail=wrong)
