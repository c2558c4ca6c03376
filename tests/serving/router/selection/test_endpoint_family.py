"""The family that an endpoint tells is that of its scores; a router of another type refuses it."""

from typing import Any

import httpx
import pytest

from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import Reply, Running, Seen, chat, model


def running_on(start: Starter, kind: str, **told: Any) -> Running:
    def endpoint(seen: Seen) -> Reply:
        if seen.path == "/models":
            return Reply(body={"models": ["m"], **told})
        return Reply(body={"coefs": [0.0], "eta": 0.5})

    options = {"router_type": kind, "router_model_endpoint": start.upstream(endpoint).url}
    return start.router({"m": model(start.upstream().url)}, **options)


@pytest.mark.parametrize(
    ("kind", "family", "fits"),
    [
        ("bt-endpoint", "bt", True),
        ("bt-endpoint", "bt-tie", True),
        ("bt-endpoint", "rk", True),
        ("bt-endpoint", "grk", False),
        ("grk-endpoint", "grk", True),
        ("bag-endpoint", "ba", True),
        ("grk-endpoint", "bt", False),
        ("grk-endpoint", "rk", False),
        ("grk-endpoint", "unheard-of", False),
        ("grk-endpoint", 5, False),
    ],
)
def test_a_router_of_another_type_refuses_an_endpoint(
    start: Starter, kind: str, family: Any, fits: bool, caplog: pytest.LogCaptureFixture
) -> None:
    running = running_on(start, kind, family=family)
    ready = httpx.get(f"{running.url}/ready")
    if fits:
        assert ready.status_code == 200 and chat(start.client(running))["x-p2l-model"] == "m"
        assert running.container.scorer.family.name == family
    else:
        assert (ready.status_code, ready.json()["reason"]) == (503, "wrong_family")
        assert "the endpoint's family is not that of --router-type" in caplog.text


def test_a_published_endpoint_does_not_tell_and_the_log_says_so_once(
    start: Starter, caplog: pytest.LogCaptureFixture
) -> None:
    running = running_on(start, "grk-endpoint")
    client = start.client(running)
    chat(client), chat(client)
    assert [record.message for record in caplog.records].count(
        "the endpoint does not tell its family: --router-type is taken for it"
    ) == 1
