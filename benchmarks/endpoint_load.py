"""Open-loop load: requests come at a given rate whether or not the earlier ones are answered."""

import asyncio
import time
from collections import Counter, deque
from dataclasses import dataclass, field


@dataclass
class Outcome:
    """What became of the requests: how many of each status (0: no answer), and the seconds that each 200 took."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    without_retry_after: int = 0


class _Connections:
    """Open connections to one server, used again when idle."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: deque[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = deque()

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Status and headers of the answer."""
        reader, writer = self._idle.pop() if self._idle else await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(request)
        headers = await reader.readuntil(b"\r\n\r\n")
        lower = headers.lower()
        start = lower.index(b"content-length:") + 15
        await reader.readexactly(int(lower[start : lower.index(b"\r\n", start)]))
        self._idle.append((reader, writer))
        return int(headers[9:12]), lower

    def close(self) -> None:
        for _, writer in self._idle:
            writer.close()


async def offer(port: int, requests: list[bytes], rate: float, seconds: float) -> Outcome:
    """Send ``rate`` requests a second for so many seconds, then wait for the answers that are due."""
    outcome, connections = Outcome(), _Connections(port)

    async def one(request: bytes) -> None:
        start = time.perf_counter()
        try:
            status, headers = await connections.ask(request)
        except (OSError, asyncio.IncompleteReadError):
            status, headers = 0, b""
        outcome.statuses[status] += 1
        if status == 200:
            outcome.seconds.append(time.perf_counter() - start)
        outcome.without_retry_after += status == 429 and b"retry-after:" not in headers

    start, sent, tasks = time.perf_counter(), 0, set()
    while (now := time.perf_counter() - start) < seconds:
        while sent < now * rate:
            task = asyncio.create_task(one(requests[sent % len(requests)]))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            sent += 1
        await asyncio.sleep(0.005)
    if tasks:
        await asyncio.wait(tasks)
    connections.close()
    return outcome


def post(body: bytes, key: str) -> bytes:
    """A request of ``/predict`` as it goes over the wire."""
    head = (
        f"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\napi-key: {key}\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
