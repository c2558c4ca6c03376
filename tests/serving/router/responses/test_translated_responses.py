"""The Responses API by OpenAI's client before models that are asked as for a chat."""

import json
from typing import Any

import httpx
import openai
import pytest
from pydantic import BaseModel

from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import KEY, Reply, Running, Seen, completion, delta, model, stream
from tests.serving.router.fakes_responses import ABLE, answering
from tests.waiting import wait_until

USAGE = {
    "prompt_tokens": 15,
    "prompt_tokens_details": {"cached_tokens": 5},
    "completion_tokens": 3,
    "completion_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 18,
}


def post(running: Running, body: Any, key: str = KEY) -> httpx.Response:
    headers = {"authorization": f"Bearer {key}"}
    return httpx.post(f"{running.base}/responses", json=body, headers=headers, timeout=20)


def events_in(answer: httpx.Response) -> list[Any]:
    return [json.loads(frame.split("data: ", 1)[1]) for frame in answer.text.split("\n\n")[:-1]]


class TestAnswers:
    def test_a_response_repeats_its_request(self, start: Starter) -> None:
        fake = start.upstream(lambda seen: Reply(body={**completion("Hi"), "usage": USAGE, "service_tier": "flex"}))
        client = start.client(start.router({"m": model(fake.url)}, router_type="random"))
        tool: Any = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": False}
        asked: Any = {"instructions": "Be brief", "metadata": {"a": "b"}, "tools": [tool], "temperature": 0.5}
        raw = client.responses.with_raw_response.create(model="-", input="hi", max_output_tokens=50, **asked)
        got: Any = raw.parse()
        assert (got.output_text, got.status, got.store, got.service_tier) == ("Hi", "completed", False, "flex")
        assert (got.instructions, got.metadata, got.temperature) == ("Be brief", {"a": "b"}, 0.5)
        assert got.max_output_tokens == 50 and got.tools[0].name == "f" and got.model == "wire-name-2025"
        assert got.id == f"resp_{raw.headers['x-p2l-decision']}"
        assert got.usage.to_dict() == {
            "input_tokens": 15,
            "input_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 0},
            "output_tokens": 3,
            "output_tokens_details": {"reasoning_tokens": 2},
            "total_tokens": 18,
        }
        assert raw.headers["x-p2l-dropped"] == "metadata" and raw.headers["x-p2l-cost"] == "1"
        assert fake.seen[-1].path == "/chat/completions" and fake.seen[-1].body["max_tokens"] == 50

    def test_parsed_outputs(self, start: Starter) -> None:
        class Sum(BaseModel):
            total: int

        fake, client = start.one(lambda seen: Reply(body=completion('{"total": 3}')))
        assert client.responses.parse(model="-", input="1 + 2?", text_format=Sum).output_parsed == Sum(total=3)
        assert fake.seen[-1].body["response_format"]["json_schema"]["name"] == "Sum"
        fake.answer = lambda seen: stream(delta('{"total"'), delta(": 3}", "stop"))
        with client.responses.stream(model="-", input="1 + 2?", text_format=Sum) as events:
            assert events.get_final_response().output_parsed == Sum(total=3)

    def test_what_has_no_field_is_carried(self, start: Starter) -> None:
        _, client = start.one(lambda seen: Reply(body=completion("Hi", annotations=[{"type": "x"}])))
        got: Any = client.responses.create(model="-", input="hi")
        assert got.provider_specific_fields == {
            "annotations": [{"type": "x", "index": 0}],
            "system_fingerprint": "fp_1",
        }

    def test_log_probabilities(self, start: Starter) -> None:
        one = {"token": "Hi", "bytes": [72, 105], "logprob": -0.5, "top_logprobs": []}

        def answer(seen: Seen) -> Reply:
            chunk = delta("Hi", "stop")
            chunk["choices"][0]["logprobs"] = {"content": [one]}
            return stream(chunk)

        fake, client = start.one(answer)
        include: Any = ["message.output_text.logprobs"]
        with client.responses.stream(model="-", input="hi", include=include, top_logprobs=2) as events:
            got: Any = list(events)
        assert fake.seen[-1].body["logprobs"] is True and fake.seen[-1].body["top_logprobs"] == 2
        shown = [event.logprobs[0].to_dict() for event in got if event.type.startswith("response.output_text")]
        assert shown == [one, one] and got[-1].response.output[0].content[0].logprobs[0].logprob == -0.5

    def test_a_refusal(self, start: Starter) -> None:
        _, client = start.one(lambda seen: stream(delta(refusal="No"), delta(refusal="!", finish="stop")))
        got: Any = list(client.responses.create(model="-", input="hi", stream=True))
        assert "".join(event.delta for event in got if event.type == "response.refusal.delta") == "No!"
        assert got[-1].response.output[0].content[0].refusal == "No!"


