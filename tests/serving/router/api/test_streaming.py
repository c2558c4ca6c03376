"""Streams: chunks as they come, usage when asked, errors in mid-stream, an end always."""

import json
import time
from typing import Any

import httpx
import openai
import pytest

from tests.serving.router.conftest import IMPATIENT, Starter
from tests.serving.router.fakes import KEY, Reply, Seen, completion, delta, model, stream
from tests.waiting import wait_until

HELLO = [{"role": "user", "content": "hi"}]
USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
CHUNKS = [delta("", role="assistant"), delta("Hel"), delta("lo"), delta(finish="stop")]


def with_usage(seen: Seen) -> Reply:
    """OpenAI's manner: a last chunk of no choices where usage was asked for."""
    asked = (seen.body.get("stream_options") or {}).get("include_usage")
    return stream(*CHUNKS, *([{**delta(), "choices": [], "usage": USAGE}] if asked else []))


def frames(url: str, body: dict[str, Any]) -> list[Any]:
    """The events of a streamed chat, parsed; [DONE] as it is."""
    with httpx.stream(
        "POST", f"{url}/chat/completions", json=body, headers={"authorization": f"Bearer {KEY}"}
    ) as answer:
        assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/event-stream")
        lines = [line[6:] for line in answer.iter_lines() if line]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


def test_chunks_as_they_are_but_for_the_extras(start: Starter) -> None:
    fake = start.upstream(with_usage)
    running = start.router({"m": model(fake.url)})
    *chunks, done = frames(running.base, {"messages": HELLO, "stream": True})
    assert done == "[DONE]"
    assert chunks[0].pop("router_outputs") == {"m": 1.0}
    assert all(chunk["choices"][0]["delta"].pop("model") == "m" for chunk in chunks)
    assert chunks == CHUNKS
    assert "stream_options" not in fake.seen[-1].body


@pytest.mark.parametrize("prices", [None, {"input": 1.0, "output": 2.0}])
@pytest.mark.parametrize("asked", [True, False])
def test_usage_when_asked(start: Starter, asked: bool, prices: dict[str, float] | None) -> None:
    fake = start.upstream(with_usage)
    running = start.router({"m": model(fake.url, prices=prices) if prices else model(fake.url)})
    options = {"stream_options": {"include_usage": True}} if asked else {}
    *chunks, done = frames(running.base, {"messages": HELLO, "stream": True, **options})
    assert done == "[DONE]" and [c["usage"] for c in chunks if c.get("usage")] == ([USAGE] if asked else [])
    assert all(chunk["choices"] for chunk in chunks) != asked


def test_chunks_are_not_held_back(start: Starter) -> None:
    fake = start.upstream(lambda seen: stream(*CHUNKS, pause=0.15))  # the role waits for the first text
    client = start.client(start.router({"m": model(fake.url)}))
    times = []
    for _ in client.chat.completions.create(model="-", messages=HELLO, stream=True):
        times.append(time.monotonic())
    assert len(times) == 4 and times[-1] - times[0] > 0.2


def test_parallel_tool_calls_in_pieces(start: Starter) -> None:
    def call(index: int, **function: str) -> dict[str, Any]:
        return delta(tool_calls=[{"index": index, "function": function}])

    pieces = [
        call(0, name="f", arguments=""),
        call(0, arguments='{"a":'),
        call(0, arguments="1}"),
        call(1, name="g", arguments="{}"),
    ]
    _, client = start.one(lambda seen: stream(*pieces, delta(finish="tool_calls")))
    with client.chat.completions.stream(model="-", messages=HELLO) as events:
        for _ in events:
            pass
        message = events.get_final_completion().choices[0].message
    assert message.tool_calls is not None
    assert [(c.function.name, c.function.arguments) for c in message.tool_calls] == [("f", '{"a":1}'), ("g", "{}")]


