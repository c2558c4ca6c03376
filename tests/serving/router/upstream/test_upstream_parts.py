"""Server-sent events, circuit breaker and Retry-After alone."""

import asyncio
import time
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2l.serving.router.config.server_config import CallConfig
from p2l.serving.router.upstream.circuit_breaker import CircuitBreaker
from p2l.serving.router.upstream.error_responses import parse_retry_after
from p2l.serving.router.upstream.sse import parse_events
from p2l.serving.router.upstream_error import UpstreamError
from tests.serving.router.fakes import Clock

WIRE = b'event: a\r\ndata: {"x": 1}\r\n\r\n: comment\n\ndata:two\ndata: lines\n\nid: 3\ndata: [DONE]\n\n'


@given(st.lists(st.integers(1, len(WIRE)), max_size=20))
def test_events_in_any_pieces(cuts: list[int]) -> None:
    bounds = [0, *sorted(cuts), len(WIRE)]

    async def pieces() -> AsyncIterator[bytes]:
        for start, end in pairwise(bounds):
            yield WIRE[start:end]

    async def read() -> list[bytes]:
        return [event.data async for event in parse_events(pieces())]

    assert asyncio.run(read()) == [b'{"x": 1}', b"two\nlines", b"[DONE]"]


def test_a_long_event_is_read_in_linear_time() -> None:
    """With a rescan of the whole event for each piece, these copies are 120 GB."""
    pieces = [b"data: ", *[b"x" * 1000] * 16_000, b"\n\n"]

    async def arriving() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    async def read() -> list[int]:
        return [len(event.data) async for event in parse_events(arriving())]

    start = time.process_time()
    assert asyncio.run(read()) == [16_000_000]
    assert time.process_time() - start < 3


def test_cooldown_after_failures() -> None:
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
