"""Spans by OpenTelemetry's own SDK: they tell the steps of a request and nothing of the prompt, and reach upstreams."""

from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from p2l.serving.router import tracing
from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import HELLO, KEY, Reply, Running, completion, delta, model, stream
from tests.waiting import wait_until

sdk = pytest.importorskip("opentelemetry.sdk.trace")
from opentelemetry.sdk.trace.export import SimpleSpanProcessor  # noqa: E402
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter  # noqa: E402

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PROMPT = "a-very-private-prompt"
SECRETS = (PROMPT, KEY, "sk-upstream-secret", "private-baggage")
FROM = {"traceparent": f"00-{TRACE}-{PARENT}-01", "baggage": "note=private-baggage"}


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """Every tracer that is made during the test exports here."""
    exporter, provider = InMemorySpanExporter(), sdk.TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    made = tracing.Tracer
    monkeypatch.setattr("p2l.serving.router.container.Tracer", lambda: made(provider))
    yield exporter
    provider.shutdown()


def ask(start: Starter, running: Running, **fields: Any) -> Any:
    messages = [{"role": "user", "content": PROMPT}]
    return start.client(running).chat.completions.create(model="-", messages=messages, extra_headers=FROM, **fields)


def named(memory: InMemorySpanExporter) -> dict[str, list[Any]]:
    """The finished spans by name, once it is clear that none holds a secret."""
    found: dict[str, list[Any]] = {}
    for span in sorted(memory.get_finished_spans(), key=lambda span: span.start_time):
        assert not [secret for secret in SECRETS if secret in span.to_json()]
        found.setdefault(span.name, []).append(span)
    return found


def parent(headers: dict[str, str]) -> tuple[str, str]:
    """Trace and span that a call named as its parent."""
    _, trace, span, _ = headers["traceparent"].split("-")
    return trace, span


def test_the_steps_of_a_request(start: Starter, memory: InMemorySpanExporter) -> None:
    bad, good = (
        start.upstream(lambda seen: Reply(503, {"error": {"message": PROMPT, "code": PROMPT}})),
        start.upstream(),
    )
    scores = start.scorer({"bad": 1.0, "good": 0.0})
    running = start.router(
        {"bad": model(bad.url, 3.0), "good": model(good.url, 2.0)},
        router_type="bt-endpoint",
        router_model_endpoint=scores.url,
    )
    ask(start, running)
    spans = named(memory)
    assert {name: len(found) for name, found in spans.items()} == {"chat": 1, "score": 1, "choose": 1, "attempt": 3}
    (chat,) = spans["chat"]
    assert f"{chat.context.trace_id:032x}" == TRACE and f"{chat.parent.span_id:016x}" == PARENT
    for span in (*spans["score"], *spans["choose"], *spans["attempt"]):
        assert span.parent.span_id == chat.context.span_id
    assert spans["choose"][0].attributes == {"p2l.model": "bad", "p2l.reason": "routed", "p2l.candidates": 2}
    expected = [(s.attributes["p2l.model"], s.attributes.get("error.type"), s.status.is_ok) for s in spans["attempt"]]
    assert expected == [("bad", "http_503", False)] * 2 + [("good", None, True)]
    assert chat.attributes["p2l.cost"] == 2.0 and chat.attributes["gen_ai.usage.output_tokens"] == 3
    assert parent(scores.seen[-1].headers) == (TRACE, f"{spans['score'][0].context.span_id:016x}")
    calls = [parent(seen.headers) for seen in (*bad.seen, *good.seen)]
    assert calls == [(TRACE, f"{span.context.span_id:016x}") for span in spans["attempt"]]
    assert not [seen for seen in (*bad.seen, *good.seen, *scores.seen) if "baggage" in seen.headers]


def test_a_stream_ends_its_span_with_its_last_chunk(start: Starter, memory: InMemorySpanExporter) -> None:
    fake = start.upstream(lambda seen: stream(*[delta("x")] * 5, delta(finish="stop"), pause=0.05))
    chunks = ask(start, start.router({"m": model(fake.url)}), stream=True)
    next(iter(chunks))
    assert set(named(memory)) == {"score", "choose", "attempt"}
    assert len(list(chunks)) == 5
    wait_until(lambda: "chat" in named(memory))  # the client is expected first
    (chat,) = named(memory)["chat"]
    assert chat.attributes["p2l.status"] == "ok" and chat.attributes["p2l.stream"] is True
    assert chat.end_time - named(memory)["attempt"][0].end_time > 0.1e9
    assert parent(fake.seen[0].headers)[0] == TRACE


def test_failures_end_the_span(start: Starter, memory: InMemorySpanExporter) -> None:
    reply = {"error": {"message": f"{PROMPT} is odd", "code": PROMPT}}
    running = start.router({"m": model(start.upstream(lambda seen: Reply(400, reply)).url)})
    with pytest.raises(openai.BadRequestError, match="is odd"):
        ask(start, running)
    httpx.post(f"{running.base}/chat/completions", json={}, headers={"authorization": f"Bearer {KEY}"})
    chats = named(memory)["chat"]
    assert [(span.attributes["error.type"], span.status.is_ok) for span in chats] == [("400", False)] * 2


def test_without_a_parent_each_request_is_a_trace_of_its_own(start: Starter, memory: InMemorySpanExporter) -> None:
    fake = start.upstream(lambda seen: Reply(body=completion()))
    client = start.client(start.router({"m": model(fake.url)}))
    for header in (None, "garbage"):
        extra = {} if header is None else {"traceparent": header}
        client.chat.completions.create(model="-", messages=HELLO, extra_headers=extra)
    traces = [span.context.trace_id for span in named(memory)["chat"]]
    assert len(set(traces)) == 2 and [parent(seen.headers)[0] for seen in fake.seen] == [f"{t:032x}" for t in traces]


def test_nothing_is_needed_of_opentelemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "_trace", None)
    monkeypatch.setattr(tracing, "_propagator", None)
    tracer, headers = tracing.Tracer(), dict(FROM)
    with tracer.request("chat", headers) as span, tracer.span("score", {"a": 1}):
        tracing.set_attributes(span, {"b": 2})
        tracing.inject(headers)
    tracing.end_span(span, {})
    assert span is None and headers == FROM
