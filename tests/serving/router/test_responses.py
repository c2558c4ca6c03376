"""The Responses API by the real client: bodies, answers and events pass as they are, and state stays with its maker."""

from contextlib import ExitStack
from typing import Any

import httpx
import openai
import orjson
import pytest
from pydantic import BaseModel

from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import KEY, Reply, Running, Seen, completion, model, stream
from tests.serving.router.fakes_responses import events, message, response

ABLE: dict[str, Any] = {"capabilities": {"responses": True}}


def answering(text: str = "Hello!", **rest: Any) -> Any:
    return lambda seen: Reply(body=response(message(text), **rest))


def two(start: Starter, rest: dict[str, Any] | None = None, **options: Any) -> tuple[Running, Any, Any]:
    """A router over a better and a worse model that both declare the API; their upstreams."""
    fakes = {name: start.upstream(answering(id=f"resp_{name}")) for name in ("better", "worse")}
    models = {name: model(f"{fake.url}/v1", 3.0 - i, **ABLE) for i, (name, fake) in enumerate(fakes.items())}
    return start.router(models, rest, **options), *fakes.values()


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

    def test_a_stream_as_it_came(self, start: Starter) -> None:
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
        told = {"type": "error", "code": "x", "message": "sk-upstream-secret", "sequence_number": 4}
        sent = [*events("Hel")[:-1], *([told] if fault == "error" else [])]
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

    def test_the_true_cost_is_billed(self, start: Starter) -> None:
        fake = start.upstream(answering())
        keys = {"keys": [{"name": "k", "key": "sk-key-000000", "budget": 10.0}]}
        priced = model(fake.url, prices={"input": 1e5, "output": 2e5}, **ABLE)
        running = start.router({"m": priced}, keys)
        client = start.client(running, "sk-key-000000")
        client.responses.create(model="-", input="hi")
        fake.answer = lambda seen: stream(*events("Hello"), done=False, named=True)
        list(client.responses.create(model="-", input="hi", stream=True))
        assert running.container.ledger.spent(running.container.snapshot.config.keys[0]) == pytest.approx(2 * 1.5)


class TestChoice:
    def test_only_models_that_declare_it(self, start: Starter) -> None:
        fake = start.upstream(answering())
        models = {
            "silent": model(fake.url),
            "anthropic": model(fake.url, type="anthropic", **ABLE),
            "able": model(fake.url, **ABLE),
        }
        client = start.client(start.router(models))
        assert client.responses.with_raw_response.create(model="-", input="hi").headers["x-p2l-model"] == "able"
        for name in ("silent", "anthropic"):
            with pytest.raises(openai.BadRequestError, match=f"{name} does not support the Responses API"):
                client.responses.create(model=name, input="hi")

    def test_where_none_declares_it_that_is_said(self, start: Starter) -> None:
        fake, client = start.one()
        with pytest.raises(openai.InternalServerError, match="chat/completions") as error:
            client.responses.create(model="-", input="hi")
        assert error.value.status_code == 501 and not fake.seen

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

    def test_needs(self, start: Starter) -> None:
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


