"""What an endpoint may send as scores."""

import httpx
import pytest

from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import KEY, Reply, Seen, model


def status(start: Starter, scores: bytes) -> int:
    """The status of a chat if the endpoint sends this body."""

    def endpoint(seen: Seen) -> Reply:
        return Reply(body={"models": ["a", "b"]} if seen.path == "/models" else scores)

    upstream = start.upstream()
    options = {"router_type": "grk-endpoint", "router_model_endpoint": start.upstream(endpoint).url}
    running = start.router({"a": model(upstream.url), "b": model(upstream.url)}, **options)
    body = {"messages": [{"role": "user", "content": "hi"}]}
    return httpx.post(
        f"{running.base}/chat/completions", json=body, headers={"authorization": f"Bearer {KEY}"}
    ).status_code


@pytest.mark.parametrize(
    "coefs",
    ["[1, 1e39]", "[1, -1e300]", f"[1, {10**400}]", "[1, NaN]", "[1, true]", '[1, "2"]', "[1, null]", "[1]", "{}"],
)
def test_coefficients_that_are_no_numbers_of_float32_fail(start: Starter, coefs: str) -> None:
    assert status(start, f'{{"coefs": {coefs}, "eta": 0.1}}'.encode()) == 503


@pytest.mark.parametrize("eta", ["0.1", "null", "1e300", "3.0e38", "-3e38", "2"])
@pytest.mark.parametrize("coefs", ["[1, 2]", "[-3e38, 3e38]", "[-0.0, 1e-300]"])
def test_numbers_of_any_size_are_routed_by(start: Starter, coefs: str, eta: str) -> None:
    assert status(start, f'{{"coefs": {coefs}, "eta": {eta}}}'.encode()) == 200
