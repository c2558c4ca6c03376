"""A client that leaves: its work is cancelled, the upstream call is closed and nothing is charged."""

import asyncio
import socket

import orjson
import pytest

from p2l.serving.http.api_error import ClientLeftError
from p2l.serving.http.disconnect import run_until_disconnect
from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import Reply, Running, delta, model, stream
from tests.waiting import wait_until

BUDGETED = {"name": "budgeted", "key": "sk-budgeted-0000", "budget": 9.0}


def leave_after_request(running: Running, path: str, body: dict) -> socket.socket:
    """Send a request; the caller closes the connection."""
    host, _, port = running.url.removeprefix("http://").partition(":")
    content = orjson.dumps(body)
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {BUDGETED['key']}\r\ncontent-length: "
    connection = socket.create_connection((host, int(port)), timeout=10)
    connection.sendall(head.encode() + b"%d\r\n\r\n%s" % (len(content), content))
    return connection


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/chat/completions", {}),
        ("/v1/chat/completions", {"stream": True}),
        ("/v1/embeddings", {"model": "embedder", "input": "hi"}),
    ],
)
def test_a_client_that_leaves_before_the_answer_pays_nothing(start: Starter, path: str, fields: dict) -> None:
    unfinished = Reply(pieces=[b" "] * 10_000, pause=0.01)  # writes, so that it notices a closed connection
    fake = start.upstream(lambda seen: unfinished)
    running = start.router(
        {"m": model(fake.url)},
        {"keys": [BUDGETED], "embedding_configs": {"embedder": model(fake.url)}},
        router_type="random",
    )
    (key,) = running.container.snapshot.config.keys
    body = {"messages": [{"role": "user", "content": "hi"}], **fields}
    with leave_after_request(running, path, body):
        wait_until(lambda: len(fake.seen) == 1 and running.container.ledger.spent(key) == 1.0)  # the reservation
        assert fake.open == 1
    wait_until(lambda: running.container.ledger.spent(key) == 0.0 and fake.open == 0)


def test_a_client_that_leaves_a_stream_ends_it(start: Starter) -> None:
    fake = start.upstream(lambda seen: stream(*[delta("x")] * 1000, pause=0.02))
    running = start.router({"m": model(fake.url)}, {"keys": [BUDGETED]}, router_type="random")
    body = {"messages": [{"role": "user", "content": "hi"}], "stream": True}
    with leave_after_request(running, "/v1/chat/completions", body) as connection:
        assert connection.recv(4096)
    wait_until(lambda: fake.open == 0)


class Client:
    """A client that sends its disconnect when told to."""

    def __init__(self) -> None:
        self.leaves = asyncio.Event()

    async def receive(self) -> dict:
        await self.leaves.wait()
        return {"type": "http.disconnect"}


def test_work_that_ends_first_gives_its_result() -> None:
    async def scenario() -> None:
        client = Client()
        assert await run_until_disconnect(client.receive, asyncio.sleep(0.01, "result")) == "result"
        client.leaves.set()
        await asyncio.sleep(0.01)  # nothing cancels this task any more

    asyncio.run(scenario())


def test_a_disconnect_cancels_the_work_alone() -> None:
    async def scenario() -> None:
        client, cancelled = Client(), []

        async def work() -> None:
            client.leaves.set()
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                cancelled.append(True)
                raise

        with pytest.raises(ClientLeftError):
            await run_until_disconnect(client.receive, work())
        assert cancelled
        await asyncio.wait_for(asyncio.sleep(0.01), 1)  # the task itself goes on

    asyncio.run(scenario())


def test_a_cancellation_from_outside_stays_one() -> None:
    async def scenario() -> None:
        task = asyncio.ensure_future(run_until_disconnect(Client().receive, asyncio.sleep(30)))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())
