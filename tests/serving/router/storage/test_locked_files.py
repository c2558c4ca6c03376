"""Another process holds the lock of the state: the event loop goes on, answers are kept, money is not lost."""

import asyncio
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import openai
import pytest

from p2l.serving.router.storage.locked_files import DeferredWrites, is_unavailable
from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import HELLO, Reply, Running, Seen, chat, completion, delta, model, stream
from tests.waiting import wait_until

KEYS = [{"name": "k", "key": "sk-k-0000000", "budget": 100.0, "requests_per_minute": 1000}]
SESSION = {"x-p2l-session": "s"}


@contextmanager
def locked(path: Path) -> Iterator[None]:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.close()


def running_with_state(start: Starter, tmp_path: Path, answer: object = None, **rest: object) -> Running:
    fake = start.upstream(answer)  # type: ignore[arg-type]
    state = tmp_path / "state.sqlite"
    return start.router({"m": model(fake.url)}, {"keys": KEYS, **rest}, router_type="random", state=state)


@pytest.mark.parametrize("stream_budget", [False, True])
def test_a_locked_state_stops_no_other_request(start: Starter, tmp_path: Path, stream_budget: bool) -> None:
    rest = {"keys": [{"name": "k", "key": "sk-k-0000000"}], "router": {"mean_cost": 1.0}} if stream_budget else {}
    running = running_with_state(start, tmp_path, **rest)
    client = start.client(running, "sk-k-0000000")
    slowest = 0.0

    async def look(asked: asyncio.Future[httpx.Headers]) -> None:
        nonlocal slowest
        async with httpx.AsyncClient() as other:
            while not asked.done():
                began = time.perf_counter()
                assert (await other.get(f"{running.url}/health")).status_code == 200
                slowest = max(slowest, time.perf_counter() - began)
                await asyncio.sleep(0.02)

    async def both() -> None:
        asked = asyncio.get_running_loop().run_in_executor(None, lambda: chat(client))
        with pytest.raises(openai.InternalServerError) as error:
            await asyncio.gather(asked, look(asked))
        assert (error.value.status_code, error.value.code) == (503, "state_unavailable")

    with locked(tmp_path / "state.sqlite"):
        asyncio.run(both())
    assert slowest < 1.0
    assert chat(client)["x-p2l-model"] == "m"


@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_is_delivered_and_charged_though_the_state_is_locked(
    start: Starter, tmp_path: Path, streamed: bool
) -> None:
    lock = sqlite3.connect(tmp_path / "state.sqlite", isolation_level=None, check_same_thread=False)

    def answer(seen: Seen) -> Reply:
        lock.execute("BEGIN IMMEDIATE")  # after the reservation, before the answer
        usage = {"prompt_tokens": 10, "completion_tokens": 10}
        chunks = stream(delta("x"), delta(finish="stop"), {**delta(), "choices": [], "usage": usage})
        return chunks if streamed else Reply(body={**completion(), "usage": usage})

    prices = {"input": 1e5, "output": 1e5}
    fake = start.upstream(answer)
    models = {"m": model(fake.url, 1.0, prices=prices)}
    running = start.router(models, {"keys": KEYS}, router_type="random", state=tmp_path / "state.sqlite")
    body = {"messages": HELLO, "stream": streamed}
    headers = {"authorization": "Bearer sk-k-0000000", **SESSION}
    got = httpx.post(f"{running.base}/chat/completions", json=body, headers=headers, timeout=10)
    assert got.status_code == 200 and ("Hello!" in got.text or '"content":"x"' in got.text)
    assert running.spent() == 1.0  # the reservation
    lock.execute("ROLLBACK")
    wait_until(lambda: running.spent() == pytest.approx(2.0))
    wait_until(lambda: running.container.sessions.model("k", "s") == "m")
    lock.close()


def test_deferred_writes_keep_their_order_and_outlive_one_that_fails() -> None:
    writes, done, locked_until = DeferredWrites("test"), [], [2]

    def first() -> None:
        locked_until[0] -= 1
        if locked_until[0] >= 0:
            raise sqlite3.OperationalError("database is locked")
        done.append("first")

    def broken() -> None:
        raise sqlite3.IntegrityError("not null")

    writes.add(first)
    writes.add(broken)
    assert done == []
    writes.add(lambda: done.append("last"))
    assert done == ["first", "last"]


def test_a_wrong_statement_is_not_retried() -> None:
    connection = sqlite3.connect(":memory:")
    for statement in ("SELECT * FROM missing", "SELEC 1", "CREATE TABLE a (b); "):
        connection.executescript("CREATE TABLE IF NOT EXISTS a (b)")
        with pytest.raises(sqlite3.OperationalError) as error:
            connection.execute(statement)
        assert not is_unavailable(error.value)
    connection.close()
