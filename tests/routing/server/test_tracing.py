"""Spans, where OpenTelemetry is installed: they tell the decision and nothing of the prompt."""

import pytest

from tests.routing.server.conftest import Starter
from tests.routing.server.fakes import model


def test_a_span_for_each_chat(start: Starter) -> None:
    sdk = pytest.importorskip("opentelemetry.sdk.trace")
    exporting = pytest.importorskip("opentelemetry.sdk.trace.export")
    memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter").InMemorySpanExporter()
    provider = sdk.TracerProvider()
    provider.add_span_processor(exporting.SimpleSpanProcessor(memory))
    running = start.router({"m": model(start.upstream().url, 2.0)})
    running.service.tracer._tracer = provider.get_tracer("test")
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    start.client(running).chat.completions.create(
        model="-",
        messages=[{"role": "user", "content": "a private prompt"}],
        extra_headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"},
    )
    (span,) = memory.get_finished_spans()
    assert span.attributes["p2l.model"] == "m" and span.attributes["p2l.cost"] == 2.0
    assert f"{span.context.trace_id:032x}" == trace and "private" not in span.to_json()
