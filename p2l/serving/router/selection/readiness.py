"""Whether prompts can be scored at the moment."""

import asyncio
import time

from p2l.serving.router.config.server_config import ServerConfig
from p2l.serving.router.selection.model_selector import ModelSelector
from p2l.serving.router.upstream_error import UpstreamError

_FRESH_SECONDS = 1.0


class ReadinessProbe:
    """Scores a short prompt, at most once a second however many ask. A full queue counts as ready: it will empty."""

    def __init__(self, selector: ModelSelector) -> None:
        self._selector = selector
        self._lock = asyncio.Lock()
        self._result: tuple[ServerConfig, float, UpstreamError | None] | None = None

    async def failure(self, config: ServerConfig) -> UpstreamError | None:
        """Return why a prompt cannot be scored; None if it can."""
        async with self._lock:
            if self._result is None or self._result[0] is not config or time.monotonic() > self._result[1]:
                error = await self._probe(config)
                self._result = config, time.monotonic() + _FRESH_SECONDS, error
            return self._result[2]

    async def _probe(self, config: ServerConfig) -> UpstreamError | None:
        try:
            # no prompt that came before: neither this router's cache nor the endpoint's may answer
            await self._selector.score(config, (f"ready? {time.time_ns()}",))
        except UpstreamError as error:
            return None if error.reason == "overloaded" else error
        return None
