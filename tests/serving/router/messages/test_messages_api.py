"""``/v1/messages`` as its own client sees it: answers, streams, refusals, headers, costs."""

import json
from collections.abc import Callable
from typing import Any

import anthropic
import httpx
import pytest

from p2l.serving.router.upstream.providers.tool_results import FAILED
from tests.serving.router.conformance.vendors import CLAUDE
from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import KEY, Reply, Running, Seen, completion, delta, model, stream
from tests.waiting import wait_until

HI: Any = [{"role": "user", "content": "hi"}]
ASK: dict[str, Any] = {"model": "-", "max_tokens": 100, "messages": HI}
TOOL: dict[str, Any] = {"name": "f", "input_schema": {"type": "object", "properties": {}}}
MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": CLAUDE,
    "content": [{"type": "text", "text": "Hello!"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 4, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 6, "output_tokens": 3},
}
USAGE = {
    "prompt_tokens": 15,
    "completion_tokens": 3,
    "total_tokens": 18,
    "prompt_tokens_details": {"cached_tokens": 5},
}


def post(running: Running, body: Any, path: str = "/messages", **headers: str) -> httpx.Response:
    given = {"x-api-key": KEY, "anthropic-version": "2023-06-01", **headers}
    return httpx.post(f"{running.base}{path}", json=body, headers=given, timeout=20)


def events_of(answer: httpx.Response) -> list[tuple[str, Any]]:
    """The events of a stream: names and data."""
    blocks = [dict(line.split(": ", 1) for line in block.split("\n")) for block in answer.text.strip().split("\n\n")]
    return [(block["event"], httpx.Response(200, text=block["data"]).json()) for block in blocks]


def assembled(running: Running, **fields: Any) -> Any:
    """The message that Anthropic's client puts together from a stream."""
    made = anthropic.Anthropic(base_url=running.url, api_key=KEY, max_retries=0, timeout=20)
    with made as client, client.messages.stream(**{**ASK, **fields}) as events:
        return events.get_final_message()


Before = Callable[..., tuple[Any, Running]]


@pytest.fixture
def before(start: Starter) -> Before:
    """A router before one upstream: of type openai by default."""

    def make(answer: Callable[[Seen], Reply] | None = None, **keys: Any) -> tuple[Any, Running]:
        fake = start.upstream(answer)
        return fake, start.router({"m": model(fake.url, **keys)}, router_type="random")

    return make


def claude(seen: Seen) -> Reply:
    return Reply(body=MESSAGE)


