"""Trace each request if OpenTelemetry's API is installed; ``opentelemetry-instrument`` sets up its SDK.

    chat                the client's request, child of its ``traceparent``; ends with the last chunk of a stream
    ├── score           the ranking of the prompt; the P2L endpoint gets this span as its parent
    ├── choose          the selection of models
    └── attempt         one call of one model, up to its first chunk; the upstream gets this span as its parent

Spans hold configured names, numbers and statuses, never prompts, keys or error texts. Only the W3C trace context is
passed to upstreams; a client's ``baggage`` is not.
"""

from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.util import find_spec
from typing import Any

from p2l.serving.http.api_error import ApiError
from p2l.serving.router.upstream_error import UpstreamError

Attributes = Mapping[str, str | int | float | bool]

if find_spec("opentelemetry") is None:
    _trace: Any = None
    _propagator: Any = None
else:
    from opentelemetry import trace as _trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    _propagator = TraceContextTextMapPropagator()


class Tracer:
    """Starts spans; does nothing if OpenTelemetry is not installed. ``provider``: None for the global one."""

    def __init__(self, provider: Any = None) -> None:
        self._tracer = None if _trace is None else _trace.get_tracer("p2l.router", tracer_provider=provider)

    def request(self, name: str, headers: Mapping[str, str]) -> AbstractContextManager[Any]:
        """Start the span of a request; ``end_span`` or an error ends it. Yields the span, or None if nothing is traced.

        Without OpenTelemetry's SDK a span only passes the client's trace on to the upstream.
        """
        if self._tracer is None:
            return nullcontext()
        kind = _trace.SpanKind.SERVER
        span = self._tracer.start_span(name, context=_propagator.extract(headers), kind=kind)
        return _within(span, ends=False) if span.get_span_context().is_valid else nullcontext()

    def span(
        self, name: str, attributes: Attributes | None = None, *, calls: bool = False
    ) -> AbstractContextManager[Any]:
        """Start the span of a step of the request; ``calls``: the step calls another server."""
        if self._tracer is None:
            return nullcontext()
        kind = _trace.SpanKind.CLIENT if calls else _trace.SpanKind.INTERNAL
        span = self._tracer.start_span(name, kind=kind, attributes=attributes)
        return _within(span, ends=True) if span.get_span_context().is_valid else nullcontext()


@contextmanager
def _within(span: Any, *, ends: bool) -> Iterator[Any]:
    with _trace.use_span(span, end_on_exit=ends, record_exception=False, set_status_on_exception=False):
        try:
            yield span
        except BaseException as error:
            span.set_status(_trace.StatusCode.ERROR)
            span.set_attribute("error.type", _kind(error))
            if not ends:
                span.end()
            raise


def _kind(error: BaseException) -> str:
    """Return a reason of our own; messages and codes may come from an upstream."""
    if isinstance(error, UpstreamError):
        return error.reason
    return str(error.status) if isinstance(error, ApiError) else type(error).__name__


def set_attributes(span: Any, attributes: Attributes) -> None:
    """Add attributes to a span, if there is one."""
    if span is not None:
        span.set_attributes(attributes)


def end_span(span: Any, attributes: Attributes) -> None:
    """End the span of a request."""
    if span is not None:
        span.set_attributes(attributes)
        span.end()


def inject(headers: MutableMapping[str, str]) -> None:
    """Add the trace context of the current span to the headers of a call."""
    if _propagator is not None:
        _propagator.inject(headers)