class TestState:
    def test_a_response_is_followed_by_the_model_that_made_it(self, start: Starter) -> None:
        running, better, worse = two(start)
        client = start.client(running)
        first = client.responses.create(model="-", input="hi", extra_body={"cost": 2.0})
        assert first.id == "resp_worse"
        raw = client.responses.with_raw_response.create(model="-", input="more", previous_response_id=first.id)
        assert (raw.headers["x-p2l-model"], raw.headers["x-p2l-reason"]) == ("worse", "pinned")
        assert worse.seen[-1].body["previous_response_id"] == first.id and not better.seen
        with pytest.raises(openai.BadRequestError, match="kept by worse"):
            client.responses.create(model="better", input="more", previous_response_id=first.id)
        worse.answer = lambda seen: Reply(500, {})
        with pytest.raises(openai.InternalServerError):
            client.responses.create(model="-", input="more", previous_response_id=first.id)
        assert not better.seen

    def test_a_streamed_one_is_known_from_its_first_event(self, start: Starter) -> None:
        running, better, _ = two(start)
        better.answer = lambda seen: stream(*events("Hello"), done=False, named=True)
        client = start.client(running)
        first = next(iter(client.responses.create(model="-", input="hi", stream=True)))
        better.answer = answering()
        assert client.responses.create(model="-", input="more", previous_response_id=first.response.id)

    def test_another_key_does_not_reach_it(self, start: Starter) -> None:
        keys = {"keys": [{"name": "other", "key": "sk-other-00000"}]}
        running, better, _ = two(start, keys)
        made = start.client(running).responses.create(model="-", input="hi")
        other = start.client(running, "sk-other-00000")
        session = {"extra_headers": {"x-p2l-session": made.id}}
        better.answer = lambda seen: Reply(body=completion())
        other.chat.completions.create(model="-", messages=[{"role": "user", "content": "hi"}], **session)
        for name in ("-", "better"):
            with pytest.raises(openai.BadRequestError, match="not known which model") as error:
                other.responses.create(model=name, input="more", previous_response_id=made.id)
            assert error.value.code == "previous_response_not_found"

    def test_kept_responses_are_fetched_and_deleted_where_they_were_made(self, start: Starter) -> None:
        running, better, worse = two(start)
        client = start.client(running)
        made = client.responses.create(model="-", input="hi", extra_body={"cost": 2.0})
        assert client.responses.retrieve(made.id, include=["reasoning.encrypted_content"]).output_text == "Hello!"
        seen = worse.seen[-1]
        assert (seen.method, seen.body) == ("GET", None)
        assert seen.path == "/v1/responses/resp_worse?include%5B%5D=reasoning.encrypted_content"
        assert seen.headers["authorization"] == "Bearer sk-upstream-secret"
        items = {"object": "list", "data": [{"type": "message"}], "has_more": False}
        worse.answer = lambda seen: Reply(body=items)
        assert client.responses.input_items.list(made.id, limit=1).data[0].type == "message"
        assert worse.seen[-1].path == "/v1/responses/resp_worse/input_items?limit=1"
        worse.answer = lambda seen: Reply(body={"id": made.id, "deleted": True})
        client.responses.delete(made.id)
        assert worse.seen[-1].method == "DELETE" and not better.seen
        worse.answer = lambda seen: Reply(404, {"error": {"message": "no such response", "code": "gone"}})
        with pytest.raises(openai.NotFoundError, match="keeps no such response"):
            client.responses.retrieve(made.id)

    def test_what_this_router_did_not_make_for_the_key_is_not_asked_for(self, start: Starter) -> None:
        keys = {"keys": [{"name": "other", "key": "sk-other-00000"}, {"name": "k", "key": "sk-key-000000"}]}
        running, better, worse = two(start, keys)
        made = start.client(running, "sk-key-000000").responses.create(model="-", input="hi")
        asked = len(better.seen)
        for key, given in (("sk-other-00000", made.id), ("sk-key-000000", "resp_x"), ("sk-key-000000", "..%2Fmodels")):
            answer = httpx.get(f"{running.base}/responses/{given}", headers={"authorization": f"Bearer {key}"})
            assert answer.status_code == 404 and set(answer.json()["error"]) == {"message", "type", "param", "code"}
        mine = {"authorization": "Bearer sk-key-000000"}
        assert httpx.get(f"{running.base}/responses/{made.id}/cancel", headers=mine).status_code == 404
        assert httpx.get(f"{running.base}/responses/{made.id}?stream=true", headers=mine).status_code == 400
        assert httpx.get(f"{running.base}/responses/{made.id}").status_code in (401, 403)
        assert len(better.seen) == asked and not worse.seen

    def test_one_that_is_not_stored_is_not_known(self, start: Starter) -> None:
        client = start.client(two(start)[0])
        made = client.responses.create(model="-", input="hi", store=False)
        with pytest.raises(openai.BadRequestError):
            client.responses.create(model="-", input="more", previous_response_id=made.id)

    @pytest.mark.parametrize(
        "fields",
        [
            {"conversation": "conv_1"},
            {"prompt": {"id": "pmpt_1"}},
            {"background": True},
            {"input": [{"type": "item_reference", "id": "msg_1"}, {"role": "user", "content": "x"}]},
            {"previous_response_id": 5},
            {"input": []},
            {"input": 5},
            {"input": None},
            {"input": ["x"]},
            {"input": [{"content": "x"}]},
            {"input": [{"role": "user", "content": 5}]},
            {"input": [{"role": "user", "content": [{"type": ["x"]}]}]},
            {"input": [{"role": "assistant", "content": "x"}]},
            {"input": "hi", "base_url": "http://evil"},
            {"input": "hi", "stream": "yes"},
            {"input": "hi", "max_output_tokens": 0},
            {"input": "hi", "cost": -1},
        ],
        ids=str,
    )
    def test_what_cannot_be_served_is_told(self, able: Running, fields: dict[str, Any]) -> None:
        body = {"model": "-", "input": "hi", **fields}
        answer = httpx.post(f"{able.base}/responses", json=body, headers={"authorization": f"Bearer {KEY}"})
        assert answer.status_code == 400
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}

    @pytest.fixture(scope="class")
    @staticmethod
    def able(tmp_path_factory: pytest.TempPathFactory) -> Any:
        with ExitStack() as stack:
            starter = Starter(tmp_path_factory.mktemp("able"), stack)
            yield starter.router({"m": model(starter.upstream(answering()).url, **ABLE)})