class TestState:
    def test_nothing_is_stored(self, start: Starter) -> None:
        fake, client = start.one()
        raw = client.responses.with_raw_response.create(model="-", input="hi", store=True)
        assert raw.headers["x-p2l-dropped"] == "store"
        made = raw.parse().id
        with pytest.raises(openai.BadRequestError, match="send the whole input") as error:
            client.responses.create(model="-", input="more", previous_response_id=made)
        assert error.value.code == "previous_response_not_found" and len(fake.seen) == 1
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(made)

    @pytest.mark.parametrize("field", [{"background": True}, {"conversation": "c"}, {"prompt": {"id": "p"}}])
    def test_what_needs_a_provider_s_state_is_refused(self, start: Starter, field: Any) -> None:
        fake, client = start.one()
        with pytest.raises(openai.BadRequestError, match=next(iter(field))):
            client.responses.create(model="-", input="hi", **field)
        assert not fake.seen

    def test_a_conversation_moves_between_providers(self, start: Starter) -> None:
        blocks = [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "Hi"}]
        head = {"id": "m", "type": "message", "role": "assistant", "model": "claude", "stop_reason": "end_turn"}
        claude = start.upstream(lambda seen: Reply(body={**head, "content": blocks, "usage": {}}))
        own = start.upstream(answering())
        claude_entry = model(claude.url, type="anthropic", name="claude-sonnet-4-5")
        client = start.client(start.router({"claude": claude_entry, "gpt": model(own.url, **ABLE)}))
        items: list[Any] = [{"role": "user", "content": "hi"}]
        include: Any = ["reasoning.encrypted_content"]
        got = client.responses.create(model="claude", input=items, include=include)
        items += [item.to_dict() for item in got.output] + [{"role": "user", "content": "more"}]
        raw = client.responses.with_raw_response.create(model="gpt", input=items)
        assert raw.headers["x-p2l-dropped"] == "input.reasoning"
        assert own.seen[-1].body["input"] == [item for item in items if item.get("type") != "reasoning"]
        client.responses.create(model="claude", input=items, include=include)
        assert claude.seen[-1].body["messages"][1]["content"] == blocks
        tampered = [{**item, "encrypted_content": "p2l1.bm8="} if item.get("summary") else item for item in items]
        raw = client.responses.with_raw_response.create(model="claude", input=tampered)
        assert "input.encrypted_content" in raw.headers["x-p2l-dropped"]


class TestFailures:
    def test_a_fallback_is_asked_in_another_api(self, start: Starter) -> None:
        bad, good = start.upstream(lambda seen: Reply(500)), start.upstream()
        running = start.router({"native": model(bad.url, 2.0, **ABLE), "chat": model(good.url)})
        answer = post(running, {"input": "hi"})
        assert answer.headers["x-p2l-fallback-from"] == "native" and answer.json()["output"][0]["role"] == "assistant"
        assert (bad.seen[-1].path, good.seen[-1].path) == ("/responses", "/chat/completions")

    def test_a_stream_that_breaks_ends_with_an_error(self, start: Starter) -> None:
        fake = start.upstream(lambda seen: stream(delta("Hel"), delta("lo"), done=False, reset=True))
        running = start.router({"m": model(fake.url)}, router_type="random")
        *before, last = events_in(post(running, {"input": "hi", "stream": True}))
        assert last["type"] == "error" and last["message"] and last["code"]
        assert [event["sequence_number"] for event in (*before, last)] == list(range(len(before) + 1))

    def test_a_call_without_a_name_is_the_model_s_fault(self, start: Starter) -> None:
        broken = [{"id": "c", "type": "function", "function": {"arguments": "{}"}}]
        _, client = start.one(lambda seen: Reply(body=completion("", tool_calls=broken)))
        with pytest.raises(openai.InternalServerError, match="name of a function"):
            client.responses.create(model="-", input="hi")

    @pytest.mark.parametrize(
        ("field", "said"),
        [
            ({"input": [{"type": "function_call", "name": "f", "arguments": "{}"}]}, "input[0].call_id"),
            ({"input": [{"type": "function_call_output", "call_id": "c", "output": 5}]}, "input[0].output"),
            ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
            ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0].image_url"),
            ({"input": [{"role": "user"}]}, "input[0]"),
            ({"tools": [{"type": "function"}]}, "tools[0].name"),
            ({"tools": [{"type": "function", "name": "f"}], "tool_choice": "any"}, "tool_choice"),
            ({"text": {"format": {"type": "json_schema"}}}, "text.format.schema"),
            ({"instructions": ["x"]}, "instructions"),
            ({"max_output_tokens": 0}, "max_output_tokens"),
            ({"include": "x"}, "include"),
            ({"reasoning": "high"}, "reasoning"),
        ],
    )
    def test_a_wrong_field_is_named(self, shared: tuple[Any, Running], field: Any, said: str) -> None:
        answer = post(shared[1], {"input": "hi", **field})
        error = answer.json()["error"]
        assert answer.status_code == 400 and error["type"] == "invalid_request_error" and said in error["message"]


class TestCosts:
    def test_a_stream_with_prices_ends_with_its_cost(self, start: Starter) -> None:
        usage = {**delta(), "choices": [], "usage": USAGE}
        fake = start.upstream(lambda seen: stream(delta("Hi", "stop"), usage))
        prices = {"input": 100.0, "output": 1000.0, "cached_input": 10.0}
        rest = {"keys": [{"name": "ann", "key": "sk-ann-0123456789", "budget": 100.0}]}
        running = start.router({"m": model(fake.url, prices=prices)}, rest, router_type="random")
        answer = post(running, {"input": "hi", "stream": True}, "sk-ann-0123456789")
        expected = (10 * 100 + 5 * 10 + 3 * 1000) / 1e6
        assert "x-p2l-cost" not in answer.headers and fake.seen[-1].body["stream_options"] == {"include_usage": True}
        assert events_in(answer)[-1]["response"]["cost"] == pytest.approx(expected)
        wait_until(lambda: running.spent() == pytest.approx(expected))

    def test_a_stream_without_prices_has_it_in_its_headers(self, start: Starter) -> None:
        running = start.router(
            {"m": model(start.upstream(lambda seen: stream(delta("Hi", "stop"))).url)}, router_type="random"
        )
        answer = post(running, {"input": "hi", "stream": True})
        assert answer.headers["x-p2l-cost"] == "1" and "cost" not in events_in(answer)[-1]["response"]
