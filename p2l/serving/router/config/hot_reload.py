"""Hot reload: a new configuration takes the place of the old one for new requests, once it is known to be sound."""

import asyncio
import logging
import os
import signal
import threading
from pathlib import Path

from p2l.errors import P2LError
from p2l.serving.router.container import RouterContainer, Snapshot
from p2l.serving.router.router_logs import event, log


class ConfigReloader:
    """Watches the file, that of its shrinkage, and SIGHUP. Requests under way keep what they started with."""

    def __init__(self, container: RouterContainer) -> None:
        self._container = container
        self._path = container.options.config
        self._asked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._seen = self._stamp()

    def start(self) -> None:
        self._task = asyncio.create_task(self._watch())
        if threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGHUP"):
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._asked.set)

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            try:
                await asyncio.wait_for(self._asked.wait(), self._container.options.watch)
                self._asked.clear()
            except asyncio.TimeoutError:
                if self._stamp() == self._seen:
                    continue
            try:
                await self.reload()
            except Exception:  # this task has to outlive whatever a file may hold
                log.exception("the new configuration could not be read; the old one stays")
                self._container.metrics.reloads.labels("refused").inc()

    async def reload(self) -> bool:
        """Check the file and switch to it; a file that is not sound changes nothing and is said in the log."""
        self._seen = self._stamp()
        container = self._container
        try:
            snapshot = await asyncio.get_running_loop().run_in_executor(None, Snapshot.load, container.options)
            container.stream(snapshot.config)  # raises where its account cannot be kept
        except P2LError as error:
            event("the new configuration is not sound; the old one stays", {"reason": str(error)}, level=logging.ERROR)
            container.metrics.reloads.labels("refused").inc()
            return False
        container.snapshot = snapshot
        container.metrics.reloads.labels("done").inc()
        event("the configuration was reloaded", {"models": len(snapshot.config.model_configs)})
        return True

    def _stamp(self) -> list[tuple[int, int, int] | None]:
        """What changes when a file does, also where it is replaced or a link points elsewhere."""
        shrinkage = self._container.snapshot.config.router.shrinkage
        return [_stamp(path) for path in (self._path, shrinkage) if path is not None]


def _stamp(path: str | Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
