"""Which models are in cooldown after failures."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from p2l.serving.router.config.server_config import CallConfig
from p2l.serving.router.upstream_error import UpstreamError


@dataclass
class _Record:
    num_failures: int = 0
    open_until: float = 0.0


class CircuitBreaker:
    """Consecutive failures of each model, and the end of its cooldown. Each process has its own."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._records: dict[str, _Record] = {}

    def is_available(self, model: str) -> bool:
        """Return whether the model is not in cooldown."""
        record = self._records.get(model)
        return record is None or record.open_until <= self._now()

    def record_success(self, model: str) -> None:
        self._records.pop(model, None)

    def record_failure(self, model: str, error: UpstreamError, calls: CallConfig) -> None:
        """Count a failure; one without retry, or with Retry-After above ``max_backoff``, starts a cooldown at once."""
        record = self._records.setdefault(model, _Record())
        record.num_failures += 1
        if error.retry_after is not None and error.retry_after > calls.max_backoff:
            record.open_until = self._now() + error.retry_after
        elif not error.retryable or record.num_failures >= calls.cooldown_after:
            record.open_until = self._now() + calls.cooldown
