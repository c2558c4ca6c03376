"""Health and metrics."""

import httpx

from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import chat, model


def test_health_and_metrics(start: Starter) -> None:
    fake = start.upstream()
    running = start.router({"m": model(fake.url, 2.5)})
    chat(start.client(running))
    assert httpx.get(f"{running.url}/health").json() == {"status": "ok"}
    assert httpx.get(f"{running.url}/ready").json() == {"status": "ok"}
    text = httpx.get(f"{running.url}/metrics").text
    assert 'p2l_router_requests_total{route="/v1/chat/completions",status="200"} 1.0' in text
    assert 'p2l_router_choices_total{model="m"} 1.0' in text and 'p2l_router_cost_total{model="m"} 2.5' in text
    assert 'p2l_router_tokens_total{kind="prompt_tokens",model="m"} 9.0' in text
