"""Servers of the tests: upstreams faked at the wire, and the router itself, each in a thread of this process."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import openai
import orjson
import yaml

from p2l.serving.http.request_limits import RequestLimits
from p2l.serving.http.uvicorn_config import uvicorn_config
from p2l.serving.router.api.openai_error import openai_error
from p2l.serving.router.config.router_options import RouterOptions
from p2l.serving.router.config.snapshot import Snapshot
from p2l.serving.router.container import RouterContainer
from p2l.serving.router.router_app import make_app
from tests.serving.server_thread import serving

KEY = "sk-client-0123456789"
HELLO = [{"role": "user", "content": "hi"}]


class Clock:
    """A time that passes when the test says so."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Seen:
    """A request as it came over the wire."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Reply:
    """What to send: pieces one by one, with a pause before each; ``reset`` cuts the connection after them."""

    status: int = 200
    body: Any = None
    pieces: list[bytes] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    pause: float = 0.0
    hang: float = 0.0  # before the end
    reset: bool = False
    content_type: str = "application/json"


def stream(
    *events: Any,
    done: bool = True,
    reset: bool = False,
    delay: float = 0.0,
    pause: float = 0.0,
    hang: float = 0.0,
    named: bool = False,
) -> Reply:
    """A reply of server-sent events."""
    pieces = []
    for event in events:
        name = f"event: {event['type']}\n".encode() if named else b""
        pieces.append(name + b"data: " + (event if isinstance(event, bytes) else orjson.dumps(event)) + b"\n\n")
    if done:
        pieces.append(b"data: [DONE]\n\n")
    return Reply(pieces=pieces, reset=reset, delay=delay, pause=pause, hang=hang, content_type="text/event-stream")


class Upstream:
    """An HTTP server that answers by a function and remembers what it was asked."""

    def __init__(self, answer: Callable[[Seen], Reply]) -> None:
        self.answer = answer
        self.seen: list[Seen] = []
        self.open = 0
        self.url = ""

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.open -= 1
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ", 2)
        headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in head[1:] if line)}
        raw = await reader.readexactly(int(headers.get("content-length", 0)))
        seen = Seen(method, path, headers, json.loads(raw) if raw else None)
        self.seen.append(seen)
        reply = self.answer(seen)
        await asyncio.sleep(reply.delay)
        return await self._send(writer, reply)

    async def _send(self, writer: asyncio.StreamWriter, reply: Reply) -> bool:
        pieces = reply.pieces
        extra = "".join(f"{name}: {value}\r\n" for name, value in reply.headers.items())
        start = f"HTTP/1.1 {reply.status} X\r\ncontent-type: {reply.content_type}\r\n{extra}"
        if pieces is None:
            body = reply.body if isinstance(reply.body, bytes) else orjson.dumps(reply.body)
            if reply.reset:
                writer.transport.abort()
                return False
            writer.write(f"{start}content-length: {len(body)}\r\n\r\n".encode() + body)
            await writer.drain()
            return True
        writer.write(f"{start}transfer-encoding: chunked\r\n\r\n".encode())
        for piece in filter(None, pieces):
            await asyncio.sleep(reply.pause)
            writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            await writer.drain()
        await asyncio.sleep(reply.hang)
        if reply.reset:
            await asyncio.sleep(0.02)
            writer.transport.abort()
            return False
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


@contextmanager
def upstream(answer: Callable[[Seen], Reply]) -> Iterator[Upstream]:
    """An upstream at ``url``, for the time of the context."""
    fake = Upstream(answer)
    loop = asyncio.new_event_loop()
    ready = threading.Event()

    async def serve() -> None:
        server = await asyncio.start_server(fake.connected, "127.0.0.1", 0, limit=1 << 24)
        fake.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        ready.set()
        try:
            await asyncio.Event().wait()
        finally:
            server.close()

    def run() -> None:
        asyncio.set_event_loop(loop)
        task = loop.create_task(serve())
        fake.stop = lambda: loop.call_soon_threadsafe(task.cancel)
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(task)
        rest = asyncio.all_tasks(loop)
        for task_ in rest:
            task_.cancel()
        loop.run_until_complete(asyncio.gather(*rest, return_exceptions=True))
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield fake
    finally:
        fake.stop()
        thread.join(10)


@dataclass
class Running:
    """A router that serves."""

    url: str
    container: RouterContainer
    config_path: Path

    @property
    def base(self) -> str:
        return f"{self.url}/v1"

    def spent(self, key: int = 0) -> float:
        """USD charged to or held for a key of the configuration."""
        return self.container.ledger.spent(self.container.snapshot.config.keys[key])


@contextmanager
def router(
    folder: Path, config: dict[str, Any], limits: RequestLimits | None = None, **options: Any
) -> Iterator[Running]:
    """The router on a configuration, on a free port, for the time of the context."""
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    chosen = RouterOptions(**{"config": path, "api_key": KEY, "watch": 0.05, **options})
    container = RouterContainer(chosen, Snapshot.load(chosen))
    limits = limits or RequestLimits(body_bytes=chosen.max_body)
    app = make_app(container, limits)
    with serving(uvicorn_config(app, limits, openai_error, shutdown_seconds=2)) as url:
        yield Running(url, container, path)


def model(url: str, cost: float = 1.0, **keys: Any) -> dict[str, Any]:
    """A model's configuration, of type openai at ``url`` by default."""
    return {
        "name": "wire-name",
        "type": "openai",
        "cost": cost,
        "api_key": "sk-upstream-secret",
        "base_url": url,
        **keys,
    }


def completion(text: str = "Hello!", **message: Any) -> dict[str, Any]:
    """An answer as OpenAI sends it."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text, "refusal": None, **message},
        "logprobs": None,
        "finish_reason": "tool_calls" if "tool_calls" in message else "stop",
    }
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "wire-name-2025",
        "choices": [choice],
        "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12},
        "system_fingerprint": "fp_1",
    }


def delta(text: str | None = None, finish: str | None = None, **rest: Any) -> dict[str, Any]:
    """A chunk as OpenAI sends it."""
    part = ({} if text is None else {"content": text}) | rest
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1700000000,
        "model": "wire-name-2025",
        "choices": [{"index": 0, "delta": part, "logprobs": None, "finish_reason": finish}],
    }


def chat(client: openai.OpenAI, **fields: Any) -> httpx.Headers:
    """The headers of an answer."""
    return client.chat.completions.with_raw_response.create(**{"model": "-", "messages": HELLO, **fields}).headers
