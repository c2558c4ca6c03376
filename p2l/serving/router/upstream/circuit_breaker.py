"""Which models are left alone for a while."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from p2l.serving.router.config.server_config import CallConfig
from p2l.serving.router.upstream.upstream_errors import UpstreamError


@dataclass
class _Record:
    failures: int = 0
    until: float = 0.0


class CircuitBreaker:
    """Failures in a row, and until when a model that had too many is not asked. One for each process."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._records: dict[str, _Record] = {}

    def is_available(self, model: str) -> bool:
        record = self._records.get(model)
        return record is None or record.until <= self._now()

    def record_success(self, model: str) -> None:
        self._records.pop(model, None)

    def record_failure(self, model: str, error: UpstreamError, calls: CallConfig) -> None:
        """Count a failure; one that asking again cannot mend, or a stated wait, rests the model at once."""
        record = self._records.setdefault(model, _Record())
        record.failures += 1
        if error.retry_after is not None and error.retry_after > calls.max_backoff:
            record.until = self._now() + error.retry_after
        elif not error.retryable or record.failures >= calls.cooldown_after:
            record.until = self._now() + calls.cooldown
