"""What is charged for answers that are cut, left by their client, filtered or failed: all that providers report."""

import json
from typing import Any

import httpx
import pytest

from tests.serving.router.accounts.test_money import PRICES, RICH, THE_RICH, ask, spent
from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import HELLO, Reply, Running, completion, delta, model, stream
from tests.serving.router.fakes_responses import ABLE, events, response
from tests.waiting import wait_until

PROMPT, CACHED, WRITTEN, THOUGHTS = 1000, 5000, 300, 900
TEXT = "x" * 400  # a hundred tokens, where nobody counts them
CLAUDE_PRICE = PROMPT * 1.0 + CACHED * 0.1 + WRITTEN * 1.25


def claude(*, told: bool = False, end: bool = False) -> list[dict[str, Any]]:
    """The events of a message up to its text, its count of the output, or its end."""
    usage = {"input_tokens": PROMPT, "cache_read_input_tokens": CACHED, "cache_creation_input_tokens": WRITTEN}
    start = {"id": "msg", "model": "c", "role": "assistant", "content": [], "usage": {**usage, "output_tokens": 1}}
    found: list[dict[str, Any]] = [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": TEXT}},
    ]
    if told:
        found.append({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 77}})
    return [*found, {"type": "message_stop"}] if end else found


def gemini(counts: dict[str, int], text: str = TEXT, **rest: Any) -> dict[str, Any]:
    candidate = {"content": {"parts": [{"text": text}] if text else []}, **rest}
    return {"candidates": [candidate], "usageMetadata": {"promptTokenCount": PROMPT, **counts}}


THOUGHT = {"candidates": [{"content": {"parts": [{"text": TEXT, "thought": True}]}}]}
ALL_COUNTS = {"cachedContentTokenCount": 400, "candidatesTokenCount": 88, "thoughtsTokenCount": THOUGHTS}
OF_TEXT = 100 * 10.0

CUT_STREAMS: dict[str, tuple[str, list[dict[str, Any]], float]] = {
    "anthropic, before its count": ("anthropic", claude(), CLAUDE_PRICE + 101 * 10.0),
    "anthropic, after it": ("anthropic", claude(told=True), CLAUDE_PRICE + 77 * 10.0),
    "gemini counts the text": ("gemini", [gemini(ALL_COUNTS)], PROMPT + (88 + THOUGHTS) * 10.0),
    "gemini counts thoughts": (
        "gemini",
        [{**THOUGHT, "usageMetadata": {"promptTokenCount": PROMPT, "thoughtsTokenCount": THOUGHTS}}, gemini({})],
        PROMPT + THOUGHTS * 10.0 + OF_TEXT,
    ),
    "gemini counts the prompt": ("gemini", [gemini({"totalTokenCount": PROMPT})], PROMPT + OF_TEXT),
    "gemini counts a part": ("gemini", [gemini(ALL_COUNTS), gemini({})], PROMPT + (88 + THOUGHTS) * 10.0 + OF_TEXT),
    "openai counts in every chunk": (
        "openai",
        [{**delta(TEXT), "usage": {"prompt_tokens": PROMPT, "completion_tokens": 90}}],
        PROMPT + 90 * 10.0,
    ),
    "openai counts the prompt first": (
        "openai",
        [{**delta(""), "usage": {"prompt_tokens": PROMPT, "completion_tokens": 0}}, delta(TEXT)],
        PROMPT + OF_TEXT,
    ),
}


def one_model(start: Starter, reply: Reply, kind: str = "openai", **keys: Any) -> Running:
    priced = model(start.upstream(lambda seen: reply).url, type=kind, **{"cost": 0.0, "prices": PRICES, **keys})
    return start.router({"m": priced}, {"keys": [RICH]}, router_type="random")


def leave(running: Running, api: str = "chat/completions", **fields: Any) -> None:
    """Read a stream up to its text, then close the connection."""
    body = {"model": "-", "stream": True, **fields}
    with httpx.stream("POST", f"{running.base}/{api}", json=body, headers=THE_RICH, timeout=30) as answer:
        assert answer.status_code == 200
        got = ""
        for line in answer.iter_text():
            got += line
            if "xxx" in got:
                break


