"""Stop the work for a client that closes its connection."""

import asyncio
import sys
from collections.abc import Awaitable
from typing import TypeVar

from starlette.types import Receive

from p2l.serving.http.api_error import ClientLeftError

T = TypeVar("T")

ATTENTION_SECONDS = 0.02


async def run_until_disconnect(receive: Receive, work: Awaitable[T]) -> T:
    """Return the result of ``work``; cancel it and raise ClientLeftError if the client disconnects first.

    Call it once the body of the request has been read. ``work`` runs in the current task. The task that waits for the
    disconnect starts after ATTENTION_SECONDS, so that short work does not pay for it.
    """
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None
    waiting: list[asyncio.Task[None]] = []

    def cancel(disconnected: "asyncio.Task[None]") -> None:
        if not disconnected.cancelled():
            task.cancel()

    def wait_for_disconnect() -> None:
        waiting.append(loop.create_task(_disconnect(receive)))
        waiting[0].add_done_callback(cancel)

    timer = loop.call_later(ATTENTION_SECONDS, wait_for_disconnect)
    try:
        return await work
    except asyncio.CancelledError:
        if any(disconnected.done() and not disconnected.cancelled() for disconnected in waiting):
            if sys.version_info >= (3, 11):
                task.uncancel()
            raise ClientLeftError from None
        raise
    finally:
        timer.cancel()
        for disconnected in waiting:
            disconnected.remove_done_callback(cancel)
            disconnected.cancel()


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
