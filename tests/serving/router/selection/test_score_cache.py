"""The same user turns are scored once, and never by the scores of a model that the endpoint no longer serves."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
import torch

from p2l.serving.router.selection import score_cache
from p2l.serving.router.selection.score_cache import CHECK_SECONDS, ScoreCache, prompt_key
from p2l.serving.router.selection.shared_calls import SharedCalls
from p2l.types import Ranking
from tests.serving.router.fakes import HELLO, KEY, Clock, Reply, model

ON = {"router_type": "bt-endpoint", "score_cache": 1}


class FakeEndpoint:
    """A P2L endpoint whose model can be replaced; ``identity`` None: as published."""

    def __init__(self, start, identity: str | None = "list.one", **coefs: float) -> None:
        self.identity, self.coefs, self.delay = identity, coefs, 0.0
        self.scored: list[list[str]] = []
        self.url = start.upstream(self.answer).url

    def answer(self, seen):
        headers = {} if self.identity is None else {"x-p2l-model": self.identity}
        if seen.path == "/models":
            return Reply(body={"models": list(self.coefs)}, headers=headers)
        self.scored.append(seen.body["prompt"])
        return Reply(body={"coefs": list(self.coefs.values()), "eta": None}, headers=headers, delay=self.delay)


@pytest.fixture
def serve(start):
    """Starts a router before an endpoint and two models; returns the endpoint and a function that routes messages."""

    def serve(identity: str | None = "list.one", **options):
        endpoint, fake = FakeEndpoint(start, identity, first=1.0, second=0.0), start.upstream()
        models = {"first": model(fake.url), "second": model(fake.url)}
        running = start.router(models, router_model_endpoint=endpoint.url, **{**ON, **options})

        def route(messages=HELLO) -> str:
            headers = {"authorization": f"Bearer {KEY}"}
            answer = httpx.post(f"{running.base}/route", json={"messages": messages}, headers=headers, timeout=20)
            assert answer.status_code == 200, answer.text
            return answer.json()["model"]

        return endpoint, route, running

    return serve


def agent(calls: int) -> list[dict]:
    """The messages of an agent after so many calls of a tool."""
    messages = [{"role": "system", "content": "You are an agent."}, {"role": "user", "content": "Book a table."}]
    for number in range(calls):
        call = {"id": f"call{number}", "type": "function", "function": {"name": "find", "arguments": "{}"}}
        messages += [
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": f"call{number}", "content": f"result {number}"},
        ]
    return messages


def test_an_agents_calls_are_scored_once(serve):
    endpoint, route, running = serve()
    assert {route(agent(calls)) for calls in range(6)} == {"first"}
    assert endpoint.scored == [["Book a table."]]
    route([*agent(2), {"role": "user", "content": "For four."}])
    assert endpoint.scored[1:] == [["Book a table.", "For four."]]
    text = httpx.get(f"{running.url}/metrics").text
    assert 'scored_prompts_total{source="cache"} 5.0' in text
    assert 'scored_prompts_total{source="endpoint"} 2.0' in text


def test_a_new_model_does_not_answer_with_old_scores(serve, monkeypatch):
    monkeypatch.setattr(score_cache, "CHECK_SECONDS", 0.2)
    endpoint, route, _ = serve()
    assert route() == "first"
    time.sleep(0.3)
    assert route() == "first"
    assert len(endpoint.scored) == 1  # the check of the model needs no score
    endpoint.identity, endpoint.coefs = "list.two", {"first": 0.0, "second": 1.0}
    time.sleep(0.3)
    assert route() == "second"
    assert len(endpoint.scored) == 2


def test_an_answer_of_another_prompt_shows_that_the_model_has_changed(serve):
    endpoint, route, _ = serve()
    assert route() == "first"
    endpoint.identity, endpoint.coefs = "list.two", {"first": 0.0, "second": 1.0}
    assert route(agent(0)) == "second"
    assert route() == "second"


def test_a_new_list_in_another_order_is_read_before_its_scores_are_used(serve):
    endpoint, route, _ = serve()
    assert route() == "first"
    endpoint.identity, endpoint.coefs = "other.two", {"second": 0.0, "first": 1.0}  # the best is now the last
    assert route(agent(0)) == "first"
    assert route() == "first"


@pytest.mark.parametrize(("seconds", "asked"), [(0.0, 3), (60.0, 1)])
def test_an_endpoint_that_does_not_name_its_model_is_asked_each_time_by_default(seconds, asked, serve):
    endpoint, route, _ = serve(identity=None, score_cache_seconds=seconds)
    assert {route() for _ in range(3)} == {"first"}
    assert len(endpoint.scored) == asked


def test_turned_off_every_request_is_scored(serve):
    endpoint, route, _ = serve(score_cache=0)
    assert {route() for _ in range(3)} == {"first"}
    assert len(endpoint.scored) == 3


def test_calls_at_the_same_time_share_a_request(serve):
    endpoint, route, _ = serve()
    route(agent(0))
    endpoint.delay = 0.3
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: route(), range(8))) == {"first"}
    assert len(endpoint.scored) == 2


def test_readiness_is_not_answered_from_the_cache(serve):
    endpoint, route, running = serve()
    route([{"role": "user", "content": "ready?"}])
    before = len(endpoint.scored)
    assert httpx.get(f"{running.url}/ready").status_code == 200
    assert len(endpoint.scored) == before + 1


def ranking(*coefs: float) -> Ranking:
    return Ranking(torch.tensor(coefs), None)


def test_a_ranking_is_used_while_its_model_was_named_a_moment_ago():
    clock = Clock()
    cache = ScoreCache(1 << 20, clock=clock)
    cache.note("a")
    cache.keep(b"x", ranking(1.0), "a")
    clock.now += CHECK_SECONDS
    assert cache.find(b"x") is not None and not cache.needs_check(b"x")
    clock.now += 0.1
    assert cache.find(b"x") is None and cache.needs_check(b"x") and not cache.needs_check(b"y")
    cache.note("a")
    assert cache.find(b"x") is not None
    cache.note("b")
    assert cache.find(b"x") is None and not cache.needs_check(b"x")
    cache.note(None)
    assert cache.find(b"x") is None
    cache.note("a")  # two replicas with unlike models
    assert cache.find(b"x") is not None


def test_an_unnamed_ranking_ends_by_its_own_time():
    clock = Clock()
    cache = ScoreCache(1 << 20, 5.0, clock=clock)
    cache.note(None)
    cache.keep(b"x", ranking(1.0), None)
    for _ in range(5):
        clock.now += 1.0
        cache.note(None)
        assert cache.find(b"x") is not None
    clock.now += 0.1
    assert cache.find(b"x") is None
    cache.keep(b"x", ranking(1.0), None)
    cache.note("a")
    assert cache.find(b"x") is None


def test_memory_is_bounded_and_the_newest_stay():
    cache = ScoreCache(3 * (1024 + 40))
    cache.note("a")
    for number in range(5):
        cache.keep(bytes([number]), ranking(*[float(number)] * 10), "a")
        cache.find(b"\0")
    assert [cache.find(bytes([number])) is not None for number in range(5)] == [True, False, False, True, True]
    assert cache.size == (3, 3 * (1024 + 40))
    cache.keep(b"large", ranking(*np.zeros(10_000).tolist()), "a")
    assert cache.size == (0, 0)


def test_keys_know_where_turns_end():
    keys = [
        prompt_key(*pair) for pair in (((["a", "b"]), ["m"]), (["ab"], ["m"]), (["a"], ["b", "m"]), (["a"], ["bm"]))
    ]
    assert len(set(keys)) == 4


def test_a_shared_call_ends_with_the_last_who_waits():
    calls, ended = SharedCalls(), []

    async def slow() -> int:
        try:
            await asyncio.sleep(0.05)
            return len(ended)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async def test() -> None:
        tasks = [asyncio.ensure_future(calls.get("key", slow)) for _ in range(3)]
        await asyncio.sleep(0.01)
        tasks[0].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert [tasks[1].result(), tasks[2].result()] == [0, 0] and not ended and "key" not in calls
        tasks = [asyncio.ensure_future(calls.get("key", slow)) for _ in range(2)]
        await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert "key" not in calls
        assert await calls.get("key", slow) == 1  # a call of its own, though the first has hardly ended
        assert ended == ["cancelled"]

    asyncio.run(test())


def test_an_error_goes_to_all_who_share_the_call_and_to_nobody_later():
    calls, made = SharedCalls(), []

    async def fails() -> None:
        made.append(1)
        await asyncio.sleep(0.01)
        raise ValueError("no")

    async def test() -> None:
        errors = await asyncio.gather(*[calls.get("key", fails) for _ in range(3)], return_exceptions=True)
        assert all(isinstance(error, ValueError) for error in errors) and len(made) == 1
        with pytest.raises(ValueError, match="no"):
            await calls.get("key", fails)
        assert len(made) == 2

    asyncio.run(test())
