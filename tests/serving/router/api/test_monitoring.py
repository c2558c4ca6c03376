"""Health and metrics."""

import httpx

from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import Reply, Seen, chat, model
from tests.waiting import wait_until


def test_ready_only_while_prompts_are_scored(start: Starter) -> None:
    """The list of models alone does not make a router ready: the endpoint may have died since, or refuse its key."""
    sound = True

    def endpoint(seen: Seen) -> Reply:
        if seen.path == "/models":
            return Reply(body={"models": ["m"]})
        return Reply(body={"coefs": [1.0], "eta": None}) if sound else Reply(403, {"detail": "Unauthorized"})

    scorer = start.upstream(endpoint)
    options = {"router_type": "bt-endpoint", "router_model_endpoint": scorer.url}
    running = start.router({"m": model(start.upstream().url)}, **options)
    assert httpx.get(f"{running.url}/ready").status_code == 200
    asked = len(scorer.seen)
    assert httpx.get(f"{running.url}/ready").status_code == 200 and len(scorer.seen) == asked  # once a second
    sound = False
    wait_until(lambda: httpx.get(f"{running.url}/ready").status_code != 200)
    answer = httpx.get(f"{running.url}/ready")
    assert (answer.status_code, answer.json()) == (503, {"status": "no scores", "reason": "http_403"})


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