class TestAnswers:
    def test_of_another_provider(self, before: Before) -> None:
        _, running = before(lambda seen: Reply(body={**completion(), "usage": USAGE}))
        answer = post(running, ASK)
        assert answer.json() == {
            "id": "chatcmpl-1",
            "type": "message",
            "role": "assistant",
            "model": "wire-name-2025",
            "content": [{"type": "text", "text": "Hello!"}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {
                "input_tokens": 10,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 5,
                "output_tokens": 3,
            },
            "provider_specific_fields": {"system_fingerprint": "fp_1"},
        }
        assert answer.headers["x-p2l-model"] == "m" and answer.headers["request-id"] == answer.headers["x-request-id"]

    def test_of_anthropic_passes_as_it_is(self, before: Before) -> None:
        new = {**MESSAGE, "stop_reason": "brand_new", "stop_details": {"a": 1}, "content": [{"type": "new", "x": [1]}]}
        fake, running = before(lambda seen: Reply(body=new), type="anthropic", name=CLAUDE)
        body = {**ASK, "speed": "fast", "unheard_of": {"b": 2}, "context_management": {"edits": []}}
        answer = post(running, body, **{"anthropic-beta": "a-1,b-2", "anthropic-version": "2026-10-21"})
        assert answer.json() == new and "x-p2l-dropped" not in answer.headers
        assert fake.seen[0].body == {**body, "model": CLAUDE}
        assert fake.seen[0].headers["anthropic-beta"] == "a-1,b-2"
        assert fake.seen[0].headers["anthropic-version"] == "2026-10-21"
        assert fake.seen[0].headers["x-api-key"] == "sk-upstream-secret" and KEY not in str(fake.seen[0].headers)

    def test_configured_sampling_needs_the_version_that_takes_it(self, before: Before) -> None:
        fake, running = before(claude, type="anthropic", name=CLAUDE, temp=0.5, max_tokens=9, system_prompt="Be brief")
        post(running, ASK, **{"anthropic-version": "2026-10-21"})
        assert fake.seen[0].headers["anthropic-version"] == "2023-06-01"
        assert fake.seen[0].body == {**ASK, "model": CLAUDE, "temperature": 0.5, "system": "Be brief"}

    @pytest.mark.parametrize(
        ("finish", "message", "reason"),
        [
            ("length", {}, "max_tokens"),
            ("stop", {"refusal": "I will not"}, "refusal"),
            ("stop", {"tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]}, "tool_use"),
            ("eos", {}, "end_turn"),
        ],
    )
    def test_the_stop_reason(self, before: Before, finish: str, message: Any, reason: str) -> None:
        whole = completion(**message)
        whole["choices"][0]["finish_reason"] = finish
        _, running = before(lambda seen: Reply(body=whole))
        assert post(running, ASK).json()["stop_reason"] == reason

    def test_the_stop_sequence_if_the_server_names_it(self, before: Before) -> None:
        whole = completion()
        whole["choices"][0]["stop_reason"] = "END"
        fake, running = before(lambda seen: Reply(body=whole))
        got = post(running, {**ASK, "stop_sequences": ["END"]}).json()
        assert (got["stop_reason"], got["stop_sequence"]) == ("stop_sequence", "END") and fake.seen[0].body["stop"]

    def test_a_usage_that_is_missing_is_estimated_and_says_so(self, before: Before) -> None:
        whole = completion("four" * 5)
        del whole["usage"]
        _, running = before(lambda seen: Reply(body=whole))
        usage = post(running, {**ASK, "messages": [{"role": "user", "content": "x" * 40}]}).json()["usage"]
        assert usage["estimated"] is True and (usage["input_tokens"], usage["output_tokens"]) == (10, 5)

    def test_reasoning_comes_to_those_who_ask(self, before: Before) -> None:
        fake, running = before(lambda seen: Reply(body=completion(reasoning_content="Hm.")))
        thinking = {"type": "enabled", "budget_tokens": 5000}
        asked = post(running, {**ASK, "thinking": thinking}).json()["content"]
        assert asked[0] == {"type": "thinking", "thinking": "Hm.", "signature": ""} and len(asked) == 2
        assert fake.seen[0].body["reasoning_effort"] == "medium" and "thinking" not in fake.seen[0].body
        assert [block["type"] for block in post(running, ASK).json()["content"]] == ["text"]

    def test_what_this_api_has_no_field_for_is_carried(self, before: Before) -> None:
        whole = completion(annotations=[{"url": "u"}], provider_specific_fields={"a": 1})
        _, running = before(lambda seen: Reply(body={**whole, "citations": ["c"]}))
        carried = post(running, ASK).json()["provider_specific_fields"]
        assert carried == {"annotations": [{"url": "u"}], "a": 1, "citations": ["c"], "system_fingerprint": "fp_1"}

    def test_a_call_without_a_name_is_the_model_s_fault(self, before: Before) -> None:
        _, running = before(lambda seen: Reply(body=completion(None, tool_calls=[{"id": "c"}])))
        assert post(running, ASK).status_code == 502


class TestStreams:
    def test_the_sequence_of_events(self, before: Before) -> None:
        chunks = [delta("", role="assistant"), delta("Hel"), delta("lo!"), delta(finish="stop")]
        usage = {**delta(), "choices": [], "usage": USAGE}
        fake, running = before(lambda seen: stream(*chunks, usage))
        answer = post(running, {**ASK, "stream": True})
        events = events_of(answer)
        assert [name for name, _ in events] == [
            *("message_start", "ping", "content_block_start", "content_block_delta", "content_block_delta"),
            *("content_block_stop", "message_delta", "message_stop"),
        ]
        assert all(name == event["type"] for name, event in events) and "[DONE]" not in answer.text
        assert events[0][1]["message"]["content"] == [] and events[0][1]["message"]["stop_reason"] is None
        assert events[-2][1]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
        assert events[-2][1]["usage"]["input_tokens"] == 10 and events[-2][1]["usage"]["cache_read_input_tokens"] == 5
        assert fake.seen[0].body["stream_options"] == {"include_usage": True}

    def test_parallel_calls_one_after_the_other(self, before: Before) -> None:
        def piece(index: int, arguments: str, **call: Any) -> dict[str, Any]:
            return delta(
                tool_calls=[{"index": index, "function": {"arguments": arguments, **call.pop("named", {})}, **call}]
            )

        chunks = [
            delta("Both.", role="assistant"),
            piece(0, "", id="a", named={"name": "f"}),
            piece(1, '{"x"', id="b", named={"name": "g"}),
            piece(0, '{"y": 1}'),
            piece(1, ": [2]}"),
            piece(2, "", id="c", named={"name": "h"}),
            delta(finish="tool_calls"),
        ]
        _, running = before(lambda seen: stream(*chunks))
        answer = post(running, {**ASK, "stream": True})
        is_open = None
        for _, event in events_of(answer):
            if event["type"] == "content_block_start":
                assert is_open is None
                is_open = event["index"]
            elif event["type"].startswith("content_block"):
                assert event["index"] == is_open
                is_open = None if event["type"] == "content_block_stop" else is_open
        got = assembled(running)
        assert [(block.name, block.id, block.input) for block in got.content[1:]] == [
            ("f", "a", {"y": 1}),
            ("g", "b", {"x": [2]}),
            ("h", "c", {}),
        ]
        assert got.content[0].text == "Both." and got.stop_reason == "tool_use"

    def test_thinking_before_the_text(self, before: Before) -> None:
        chunks = [delta(reasoning="Hm"), delta(reasoning="."), delta("Yes"), delta(finish="stop")]
        _, running = before(lambda seen: stream(*chunks))
        got = assembled(running, thinking={"type": "adaptive"})
        assert [block.type for block in got.content] == ["thinking", "text"]
        assert got.content[0].thinking == "Hm." and got.content[1].text == "Yes"
        assert [block.type for block in assembled(running).content] == ["text"]

    def test_signed_thoughts_in_pieces(self, before: Before) -> None:
        first = {
            "thinking_blocks": [{"type": "thinking", "thinking": "Hm", "signature": ""}],
            "reasoning_content": "Hm",
        }
        signed = {"thinking_blocks": [{"type": "thinking", "thinking": "", "signature": "sig"}]}
        hidden = {"thinking_blocks": [{"type": "redacted_thinking", "data": "xx"}]}
        _, running = before(lambda seen: stream(*(delta(**d) for d in (first, signed, hidden)), delta("a", "stop")))
        got = assembled(running, thinking={"type": "adaptive"})
        assert [block.to_dict() for block in got.content[:2]] == [
            {"type": "thinking", "thinking": "Hm", "signature": "sig"},
            {"type": "redacted_thinking", "data": "xx"},
        ]

    def test_of_anthropic_every_event_passes(self, before: Before) -> None:
        sent: list[Any] = [
            {"type": "message_start", "message": {**MESSAGE, "content": [], "stop_reason": None, "new": 1}},
            {"type": "ping"},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "unheard_of", "x": {}}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "new_delta", "y": "z"}},
            {"type": "content_block_stop", "index": 0},
            {"type": "new_event", "data": [1]},
            {"type": "message_delta", "delta": {"stop_reason": "new_reason"}, "usage": {"output_tokens": 3}},
            {"type": "message_stop"},
        ]
        _, running = before(lambda seen: stream(*sent, done=False, named=True), type="anthropic", name=CLAUDE)
        assert [event for _, event in events_of(post(running, {**ASK, "stream": True}))] == sent

    @pytest.mark.parametrize("kind", ["openai", "anthropic"])
    def test_one_that_breaks_ends_with_an_error(self, before: Before, kind: str) -> None:
        start = {"type": "message_start", "message": {**MESSAGE, "content": []}}
        text = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "Hel"}}
        broken = {"openai": stream(delta("Hel"), done=False), "anthropic": stream(start, text, done=False, named=True)}
        _, running = before(lambda seen: broken[kind], type=kind)
        name, event = events_of(post(running, {**ASK, "stream": True}))[-1]
        assert name == event["type"] == "error" and event["error"]["type"] == "api_error"
        assert "ended before" in event["error"]["message"]
        with pytest.raises(anthropic.APIError, match="ended before"):
            assembled(running)


