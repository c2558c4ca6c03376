"""The Responses API: bodies and events pass through to models that declare it."""

import json
from typing import Any

import httpx
import openai
import orjson
import pytest
from pydantic import BaseModel

from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import KEY, Reply, Seen, model, stream
from tests.serving.router.fakes_responses import ABLE, answering, events, message, response, two
from tests.waiting import wait_until


class TestPassThrough:
    def test_a_whole_answer(self, start: Starter) -> None:
        running, fake, _ = two(start)
        sent = {
            "input": [
                {"role": "user", "content": [{"type": "input_text", "text": "1 + 2?"}]},
                {"type": "function_call", "call_id": "c", "name": "add", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c", "output": "3"},
            ],
            "tools": [{"type": "function", "name": "add", "parameters": {"type": "object"}, "strict": True}],
            "reasoning": {"effort": "low"},
            "include": ["reasoning.encrypted_content"],
            "temperature": 0,
            "unheard_of": [1, {"y": None}],
        }
        headers = {"authorization": f"Bearer {KEY}"}
        answer = httpx.post(f"{running.base}/responses", json={"model": "-", "cost": 5, **sent}, headers=headers)
        assert answer.json() == response(message("Hello!"), id="resp_better")
        assert (answer.headers["x-p2l-model"], answer.headers["x-p2l-reason"]) == ("better", "routed")
        (seen,) = fake.seen
        assert (seen.path, seen.headers["authorization"]) == ("/v1/responses", "Bearer sk-upstream-secret")
        assert seen.body == {"model": "wire-name", **sent}

    def test_the_client_s_own_calls(self, start: Starter) -> None:
        class Sum(BaseModel):
            total: int

        running, fake, _ = two(start)
        client = start.client(running)
        got = client.responses.create(model="-", input="hi", extra_body={"cost": 5.0})
        assert got.output_text == "Hello!" and got.usage.output_tokens == 3
        fake.answer = answering('{"total": 3}', id="resp_2")
        parsed = client.responses.parse(model="-", input="1 + 2?", text_format=Sum)
        assert parsed.output_parsed == Sum(total=3)
        assert fake.seen[-1].body["text"]["format"]["type"] == "json_schema"

    def test_defaults_of_the_configuration_fill_in(self, start: Starter) -> None:
        fake = start.upstream(answering())
        keys = {"temp": 0.3, "max_tokens": 50, "system_prompt": "Be brief.", "extra_fields": {"service_tier": "flex"}}
        client = start.client(start.router({"m": model(fake.url, **keys, **ABLE)}))
        client.responses.create(model="-", input="hi", temperature=0)
        filled = {"temperature": 0, "max_output_tokens": 50, "instructions": "Be brief.", "service_tier": "flex"}
        assert fake.seen[-1].body == {"model": "wire-name", "input": "hi", **filled}

    def test_a_stream_passes_through(self, start: Starter) -> None:
        running, fake, _ = two(start)
        sent = events("Hel", "lo")
        fake.answer = lambda seen: stream(*sent, done=False, named=True)
        body = {"input": "hi", "stream": True}
        answer = httpx.post(f"{running.base}/responses", json=body, headers={"authorization": f"Bearer {KEY}"})
        frames = [frame.split(b"\n") for frame in answer.content.split(b"\n\n")[:-1]]
        assert frames == [[b"event: " + e["type"].encode(), b"data: " + orjson.dumps(e)] for e in sent]

    def test_a_stream_by_the_client(self, start: Starter) -> None:
        running, fake, _ = two(start)
        fake.answer = lambda seen: stream(*events("Hel", "lo"), done=False, named=True, pause=0.01)
        client = start.client(running)
        got = list(client.responses.create(model="-", input="hi", stream=True))
        assert "".join(event.delta for event in got if event.type == "response.output_text.delta") == "Hello"
        with client.responses.stream(model="-", input="hi") as streamed:
            assert streamed.get_final_response().output_text == "Hello"

    @pytest.mark.parametrize("end", ["response.incomplete", "response.failed"])
    def test_other_ends_are_ends(self, start: Starter, end: str) -> None:
        running, fake, _ = two(start)
        fake.answer = lambda seen: stream(*events("Hel", end=end), done=False, named=True)
        got = list(start.client(running).responses.create(model="-", input="hi", stream=True))
        assert got[-1].type == end

    @pytest.mark.parametrize("fault", ["cut", "error"])
    def test_a_stream_that_breaks_ends_with_an_error(self, start: Starter, fault: str) -> None:
        running, fake, _ = two(start)
        expected = {"type": "error", "code": "x", "message": "sk-upstream-secret", "sequence_number": 4}
        sent = [*events("Hel")[:-1], *([expected] if fault == "error" else [])]
        fake.answer = lambda seen: stream(*sent, done=False, reset=fault == "cut", named=True)
        body = {"input": "hi", "stream": True}
        answer = httpx.post(f"{running.base}/responses", json=body, headers={"authorization": f"Bearer {KEY}"})
        name, data = answer.text.strip().split("\n\n")[-1].split("\n")
        error = orjson.loads(data.removeprefix("data: "))
        assert name == "event: error" and set(error) == {"type", "code", "message", "param", "sequence_number"}
        assert error["sequence_number"] == 4 and "sk-upstream" not in answer.text
        *_, last = start.client(running).responses.create(model="-", input="hi", stream=True)
        assert last.type == "error" and last.code == error["code"]

    def test_before_the_first_event_another_model_may_answer(self, start: Starter) -> None:
        running, fake, _ = two(start)
        fake.answer = lambda seen: Reply(500, {})
        raw = start.client(running).responses.with_raw_response.create(model="-", input="hi")
        assert raw.headers["x-p2l-model"] == "worse" and raw.headers["x-p2l-fallback-from"] == "better"

    def test_the_actual_cost_is_charged(self, start: Starter) -> None:
        fake = start.upstream(answering())
        keys = {"keys": [{"name": "k", "key": "sk-key-000000", "budget": 10.0}]}
        priced = model(fake.url, prices={"input": 1e5, "output": 2e5}, **ABLE)
        running = start.router({"m": priced}, keys)
        client = start.client(running, "sk-key-000000")
        client.responses.create(model="-", input="hi")
        fake.answer = lambda seen: stream(*events("Hello"), done=False, named=True)
        list(client.responses.create(model="-", input="hi", stream=True))
        wait_until(lambda: running.spent() == pytest.approx(2 * 1.5))

    @pytest.mark.parametrize("end", ["response.completed", "response.incomplete"])
    def test_a_stream_with_prices_ends_with_its_cost(self, start: Starter, end: str) -> None:
        sent = events("Hello", end=end)
        sent[-1]["response"]["long"] = 12345678901234567890
        fake = start.upstream(lambda seen: stream(*sent, done=False, named=True))
        running = start.router({"m": model(fake.url, prices={"input": 1e5, "output": 2e5}, **ABLE)})
        headers = {"authorization": f"Bearer {KEY}"}
        answer = httpx.post(f"{running.base}/responses", json={"input": "hi", "stream": True}, headers=headers)
        assert "x-p2l-cost" not in answer.headers
        got = [json.loads(frame.split("data: ")[1]) for frame in answer.text.split("\n\n")[:-1]]
        assert got[-1]["response"].pop("cost") == pytest.approx(1.5) and got == sent


class TestChoice:
    @pytest.mark.parametrize(
        "only_there",
        [
            {"tools": [{"type": "web_search"}]},
            {"tool_choice": {"type": "mcp", "server_label": "x"}, "tools": [{"type": "function", "name": "f"}]},
            {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "file-1", "detail": "auto"}]}]},
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_url": "https://x/y.pdf"}]}]},
            {
                "input": [
                    {"role": "user", "content": "hi"},
                    {"type": "web_search_call", "id": "w", "status": "completed"},
                ]
            },
            {"input": [{"role": "user", "content": "hi"}, {"role": "critic", "content": "no"}]},
        ],
        ids=str,
    )
    def test_what_only_this_api_has_needs_a_model_that_declares_it(self, start: Starter, only_there: Any) -> None:
        fake = start.upstream(answering())
        models = {
            "silent": model(fake.url),
            "anthropic": model(fake.url, type="anthropic"),
            "able": model(fake.url, **ABLE),
        }
        running = start.router(models)
        headers = {"authorization": f"Bearer {KEY}"}
        body = {"model": "-", "input": "hi", **only_there}
        answer = httpx.post(f"{running.base}/responses", json=body, headers=headers)
        assert answer.headers["x-p2l-model"] == "able" and fake.seen[-1].body == {**body, "model": "wire-name"}
        for name in ("silent", "anthropic"):
            refused = httpx.post(f"{running.base}/responses", json={**body, "model": name}, headers=headers)
            assert refused.status_code == 400
            assert "only OpenAI's own Responses API has" in refused.json()["error"]["message"]

    @pytest.mark.parametrize("streamed", [False, True])
    def test_reasoning_models_have_it(self, start: Starter, streamed: bool) -> None:
        fake = start.upstream(lambda seen: stream(*events("Hel", "lo!")) if streamed else Reply(body=response()))
        client = start.client(start.router({"m": model(fake.url, type="openai-reasoning", **ABLE)}))
        answer = client.responses.with_raw_response.create(model="-", input="hi", temperature=0, stream=streamed)
        assert answer.headers["x-p2l-dropped"] == "temperature"
        assert fake.seen[-1].path == "/responses" and "temperature" not in fake.seen[-1].body
        parsed: Any = answer.parse()
        text = "".join(e.delta for e in parsed if e.type == "response.output_text.delta") if streamed else None
        assert (text or parsed.output_text) == "Hello!"

    def test_the_choice_rests_on_the_text_of_the_user(self, start: Starter) -> None:
        prompts: list[Any] = []

        def scores(seen: Seen) -> Reply:
            if seen.path == "/models":
                return Reply(body={"models": ["m"]})
            prompts.append(seen.body["prompt"])
            return Reply(body={"coefs": [1.0], "eta": None})

        fake, scorer = start.upstream(answering()), start.upstream(scores)
        options = {"router_type": "bt-endpoint", "router_model_endpoint": scorer.url}
        client = start.client(start.router({"m": model(fake.url, **ABLE)}, **options))
        part = {"type": "input_text", "text": "two"}
        image = {"type": "input_image", "image_url": "https://x/y", "detail": "auto"}
        turns: list[Any] = [
            {"role": "system", "content": "not this"},
            {"role": "user", "content": "one"},
            message("nor this"),
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"},
            {"role": "user", "content": [part, image, part]},
        ]
        client.responses.create(model="-", input="plain", instructions="not this")
        client.responses.create(model="-", input=turns)
        assert prompts == [["plain"], ["one", "two\ntwo"]]

    def test_capabilities_are_required(self, start: Starter) -> None:
        fake = start.upstream(answering())
        lacks = {"images": False, "tools": False, "json_schema": False, "other_tools": False, "context_length": 100}
        models = {"less": model(fake.url, capabilities={"responses": True, **lacks}), "more": model(fake.url, **ABLE)}
        client = start.client(start.router(models))

        def chosen(**fields: Any) -> str:
            raw = client.responses.with_raw_response.create(**{"model": "-", "input": "hi", **fields})
            return raw.headers["x-p2l-model"]

        image = {"type": "input_image", "image_url": "https://x/y", "detail": "auto"}
        assert chosen() == "less"
        assert chosen(input=[{"role": "user", "content": [image]}]) == "more"
        assert chosen(tools=[{"type": "function", "name": "f", "parameters": {}, "strict": False}]) == "more"
        assert chosen(tools=[{"type": "web_search"}]) == "more"
        assert chosen(text={"format": {"type": "json_object"}}) == "more"
        assert chosen(input="word " * 200) == "more" and chosen(max_output_tokens=200) == "more"

    def test_an_infeasible_budget(self, start: Starter) -> None:
        running, _, _ = two(start)
        with pytest.raises(openai.BadRequestError, match="cheapest is worse, at 2"):
            start.client(running).responses.create(model="-", input="hi", extra_body={"cost": 1.0})
