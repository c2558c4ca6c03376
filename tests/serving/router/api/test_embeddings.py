"""What embeddings cost, and where that is stated."""

from typing import Any

import httpx
import openai
import pytest

from tests.serving.router.accounts.test_money import RICH, THE_RICH
from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import Reply, Running, model
from tests.waiting import wait_until

PRICES = {"input": 1.0, "output": 0.0}
VECTORS: dict[str, Any] = {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.25]}]}


def embedding(start: Starter, usage: Any, budget: float = 100.0, **keys: Any) -> Running:
    answer = VECTORS if usage is None else {**VECTORS, "usage": usage}
    entry = model(start.upstream(lambda seen: Reply(body=answer)).url, **{"cost": 0.0, "prices": PRICES, **keys})
    chats = {"m": model(start.upstream().url)}
    return start.router(
        chats, {"embedding_configs": {"e": entry}, "keys": [{**RICH, "budget": budget}]}, router_type="random"
    )


def embed(running: Running, given: Any) -> httpx.Response:
    body = {"model": "e", "input": given}
    return httpx.post(f"{running.base}/embeddings", json=body, headers=THE_RICH, timeout=30)


@pytest.mark.parametrize(
    ("usage", "given", "right"),
    [
        ({"prompt_tokens": 1000, "total_tokens": 1000}, "x", 1000),
        ({"prompt_tokens": 1000.0}, "x", 1000),
        ({"total_tokens": 700}, "x", 700),
        ({"prompt_tokens": 0, "total_tokens": 0}, "x" * 400, 100),
        (None, "x" * 400, 100),
        (None, ["x" * 400, "y" * 800], 300),
        (None, [1, 2, 3], 3),
        (None, [[1, 2, 3], [4]], 4),
    ],
)
def test_the_cost_is_charged_stated_counted_and_logged(
    start: Starter, usage: Any, given: Any, right: int, caplog: pytest.LogCaptureFixture
) -> None:
    running = embedding(start, usage)
    with caplog.at_level("INFO", "p2l.serving.router"):
        answer = embed(running, given)
    assert float(answer.headers["x-p2l-cost"]) * 1e6 == pytest.approx(right)
    wait_until(lambda: running.spent() * 1e6 == pytest.approx(right))
    shown = httpx.get(f"{running.url}/metrics").text
    assert f'p2l_router_cost_total{{model="e"}} {right / 1e6}' in shown
    (line,) = [record.fields for record in caplog.records if record.message == "embedded"]  # type: ignore[attr-defined]
    assert (line["key"], line["model"]) == ("rich", "e") and line["cost"] == pytest.approx(right / 1e6)


def test_a_batch_that_a_budget_does_not_pay_for_is_not_sent(start: Starter) -> None:
    running = embedding(start, None, budget=0.001)
    assert embed(running, "x" * 4000).status_code == 200
    client = start.client(running, str(RICH["key"]))
    with pytest.raises(openai.RateLimitError, match="budget"):
        client.embeddings.create(model="e", input="x" * 4000)


def test_without_prices_an_input_costs_what_is_configured(start: Starter) -> None:
    running = embedding(start, {"prompt_tokens": 1000}, cost=2.0, prices=None)
    assert embed(running, "x").headers["x-p2l-cost"] == "2"
