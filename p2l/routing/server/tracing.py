"""A span for each chat where OpenTelemetry's API is installed; its SDK is set up as ``opentelemetry-instrument`` does.

Spans hold names, numbers and statuses, nothing of a prompt.
"""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

_INSTALLED = find_spec("opentelemetry") is not None


class Tracer:
    """Starts spans; does nothing where OpenTelemetry is not installed."""

    def __init__(self) -> None:
        self._tracer: Any = None
        if _INSTALLED:
            from opentelemetry import propagate, trace

            self._tracer = trace.get_tracer("p2l.router")
            self._extract = propagate.extract

    def start(self, name: str, headers: Mapping[str, str]) -> Any:
        """A span, child of the client's where its headers name one; None without OpenTelemetry."""
        if self._tracer is None:
            return None
        return self._tracer.start_span(name, context=self._extract(headers))


def end(span: Any, attributes: Mapping[str, str | int | float | bool]) -> None:
    """End a span with these attributes."""
    if span is not None:
        span.set_attributes(attributes)
        span.end()