class TestRequests:
    def test_fields_of_another_provider(self, before: Before) -> None:
        fake, running = before()
        schema = {"type": "object", "properties": {"a": {}}, "required": ["a"], "additionalProperties": False}
        body = {
            **ASK,
            "system": "Be brief",
            "tools": [{**TOOL, "type": "custom", "description": "d", "strict": True, "input_examples": [{}]}],
            "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
            "stop_sequences": ["x"],
            "metadata": {"user_id": "u"},
            "output_config": {"effort": "max", "format": {"type": "json_schema", "schema": schema}},
            "service_tier": "standard_only",
            "context_management": {"edits": [1]},
        }
        answer = post(running, body, **{"anthropic-beta": "b"})
        function = {"name": "f", "parameters": TOOL["input_schema"], "description": "d", "strict": True}
        format_ = {"name": "answer", "schema": schema, "strict": True}
        assert fake.seen[0].body == {
            "model": "wire-name",
            "messages": [{"role": "system", "content": "Be brief"}, *HI],
            "max_tokens": 100,
            "tools": [{"type": "function", "function": function}],
            "tool_choice": "required",
            "parallel_tool_calls": False,
            "stop": ["x"],
            "user": "u",
            "service_tier": "default",
            "reasoning_effort": "high",
            "response_format": {"type": "json_schema", "json_schema": format_},
        }
        lost = "anthropic-beta, context_management, output_config.effort, tools.input_examples"
        assert answer.headers["x-p2l-dropped"] == lost

    @pytest.mark.parametrize(
        ("choice", "sent"),
        [
            ({"type": "auto"}, "auto"),
            ({"type": "none"}, "none"),
            ({"type": "tool", "name": "f"}, {"type": "function", "function": {"name": "f"}}),
        ],
    )
    def test_the_choice_of_a_tool(self, before: Before, choice: Any, sent: Any) -> None:
        fake, running = before()
        post(running, {**ASK, "tools": [TOOL], "tool_choice": choice})
        assert fake.seen[0].body["tool_choice"] == sent

    def test_results_of_parallel_calls_stay_together(self, before: Before) -> None:
        fake, running = before()
        image = {"type": "image", "source": {"type": "url", "url": "https://a/b.png"}}
        uses = [{"type": "tool_use", "id": name, "name": "f", "input": {}} for name in "ab"]
        results = [
            {"type": "tool_result", "tool_use_id": "a", "content": [image], "is_error": True},
            {"type": "tool_result", "tool_use_id": "b", "content": "ok"},
            {"type": "text", "text": "Go on"},
        ]
        post(
            running,
            {**ASK, "messages": [*HI, {"role": "assistant", "content": uses}, {"role": "user", "content": results}]},
        )
        sent = fake.seen[0].body["messages"]
        assert [message["role"] for message in sent] == ["user", "assistant", "tool", "tool", "user", "user"]
        assert sent[1]["content"] is None and len(sent[1]["tool_calls"]) == 2
        assert sent[2]["content"].startswith(FAILED) and sent[3]["content"] == "ok"
        assert sent[4]["content"][1]["image_url"]["url"] == "https://a/b.png" and sent[5]["content"] == "Go on"

    @pytest.mark.parametrize(
        ("fields", "lacks"),
        [
            ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools that only Anthropic has"),
            ({"mcp_servers": [{"url": "https://x"}]}, "tools that only Anthropic has"),
            (
                {"messages": [{"role": "user", "content": [{"type": "search_result", "source": "x"}]}]},
                "content blocks that only Anthropic has",
            ),
            (
                {
                    "messages": [
                        {"role": "user", "content": [{"type": "image", "source": {"type": "file", "file_id": "f"}}]}
                    ]
                },
                "content blocks that only Anthropic has",
            ),
        ],
    )
    def test_what_only_anthropic_has_goes_to_it_or_is_refused(self, start: Starter, fields: Any, lacks: str) -> None:
        fake = start.upstream(
            lambda seen: Reply(body=MESSAGE) if seen.path == "/v1/messages" else Reply(body=completion())
        )
        models = {"gpt": model(fake.url), "claude": model(fake.url, type="anthropic", name=CLAUDE)}
        running = start.router(models)
        assert post(running, ASK).headers["x-p2l-model"] == "gpt"
        assert post(running, {**ASK, **fields}).headers["x-p2l-model"] == "claude"
        assert {**fake.seen[-1].body, "model": "-"} == {**ASK, **fields}
        refused = post(running, {**ASK, **fields, "model": "gpt"})
        assert refused.status_code == 400 and lacks in refused.json()["error"]["message"]

    def test_thoughts_of_another_vendor_do_not_reach_anthropic(self, before: Before) -> None:
        fake, running = before(claude, type="anthropic", name=CLAUDE)
        said = [
            {"type": "thinking", "thinking": "Hm.", "signature": ""},
            {"type": "tool_use", "id": "functions.f:0", "name": "f", "input": {}},
        ]
        result = [{"type": "tool_result", "tool_use_id": "functions.f:0", "content": "1"}]
        history = [*HI, {"role": "assistant", "content": said}, {"role": "user", "content": result}]
        answer = post(running, {**ASK, "tools": [TOOL], "messages": history})
        sent = fake.seen[0].body["messages"]
        assert [block["type"] for block in sent[1]["content"]] == ["tool_use"]
        assert sent[1]["content"][0]["id"] == sent[2]["content"][0]["tool_use_id"] != "functions.f:0"
        assert answer.headers["x-p2l-dropped"] == "messages.content.thinking"

    def test_thoughts_of_one_claude_do_not_reach_another(self, start: Starter) -> None:
        thought = {"type": "thinking", "thinking": "Hm.", "signature": "sig"}
        use = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}
        said = {**MESSAGE, "content": [thought, use], "stop_reason": "tool_use"}
        fake = start.upstream(lambda seen: Reply(body=said))
        models = {name: model(fake.url, type="anthropic", name=name) for name in (CLAUDE, "claude-opus-4-5")}
        running = start.router(models)
        got = post(running, {**ASK, "tools": [TOOL], "model": CLAUDE}).json()["content"]
        result = [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "1"}]
        history = [*HI, {"role": "assistant", "content": got}, {"role": "user", "content": result}]
        kept = post(running, {**ASK, "tools": [TOOL], "messages": history, "model": CLAUDE})
        assert fake.seen[-1].body["messages"] == history and "x-p2l-dropped" not in kept.headers
        other = post(running, {**ASK, "tools": [TOOL], "messages": history, "model": "claude-opus-4-5"})
        assert fake.seen[-1].body["messages"][1]["content"] == [use]
        assert other.headers["x-p2l-dropped"] == "messages.content.thinking"


