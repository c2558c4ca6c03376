"""Hot reload: switch new requests to a new configuration once it has passed its checks."""

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from prometheus_client import Counter

from p2l.errors import P2LError
from p2l.serving.router.config.snapshot import Snapshot
from p2l.serving.router.router_logs import event, log

_Stamp = tuple[int, int, int] | None


class ConfigReloader:
    """Watches the files of the configuration, and SIGHUP. Open requests keep the configuration they started with.

    Args:
        load: loads and checks the configuration, in a thread; P2LError if it is not valid.
        switch: makes a configuration that of new requests; P2LError if that fails and nothing has changed.
        files: returns the files to watch.
        interval: seconds between looks at the files.
        count: counts reloads by result.
    """

    def __init__(
        self,
        load: Callable[[], Snapshot],
        switch: Callable[[Snapshot], Awaitable[None]],
        files: Callable[[], Sequence[str | Path]],
        interval: float,
        count: Counter,
    ) -> None:
        self._load, self._switch, self._files, self._interval, self._count = load, switch, files, interval, count
        self._requested = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._seen = self._stamps()

    def start(self) -> None:
        self._task = asyncio.create_task(self._watch())
        if threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGHUP"):
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._requested.set)

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def reload(self) -> None:
        """Load the configuration; if it is not valid, log the reason and keep the old one."""
        self._seen = self._stamps()
        try:
            snapshot = await asyncio.get_running_loop().run_in_executor(None, self._load)
            await self._switch(snapshot)
        except P2LError as error:
            event("the new configuration is not valid; the old one stays", {"reason": str(error)}, level=logging.ERROR)
            self._count.labels("refused").inc()
            return
        self._count.labels("done").inc()
        event("the configuration was reloaded", {"models": len(snapshot.config.model_configs)})

    async def _watch(self) -> None:
        while True:
            try:
                await asyncio.wait_for(self._requested.wait(), self._interval)
                self._requested.clear()
            except asyncio.TimeoutError:
                if self._stamps() == self._seen:
                    continue
            try:
                await self.reload()
            except Exception:  # this task must survive any content of the file
                log.exception("the new configuration could not be read; the old one stays")
                self._count.labels("refused").inc()

    def _stamps(self) -> list[_Stamp]:
        return [_stamp(path) for path in self._files()]


def _stamp(path: str | Path) -> _Stamp:
    """Return what changes with a file, also if it is replaced or a link points elsewhere; None without a file."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