def is_charged(running: Running, right: float) -> None:
    """Wait until the key is charged this many millionths."""
    wait_until(lambda: running.spent() == pytest.approx(right / 1e6))


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("name", CUT_STREAMS)
def test_a_stream_that_is_cut_costs_what_was_reported_so_far(start: Starter, name: str, reset: bool) -> None:
    kind, sent, right = CUT_STREAMS[name]
    running = one_model(start, stream(*sent, done=False, reset=reset, named=kind == "anthropic"), kind)
    assert '"error":{' in ask(running, stream=True).text
    is_charged(running, right)


@pytest.mark.parametrize("name", CUT_STREAMS)
def test_so_does_a_stream_whose_client_leaves(start: Starter, name: str) -> None:
    kind, sent, right = CUT_STREAMS[name]
    running = one_model(start, stream(*sent, done=False, hang=20, named=kind == "anthropic"), kind)
    leave(running, messages=HELLO)
    is_charged(running, right)


def test_a_whole_stream_costs_its_last_count(start: Starter) -> None:
    running = one_model(start, stream(*claude(told=True, end=True), done=False, named=True), "anthropic")
    ask(running, stream=True)
    assert spent(running) * 1e6 == pytest.approx(CLAUDE_PRICE + 77 * 10.0)


@pytest.mark.parametrize("counts", [{"totalTokenCount": PROMPT}, {"thoughtsTokenCount": THOUGHTS}])
def test_a_whole_stream_of_gemini_costs_its_last_count(start: Starter, counts: dict[str, int]) -> None:
    sent = [gemini(counts), gemini(ALL_COUNTS, "", finishReason="STOP")]
    running = one_model(start, stream(*sent, done=False), "gemini")
    ask(running, stream=True)
    assert spent(running) * 1e6 == pytest.approx(PROMPT + (88 + THOUGHTS) * 10.0)


@pytest.mark.parametrize("kind", ["openai", "openai-o1"])
def test_a_whole_answer_sent_as_a_stream_costs_its_usage_when_the_client_leaves(start: Starter, kind: str) -> None:
    usage = {"prompt_tokens": PROMPT, "completion_tokens": 5000}
    running = one_model(start, Reply(body={**completion(TEXT), "usage": usage}), kind)
    leave(running, messages=HELLO)
    is_charged(running, PROMPT + 5000 * 10.0)


def test_a_response_that_is_left_costs_the_length_that_came(start: Starter) -> None:
    running = one_model(start, stream(*events(TEXT)[:-1], done=False, hang=20, named=True), **ABLE)
    leave(running, "responses", input="x" * 4000)
    is_charged(running, 1000 * 1.0 + OF_TEXT)


def test_the_limit_of_the_answer_bounds_what_is_estimated(start: Starter) -> None:
    running = one_model(start, stream(*claude(), done=False, reset=True, named=True), "anthropic")
    ask(running, stream=True, max_tokens=40)
    is_charged(running, CLAUDE_PRICE + 40 * 10.0)


USAGE = {"prompt_tokens": PROMPT, "completion_tokens": 50, "total_tokens": PROMPT + 50}
FILTERED = {**completion(""), "usage": USAGE}
FILTERED["choices"] = [{**FILTERED["choices"][0], "finish_reason": "content_filter"}]
OF_CALL = PROMPT * 1.0 + 50 * 10.0
GAVE_UP = {
    "candidates": [{"content": {"parts": []}, "finishReason": "MALFORMED_FUNCTION_CALL"}],
    "usageMetadata": {"promptTokenCount": PROMPT, "thoughtsTokenCount": 50},
}
CLAUDE_ANSWER = {"id": "m", "model": "c", "content": [], "usage": {"input_tokens": PROMPT, "output_tokens": 50}}
FAILED: dict[str, tuple[str, Reply]] = {
    "filtered": ("openai", Reply(body=FILTERED)),
    "no choices": ("openai", Reply(body={**FILTERED, "choices": []})),
    "an error beside a usage": ("openai", Reply(body={"error": {"message": "x", "code": 401}, "usage": USAGE})),
    "gemini gives up": ("gemini", Reply(body=GAVE_UP)),
    "gemini gives up in a stream": ("gemini", stream(GAVE_UP, done=False)),
    "claude ends for an unknown reason": ("anthropic", Reply(body={**CLAUDE_ANSWER, "stop_reason": "new"})),
    "claude refuses": ("anthropic", Reply(body={**CLAUDE_ANSWER, "stop_reason": "refusal"})),
}