class TestErrors:
    @pytest.mark.parametrize(
        ("body", "said"),
        [
            ({"model": "-", "messages": HI}, "max_tokens"),
            ({**ASK, "messages": []}, "messages"),
            ({**ASK, "messages": [{"role": "tool", "content": "x"}]}, "user, assistant or system; got 'tool'"),
            ({**ASK, "messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
            ({**ASK, "messages": [{"role": "user", "content": [{"type": "image"}]}]}, "messages[0].content[0].source"),
            ({**ASK, "messages": [{"role": "assistant", "content": [{"type": "tool_use"}]}]}, "input"),
            ({**ASK, "tools": [{"name": "f"}]}, "tools[0].input_schema"),
            ({**ASK, "tool_choice": "auto"}, "tool_choice.type"),
            ({**ASK, "max_tokens": -1}, "max_tokens"),
            ({**ASK, "metadata": {"user_id": 5}}, "metadata.user_id"),
            ({**ASK, "thinking": "yes"}, "thinking"),
            ({**ASK, "stop_sequences": "x"}, "stop_sequences"),
            ({**ASK, "api_base": "http://evil"}, "api_base"),
        ],
    )
    def test_a_wrong_field_is_named(self, before: Before, body: Any, said: str) -> None:
        fake, running = before()
        answer = post(running, body)
        error = answer.json()["error"]
        assert answer.status_code == 400 and error["type"] == "invalid_request_error" and said in error["message"]
        assert answer.json()["type"] == "error" and not fake.seen

    def test_versions_and_accounts(self, before: Before) -> None:
        fake, running = before()
        old = post(running, ASK, **{"anthropic-version": "2023-01-01"})
        assert old.status_code == 400 and "2026-10-21; got '2023-01-01'" in old.json()["error"]["message"]
        assert post(running, ASK, **{"anthropic-workspace-id": "w"}).status_code == 400 and not fake.seen

    def test_keys(self, before: Before) -> None:
        _, running = before()
        wrong = post(running, ASK, **{"x-api-key": "sk-wrong"})
        assert (wrong.status_code, wrong.json()["error"]["type"]) == (401, "authentication_error")
        assert post(running, ASK, **{"x-api-key": "", "authorization": f"Bearer {KEY}"}).status_code == 200
        assert httpx.get(f"{running.base}/models", headers={"x-api-key": KEY}).status_code == 200

    def test_of_a_limit(self, start: Starter) -> None:
        running = start.router({"m": model(start.upstream().url)}, router_type="random", max_body=100)
        answer = post(running, {**ASK, "system": "x" * 200})
        assert answer.status_code == 413 and answer.json()["error"]["type"] == "request_too_large"

    @pytest.mark.parametrize(
        ("status", "sent", "kind"), [(429, 429, "rate_limit_error"), (400, 400, "invalid_request_error")]
    )
    def test_of_the_model(self, before: Before, status: int, sent: int, kind: str) -> None:
        error = {"type": "error", "error": {"type": "x", "message": "too bad"}}
        _, running = before(lambda seen: Reply(status, error), type="anthropic", name=CLAUDE)
        answer = post(running, ASK)
        assert answer.status_code == sent and answer.json()["error"]["type"] == kind


class TestRouting:
    def test_budget_and_fallback(self, start: Starter) -> None:
        good = start.upstream()
        bad = start.upstream(lambda seen: Reply(500))
        running = start.router({"dear": model(bad.url, 3.0, type="anthropic"), "cheap": model(good.url, 1.0)})
        answer = post(running, ASK)
        assert answer.headers["x-p2l-fallback-from"] == "dear" and answer.headers["x-p2l-model"] == "cheap"
        assert post(running, {**ASK, "cost": 1.0}).headers["x-p2l-attempts"] == "1"
        poor = post(running, {**ASK, "cost": 0.5})
        assert poor.status_code == 400 and "0.5" in poor.json()["error"]["message"]

    @pytest.mark.parametrize("streamed", [False, True])
    @pytest.mark.parametrize("kind", ["openai", "anthropic"])
    def test_the_actual_cost_is_charged(self, start: Starter, kind: str, streamed: bool) -> None:
        def answer(seen: Seen) -> Reply:
            if kind == "openai":
                usage = {**delta(), "choices": [], "usage": USAGE}
                return stream(delta("Hi", "stop"), usage) if streamed else Reply(body={**completion(), "usage": USAGE})
            events: list[Any] = [
                {"type": "message_start", "message": {**MESSAGE, "content": []}},
                {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "Hi"}},
                {"type": "content_block_stop", "index": 0},
                {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}},
                {"type": "message_stop"},
            ]
            return stream(*events, done=False, named=True) if streamed else Reply(body=MESSAGE)

        fake = start.upstream(answer)
        prices = {"input": 100.0, "output": 1000.0, "cached_input": 10.0, "cache_write": 200.0}
        rest = {"keys": [{"name": "ann", "key": "sk-ann-0123456789", "budget": 100.0}]}
        running = start.router({"m": model(fake.url, type=kind, prices=prices)}, rest, router_type="random")
        got = post(running, {**ASK, "stream": streamed}, **{"x-api-key": "sk-ann-0123456789"})
        expected = 10 * 100 + 5 * 10 + 3 * 1000 if kind == "openai" else 4 * 100 + 5 * 10 + 6 * 200 + 3 * 1000
        wait_until(lambda: running.spent() == pytest.approx(expected / 1e6))
        stated = json.loads(got.text.strip().rpartition("data: ")[2])["cost"] if streamed else got.headers["x-p2l-cost"]
        assert float(stated) == pytest.approx(expected / 1e6)

    def test_the_user_names_the_session(self, start: Starter) -> None:
        fake = start.upstream()
        models = {name: model(fake.url) for name in "abcdef"}
        running = start.router(models, {"router": {"session_from_user": True}}, router_type="random")
        body = {**ASK, "metadata": {"user_id": "ann"}}
        assert len({post(running, body).headers["x-p2l-model"] for _ in range(8)}) == 1


