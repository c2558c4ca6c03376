"""Guesses of keys are slowed on both servers, and shut nobody out who has a key."""

import time
from collections.abc import Callable

import httpx
import pytest

from p2l.serving.endpoint.endpoint_app import create_app
from p2l.serving.endpoint.error_handlers import detail_error
from p2l.serving.endpoint.scoring_service import ScoringService
from p2l.serving.http.api_keys import ApiKeys
from p2l.serving.http.guess_limiter import BURST, GuessLimiter, TooManyGuessesError
from p2l.serving.http.loopback import is_loopback
from p2l.serving.http.request_limits import RequestLimits
from p2l.serving.http.uvicorn_config import uvicorn_config
from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import KEY, Clock, model
from tests.serving.server_thread import serving

KEYS = ApiKeys({"right": 1, "other": 2})


def exhausted(clock: Clock, address: str) -> GuessLimiter:
    limiter = GuessLimiter(clock)
    assert limiter.owner(KEYS, b"right", address) == 1
    while True:
        try:
            assert limiter.owner(KEYS, b"wrong", address) is None
        except TooManyGuessesError:
            return limiter


@pytest.mark.parametrize(("address", "neighbour"), [("10.0.0.1", "10.0.0.2"), ("2001:db8::1", "2001:db8:0:1::1")])
def test_after_too_many_guesses_a_key_is_refused_unseen(address: str, neighbour: str) -> None:
    limiter = exhausted(Clock(), address)
    with pytest.raises(TooManyGuessesError):
        limiter.owner(KEYS, b"other", address)  # right, but never used from there: a guess would teach nothing
    assert limiter.owner(KEYS, b"right", address) == 1
    assert limiter.owner(KEYS, b"other", neighbour) == 2
    assert limiter.accepts(KEYS, b"right", address) and not limiter.accepts(KEYS, b"other", address)


def test_a_host_has_all_addresses_of_its_network() -> None:
    limiter = exhausted(Clock(), "2001:db8::1")
    with pytest.raises(TooManyGuessesError):
        limiter.owner(KEYS, b"other", "2001:db8::ffff:2")


def test_guesses_come_back_with_time() -> None:
    clock = Clock()
    limiter = exhausted(clock, "a")
    clock.now += 2.1
    assert limiter.owner(KEYS, b"wrong", "a") is None
    with pytest.raises(TooManyGuessesError) as error:
        limiter.owner(KEYS, b"wrong", "a")
    assert error.value.retry_after == 2


def assert_slowed(guess: Callable[[], list[int]], refusal: int) -> None:
    """However slow the machine is: a guess every two seconds beyond the burst."""
    began = time.monotonic()
    got = guess()
    assert got[: int(BURST)] == [refusal] * int(BURST) and set(got) == {refusal, 429}
    assert got.count(refusal) <= BURST + 1 + 0.5 * (time.monotonic() - began)


def test_the_router_slows_guesses(start: Starter) -> None:
    running = start.router({"m": model(start.upstream().url)}, router_type="random")

    def status(key: str) -> int:
        return httpx.get(f"{running.base}/models", headers={"authorization": f"Bearer {key}"}).status_code

    assert status(KEY) == 200
    assert_slowed(lambda: [status(f"sk-guess-{i}") for i in range(60)], 401)
    assert status(KEY) == 200


def test_the_endpoint_slows_guesses(service: ScoringService) -> None:
    app = create_app(service, keys=["right", "new"])
    with serving(uvicorn_config(app, RequestLimits(), detail_error, shutdown_seconds=2)) as url:

        def status(key: str, path: str = "/predict") -> int:
            body = {"json": {"prompt": ["hi"]}} if path == "/predict" else {}
            return httpx.request("POST" if body else "GET", url + path, headers={"api-key": key}, **body).status_code

        assert status("right") == status("right", "/models") == 200
        assert_slowed(lambda: [status(f"guess-{i}") for i in range(60)], 403)
        assert 429 in (status("new"), status("new", "/models"))  # a second may have passed
        assert status("right") == status("right", "/models") == 200


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.0.0.2", True),
        ("localhost", True),
        ("LOCALHOST", True),
        ("::1", True),
        ("[::1]", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("10.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("localhost.example.com", False),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) == expected
