"""The parts alone: events, ledger, health, waits."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2l.serving.http.api_error import ApiError
from p2l.serving.router.accounts.ledger import Ledger
from p2l.serving.router.accounts.pricing import cost_from_usage, estimate_cost, output_characters
from p2l.serving.router.accounts.reservations import Reservation
from p2l.serving.router.config.server_config import CallConfig, KeyConfig, ModelConfig, Prices
from p2l.serving.router.selection.prompt_scorer import truncate_turns
from p2l.serving.router.selection.sessions import SessionStore
from p2l.serving.router.storage.shared_state import open_shared_state
from p2l.serving.router.upstream.circuit_breaker import CircuitBreaker
from p2l.serving.router.upstream.sse import parse_events
from p2l.serving.router.upstream.upstream_errors import UpstreamError, parse_retry_after
from tests.serving.router.fakes import Clock, completion, delta
from tests.serving.router.fakes_responses import message, response

WIRE = b'event: a\r\ndata: {"x": 1}\r\n\r\n: comment\n\ndata:two\ndata: lines\n\nid: 3\ndata: [DONE]\n\n'


@given(st.lists(st.integers(1, len(WIRE)), max_size=20))
def test_events_in_any_pieces(cuts: list[int]) -> None:
    bounds = [0, *sorted(cuts), len(WIRE)]

    async def pieces() -> AsyncIterator[bytes]:
        for start, end in pairwise(bounds):
            yield WIRE[start:end]

    async def read() -> list[bytes]:
        return [data async for data in parse_events(pieces())]

    assert asyncio.run(read()) == [b'{"x": 1}', b"two\nlines", b"[DONE]"]


def test_a_budget_to_the_cent_and_its_period() -> None:
    clock = Clock()
    ledger = Ledger(open_shared_state(None), clock)
    key = KeyConfig("k", "sk", budget=1.0, period=60.0)
    *held, refused = [ledger.hold(key, 0.1) for _ in range(11)]
    assert all(held) and refused is None
    ledger.settle(key, held[0], 0.0)
    assert ledger.hold(key, 0.1) and not ledger.hold(key, 0.1)
    clock.now += 60.0
    assert ledger.hold(key, 1.0) and ledger.spent(key) == 1.0


@pytest.mark.parametrize(("actual", "charged"), [(4.0, 0.0), (0.0, 0.0), (10.0, 0.0), (11.5, 1.5)])
def test_an_answer_of_the_last_period_gives_nothing_to_this_one(actual: float, charged: float) -> None:
    clock = Clock()
    ledger = Ledger(open_shared_state(None), clock)
    key = KeyConfig("k", "sk", budget=20.0, period=60.0)
    late, early = Reservation(ledger, key), Reservation(ledger, key)
    assert late.reserve(10.0)
    clock.now += 61.0
    assert early.reserve(10.0)
    early.settle(9.0)
    late.settle(actual)
    assert ledger.spent(key) == 9.0 + charged


def test_true_costs_wait_for_a_state_that_is_locked(tmp_path: Path) -> None:
    state = open_shared_state(tmp_path / "state.sqlite")
    state.execute("PRAGMA busy_timeout = 0")
    ledger, key = Ledger(state), KeyConfig("k", "sk", budget=10.0)
    reservations = [Reservation(ledger, key) for _ in range(3)]
    assert all(reservation.reserve(3.0) for reservation in reservations)
    with closing(open_shared_state(tmp_path / "state.sqlite")) as other:
        other.execute("BEGIN IMMEDIATE")
        reservations[0].settle(1.0)
        reservations[1].release()
        other.execute("ROLLBACK")
    assert Reservation(ledger, key).reserve(6.0) and ledger.spent(key) == 1.0 + 3.0 + 6.0


def test_a_rate_refills_evenly() -> None:
    clock = Clock()
    ledger = Ledger(open_shared_state(None), clock)
    key = KeyConfig("k", "sk", requests_per_minute=6)
    for _ in range(6):
        ledger.count_request(key)
    with pytest.raises(ApiError):
        ledger.count_request(key)
    clock.now += 10.0
    ledger.count_request(key)
    with pytest.raises(ApiError):
        ledger.count_request(key)


def test_workers_share_one_account(tmp_path: Path) -> None:
    ledgers = [Ledger(open_shared_state(tmp_path / "state.sqlite")) for _ in range(3)]
    key = KeyConfig("k", "sk", budget=5.0)
    assert [ledgers[i % 3].hold(key, 1.0) is not None for i in range(7)] == [True] * 5 + [False] * 2
    assert ledgers[0].spent(key) == 5.0


def test_costs() -> None:
    priced = ModelConfig("m", "openai", 0.5, prices=Prices(input=2.0, output=10.0), max_tokens=1000)
    assert estimate_cost(priced, 10**6, 1000) == pytest.approx(2.01)
    assert estimate_cost(priced, 10**6, None) == 0.5
    assert estimate_cost(priced, 0, 10) == 0.5
    assert cost_from_usage(priced, {"prompt_tokens": 10**6, "completion_tokens": 10**5}) == pytest.approx(3.0)
    assert cost_from_usage(priced, None) is None and cost_from_usage(priced, {"prompt_tokens": 5}) is None
    assert cost_from_usage(ModelConfig("m", "openai", 0.5), {"prompt_tokens": 5, "completion_tokens": 5}) == 0.5


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (completion("four"), 4),
        (delta("four", role="assistant"), 4),
        (delta(reasoning_content="four"), 4),
        (delta(reasoning="four", reasoning_content="four"), 4),
        (delta(reasoning="four"), 4),
        (delta(tool_calls=[{"index": 0, "id": "call_1", "function": {"name": "f", "arguments": "{}"}}]), 3),
        (delta([{"type": "text", "text": "four"}]), 4),
        ({**delta("four"), "choices": delta("four")["choices"] * 3}, 12),
        (response(message("four")), 4),
        ({"type": "response.output_text.delta", "number": 1, "data": b"...", "delta": "four", "response": {}}, 4),
        ({"type": "response.completed", "data": b"...", "delta": None, "response": response(message("four"))}, 0),
        ({**delta(), "choices": [], "usage": {"prompt_tokens": 10**9}}, 0),
        ({"choices": [None, "x", {"delta": 5}, {"delta": {"content": {"text": 5}, "tool_calls": "x"}}]}, 1),
    ],
)
def test_how_much_an_answer_says(answer: dict[str, Any], said: int) -> None:
    assert output_characters(answer) == said


def test_rest_after_failures() -> None:
    clock, calls = Clock(), CallConfig(cooldown_after=2, cooldown=30.0)
    circuit_breaker = CircuitBreaker(clock)
    again = UpstreamError("http_500", "x")
    circuit_breaker.record_failure("m", again, calls)
    assert circuit_breaker.is_available("m")
    circuit_breaker.record_success("m")
    circuit_breaker.record_failure("m", again, calls)
    circuit_breaker.record_failure("m", again, calls)
    assert not circuit_breaker.is_available("m") and circuit_breaker.is_available("other")
    clock.now += 30.0
    assert circuit_breaker.is_available("m")
    circuit_breaker.record_failure("n", UpstreamError("http_429", "x", retry_after=100.0), calls)
    clock.now += 99.0
    assert not circuit_breaker.is_available("n")


def test_sessions_of_two_keys_are_apart_and_expire() -> None:
    clock = Clock()
    sessions = SessionStore(open_shared_state(None), clock)
    sessions.keep("k1", "s", "a", 10.0)
    sessions.keep("k2", "s", "b", 10.0)
    assert (sessions.model("k1", "s"), sessions.model("k2", "s"), sessions.model("k3", "s")) == ("a", "b", None)
    clock.now += 10.0
    assert sessions.model("k1", "s") is None


def test_the_end_of_a_conversation() -> None:
    assert truncate_turns(("a\0b", "c")) == ["ab", "c"]
    assert truncate_turns(tuple(map(str, range(1003)))) == [str(number) for number in range(3, 1003)]
    assert truncate_turns(("x", "y" * 10, "z" * (2**18 - 5))) == ["y" * 5, "z" * (2**18 - 5)]
    for turns in (("\x01" * 2**20,), ("\U0001f600" * 2**20,), ("\0",)):
        assert truncate_turns(turns)[0] == turns[0].strip("\0")[-len(truncate_turns(turns)[0]) :][: 2**18]
        assert len(orjson.dumps(truncate_turns(turns))) < 2**20


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("3", 3.0),
        ("0.5", 0.5),
        ("100000000", 3600.0),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("Wed, 21 Oct", None),
    ],
)
def test_retry_after(header: str, seconds: float | None) -> None:
    assert parse_retry_after({"retry-after": header}) == seconds