def two_models(start: Starter, kind: str, reply: Reply, second: Reply | None = None, **keys: Any) -> Running:
    """A router over a model that gives this reply, once for each request, and another."""
    first = start.upstream(lambda seen: reply)
    other = start.upstream(lambda seen: second or Reply(body={**completion(), "usage": USAGE}))
    priced: dict[str, Any] = {"cost": 0.0, "prices": PRICES, **keys}
    models = {"first": model(first.url, type=kind, **priced), "other": model(other.url, **priced)}
    calls = {"attempts_per_model": 1, "backoff": 0.01}
    return start.router(models, {"keys": [{**RICH, "budget": 10.0}], "calls": calls})


class TestCallsWithoutAnAnswer:
    @pytest.mark.parametrize("name", FAILED)
    def test_what_their_provider_reports_is_charged(self, start: Starter, name: str) -> None:
        kind, reply = FAILED[name]
        streamed = reply.pieces is not None
        chunks = stream(delta("hi"), delta(finish="stop"), {**delta(), "choices": [], "usage": USAGE})
        running = two_models(start, kind, reply, chunks if streamed else None)
        answer = ask(running, **({"stream": True, "stream_options": {"include_usage": True}} if streamed else {}))
        assert answer.headers["x-p2l-model"] == "other" and answer.headers["x-p2l-attempts"] == "2"
        stated = float(answer.headers.get("x-p2l-cost") or answer.text.rpartition('"cost":')[2].partition("}")[0])
        assert stated * 1e6 == pytest.approx(2 * OF_CALL)
        is_charged(running, 2 * OF_CALL)
        shown = httpx.get(f"{running.url}/metrics").text
        for each in ("first", "other"):
            assert f'p2l_router_tokens_total{{kind="completion_tokens",model="{each}"}} 50.0' in shown

    def test_each_attempt_counts(self, start: Starter) -> None:
        fake = start.upstream(lambda seen: Reply(body=GAVE_UP))
        priced = model(fake.url, type="gemini", cost=0.0, prices=PRICES)
        running = start.router({"m": priced}, {"keys": [RICH]}, router_type="random")
        answer = ask(running)
        assert answer.status_code == 502 and len(fake.seen) == 2
        assert float(answer.headers["x-p2l-cost"]) * 1e6 == pytest.approx(2 * OF_CALL)
        is_charged(running, 2 * OF_CALL)

    def test_a_failure_without_usage_is_free(self, start: Starter) -> None:
        running = two_models(start, "openai", Reply(500, {}))
        assert float(ask(running).headers["x-p2l-cost"]) * 1e6 == pytest.approx(OF_CALL)
        is_charged(running, OF_CALL)

    @pytest.mark.parametrize("streamed", [False, True])
    def test_a_filtered_answer_that_the_client_gets_is_charged_once(self, start: Starter, streamed: bool) -> None:
        chunks = stream(delta(finish="content_filter"), {**delta(), "choices": [], "usage": USAGE})
        reply = chunks if streamed else Reply(body=FILTERED)
        running = two_models(start, "openai", reply, Reply(500, {}))
        assert "content_filter" in ask(running, stream=streamed).text
        is_charged(running, OF_CALL)

    def test_it_is_charged_where_the_budget_pays_for_no_other_model(self, start: Starter) -> None:
        first = start.upstream(lambda seen: Reply(body=FILTERED))
        models = {
            "first": model(first.url, 1.0, prices=PRICES),
            "dear": model(start.upstream().url, 20.0, prices=PRICES),
        }
        running = start.router(models, {"keys": [{**RICH, "budget": 10.0}]})
        answer = ask(running)
        assert answer.headers["x-p2l-model"] == "first" and len(first.seen) == 1
        is_charged(running, OF_CALL)

    def test_without_prices_each_billed_call_costs_an_answer(self, start: Starter) -> None:
        running = two_models(start, "openai", Reply(body=FILTERED), prices=None, cost=2.0)
        assert ask(running).headers["x-p2l-cost"] == "4"
        is_charged(running, 4e6)

    def test_a_filtered_answer_without_usage_costs_an_answer_if_the_client_gets_it(self, start: Starter) -> None:
        silent = {name: value for name, value in FILTERED.items() if name != "usage"}
        running = two_models(start, "openai", Reply(body=silent), Reply(500, {}), prices=None, cost=2.0)
        assert ask(running).headers["x-p2l-cost"] == "2"
        is_charged(running, 2e6)

    def test_billed_failures_use_up_a_budget(self, start: Starter) -> None:
        fake = start.upstream(lambda seen: Reply(body=GAVE_UP))
        priced = model(fake.url, type="gemini", cost=0.0, prices=PRICES)
        running = start.router({"m": priced}, {"keys": [{**RICH, "budget": 0.001}]}, router_type="random")
        assert ask(running).status_code == 502
        assert ask(running).json()["error"]["code"] == "insufficient_quota" and len(fake.seen) == 2

    def test_a_failed_response_is_charged(self, start: Starter) -> None:
        failed = response(
            status="failed",
            error={"code": "server_error", "message": "x"},
            usage={"input_tokens": PROMPT, "output_tokens": 50},
        )
        fake = start.upstream(lambda seen: Reply(body=failed))
        priced = model(fake.url, 0.0, prices=PRICES, **ABLE)
        running = start.router({"m": priced}, {"keys": [RICH]}, router_type="random")
        answer = httpx.post(f"{running.base}/responses", json={"model": "-", "input": "hi"}, headers=THE_RICH)
        assert answer.status_code >= 500
        is_charged(running, len(fake.seen) * OF_CALL)