BROKEN = {
    "reset": lambda: stream(*CHUNKS[:2], done=False, reset=True),
    "clean end without a finish": lambda: stream(*CHUNKS[:2], done=False),
    "malformed": lambda: stream(*CHUNKS[:2], b'{"id": "x", '),
    "not an object": lambda: stream(*CHUNKS[:2], b"[1]"),
    "error event": lambda: stream(*CHUNKS[:2], {"error": {"message": "secret inner detail", "type": "server_error"}}),
    "silence": lambda: stream(*CHUNKS[:2], done=False, hang=1.0),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_stream_that_breaks_ends_with_an_error(start: Starter, how: str) -> None:
    fake = start.upstream(lambda seen: BROKEN[how]())
    running = start.router({"m": model(fake.url)}, IMPATIENT)
    *chunks, last, done = frames(running.base, {"messages": HELLO, "stream": True})
    assert done == "[DONE]" and len(chunks) == 2
    assert set(last) == {"error"} and last["error"]["message"] and "secret" not in last["error"]["message"]
    with pytest.raises(openai.APIError, match="model"):
        list(start.client(running).chat.completions.create(model="-", messages=HELLO, stream=True))


def test_a_stream_without_done_is_whole_if_it_finished(start: Starter) -> None:
    fake = start.upstream(lambda seen: stream(*CHUNKS, done=False))
    events = frames(start.router({"m": model(fake.url)}).base, {"messages": HELLO, "stream": True})
    assert events[-1] == "[DONE]" and len(events) == 5


def test_no_end_holds_up_a_finished_stream(start: Starter) -> None:
    """Whoever waited for it would see the silence as a failure."""
    fake = start.upstream(lambda seen: stream(*CHUNKS, hang=600.0))
    running = start.router({"m": model(fake.url)}, IMPATIENT)
    *chunks, done = frames(running.base, {"messages": HELLO, "stream": True})
    assert done == "[DONE]" and not [chunk for chunk in chunks if "error" in chunk]


def test_before_the_first_chunk_another_model_may_answer(start: Starter) -> None:
    bad, good = start.upstream(lambda seen: stream(b"not json")), start.upstream(with_usage)
    running = start.router({"bad": model(bad.url), "good": model(good.url)})
    client = start.client(running)
    raw = client.chat.completions.with_raw_response.create(model="-", messages=HELLO, stream=True)
    assert raw.headers["x-p2l-model"] == "good" and raw.headers["x-p2l-fallback-from"] == "bad"
    assert raw.headers["x-p2l-attempts"] == "3"
    assert "".join(c.choices[0].delta.content or "" for c in raw.parse()) == "Hello"


def test_o1_streams_its_whole_answer(start: Starter) -> None:
    fake = start.upstream(lambda seen: Reply(body=completion("Whole.")))
    running = start.router({"m": model(fake.url, type="openai-o1")})
    options = {"stream_options": {"include_usage": True}}
    first, usage, done = frames(running.base, {"messages": HELLO, "stream": True, **options})
    assert first["choices"][0]["delta"]["content"] == "Whole." and first["choices"][0]["finish_reason"] == "stop"
    assert first["router_outputs"] == {"m": 1.0} and usage["usage"] == USAGE and done == "[DONE]"
    assert "stream" not in fake.seen[-1].body and "stream_options" not in fake.seen[-1].body


def test_a_client_that_leaves_ends_the_upstream_stream(start: Starter) -> None:
    fake = start.upstream(lambda seen: stream(*[delta("x")] * 1000, pause=0.02))
    running = start.router({"m": model(fake.url)})
    client = start.client(running)
    chunks = client.chat.completions.create(model="-", messages=HELLO, stream=True)
    next(iter(chunks))
    assert fake.open == 1
    chunks.close()
    wait_until(lambda: fake.open == 0)


def test_a_client_that_never_reads_is_charged_and_let_go(start: Starter) -> None:
    """It left before the first byte: the source is closed and the bill is settled all the same."""
    fake = start.upstream(lambda seen: stream(*[delta("x")] * 1000, pause=0.02, delay=0.3))
    running = start.router({"m": model(fake.url)}, {"keys": [{"name": "k", "key": "sk-k-00000", "budget": 9.0}]})
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{running.base}/chat/completions",
            json={"messages": HELLO, "stream": True},
            headers={"authorization": "Bearer sk-k-00000"},
            timeout=0.1,
        )
    time.sleep(0.4)
    wait_until(lambda: fake.open == 0)
    assert running.spent() in (0.0, 1.0)