COUNTED: dict[str, Any] = {"model": "claude", "messages": HI, "system": "Be brief", "tools": [TOOL]}


def test_models_in_the_form_of_the_client(start: Starter) -> None:
    running = start.router({"a": model(start.upstream().url), "b": model(start.upstream().url)}, router_type="random")
    with anthropic.Anthropic(base_url=running.url, api_key=KEY, max_retries=0) as client:
        listed = list(client.models.list(limit=1))
        assert [one.id for one in listed][-2:] == ["a", "b"] and listed[0].created_at.year == 2025
        assert client.models.retrieve("b").display_name == "b"
    assert start.client(running).models.retrieve("b").owned_by == "openai"


class TestCounting:
    def test_anthropic_counts(self, start: Starter) -> None:
        fake = start.upstream(lambda seen: Reply(body={"input_tokens": 42}))
        models = {"gpt": model(fake.url), "claude": model(fake.url, type="anthropic", name=CLAUDE, temp=0.5)}
        running = start.router(models)
        with anthropic.Anthropic(base_url=running.url, api_key=KEY, max_retries=0) as client:
            assert client.messages.count_tokens(**COUNTED).input_tokens == 42
        seen = fake.seen[-1]
        assert seen.path == "/v1/messages/count_tokens" and seen.body == {**COUNTED, "model": CLAUDE}
        assert seen.headers["anthropic-version"] == "2026-10-21"

    def test_no_other_provider_is_guessed_for(self, start: Starter) -> None:
        fake = start.upstream()
        running = start.router({"gpt": model(fake.url)})
        answer = post(running, {**COUNTED, "model": "gpt"}, "/messages/count_tokens")
        assert answer.status_code == 400 and "gpt is of type openai" in answer.json()["error"]["message"]
        assert not fake.seen

    def test_its_errors_have_the_same_form(self, start: Starter) -> None:
        fake = start.upstream(lambda seen: Reply(400, {"error": {"message": "too long"}}))
        running = start.router({"claude": model(fake.url, type="anthropic", name=CLAUDE)})
        answer = post(running, COUNTED, "/messages/count_tokens")
        assert answer.status_code == 400 and answer.json()["error"]["message"] == "too long"