def test_a_stream_of_several_choices_states_its_cost_beside_its_usage(start: Starter) -> None:
    chunks: list[dict[str, Any]] = [delta("a"), delta(finish="stop")]
    chunks += [{**chunk, "choices": [{**chunk["choices"][0], "index": 1}]} for chunk in chunks]
    running = one_model(start, stream(*chunks, {**delta(), "choices": [], "usage": USAGE}), prices=None, cost=2.0)
    answer = ask(running, n=2, stream=True, stream_options={"include_usage": True})
    assert "x-p2l-cost" not in answer.headers and '"cost":4.0}' in answer.text
    is_charged(running, 4e6)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("blocks", [5, ["x"], [{"type": "thinking", "thinking": 10**30, "signature": 10**30}]])
def test_thoughts_in_an_unknown_form_reach_the_client_and_cost_their_usage(
    start: Starter, blocks: Any, streamed: bool
) -> None:
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    odd: dict[str, Any] = {"thinking_blocks": blocks, "tool_calls": [call]}
    chunks = [delta("hi", **odd), delta(finish="tool_calls"), {**delta(), "choices": [], "usage": USAGE}]
    whole = json.dumps({**completion("hi", **odd), "usage": USAGE}).encode()  # orjson lacks such numbers
    reply = stream(*(json.dumps(chunk).encode() for chunk in chunks)) if streamed else Reply(body=whole)
    running = one_model(start, reply, cost=1.0)
    answer = ask(running, stream=streamed)
    assert answer.status_code == 200 and '"thinking_blocks":' in answer.text and '"error"' not in answer.text
    is_charged(running, OF_CALL)


@pytest.mark.parametrize("calls", [["x"], {"a": 1}, 5])
def test_calls_that_are_no_objects_go_to_the_next_model(start: Starter, calls: Any) -> None:
    running = two_models(start, "openai", Reply(body={**completion("hi", tool_calls=calls), "usage": USAGE}))
    answer = ask(running)
    assert (answer.headers["x-p2l-model"], answer.headers["x-p2l-attempts"]) == ("other", "2")
    is_charged(running, 2 * OF_CALL)
