"""Stop the work for a client that closes its connection."""

import asyncio
import sys
from collections.abc import Awaitable
from typing import TypeVar

from starlette.types import Receive

from p2l.serving.http.api_error import ClientLeftError

T = TypeVar("T")


async def run_until_disconnect(receive: Receive, work: Awaitable[T]) -> T:
    """Return the result of ``work``; cancel it and raise ClientLeftError if the client disconnects first.

    Call it once the body of the request has been read. ``work`` runs in the current task, so only the wait for the
    disconnect costs a task.
    """
    task = asyncio.current_task()
    assert task is not None

    def cancel(done: "asyncio.Task[None]") -> None:
        if not done.cancelled():
            task.cancel()

    disconnected = asyncio.ensure_future(_disconnect(receive))
    disconnected.add_done_callback(cancel)
    try:
        return await work
    except asyncio.CancelledError:
        if disconnected.done() and not disconnected.cancelled():
            if sys.version_info >= (3, 11):
                task.uncancel()
            raise ClientLeftError from None
        raise
    finally:
        disconnected.remove_done_callback(cancel)
        disconnected.cancel()


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
