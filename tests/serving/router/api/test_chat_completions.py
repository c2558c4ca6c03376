"""Requests and answers pass through as they are: the real OpenAI client before the router, the wire behind it."""

import asyncio
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from p2l.serving.router.config.server_config import ModelConfig, ProviderType
from p2l.serving.router.upstream.providers.openai_chat import build_request
from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import KEY, Reply, Running, Upstream, completion, delta, model, stream

HELLO = [{"role": "user", "content": "hi"}]
TOOLS = [
    {
        "type": "function",
        "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
    }
]
CALLS = [
    {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Rome"}'}},
    {"id": "call_2", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}},
]
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}}
TOOL_TURNS = [
    *HELLO,
    {"role": "assistant", "content": None, "tool_calls": CALLS},
    {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
    {"role": "tool", "tool_call_id": "call_2", "content": "snow"},
]

# what a client may send, and what must arrive
FIELDS: list[dict[str, Any]] = [
    {"temperature": 0},
    {"top_p": 0},
    {"seed": 7, "stop": ["\n", "END"], "n": 2},
    {"stop": "END"},
    {"logprobs": True, "top_logprobs": 3},
    {"tools": TOOLS, "tool_choice": "required", "parallel_tool_calls": True},
    {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "weather"}}},
    {"response_format": {"type": "json_object"}},
    {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}},
    {"reasoning_effort": "low", "max_completion_tokens": 5},
    {"logit_bias": {"50256": -100}, "presence_penalty": 0.5, "frequency_penalty": 0},
    {"modalities": ["text"], "metadata": {"a": "b"}, "store": False, "service_tier": "auto", "user": "u-1"},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "what is this?"}, IMAGE]}]},
    {"messages": TOOL_TURNS},
    {"messages": [{"role": "developer", "content": "be brief"}, {"role": "user", "name": "ann", "content": "hi"}]},
    {"messages": [*HELLO, {"role": "assistant", "content": "a", "reasoning_content": "b"}, *HELLO]},
]


@pytest.mark.parametrize("fields", FIELDS, ids=lambda fields: ",".join(fields))
def test_what_the_client_sends_arrives(
    start: Starter, shared: tuple[Upstream, Running], fields: dict[str, Any]
) -> None:
    fake, running = shared
    client = start.client(running)
    sent = {"model": "-", "messages": HELLO, **fields}
    client.chat.completions.create(**sent)
    assert fake.seen[-1].body == {**sent, "model": "wire-name"}
    assert fake.seen[-1].headers["authorization"] == "Bearer sk-upstream-secret"


def test_unknown_fields_pass_through(start: Starter) -> None:
    fake, client = start.one(lambda seen: Reply(body={**completion(), "citations": ["u"], "new": {"deep": 1.5}}))
    answer = client.chat.completions.create(
        model="-", messages=HELLO, extra_body={"top_k": 5, "chat_template_kwargs": {}}
    )
    assert fake.seen[-1].body["top_k"] == 5 and fake.seen[-1].body["chat_template_kwargs"] == {}
    assert answer.model_dump()["citations"] == ["u"] and answer.model_dump()["new"] == {"deep": 1.5}


def test_published_extras(start: Starter) -> None:
    """``router_outputs`` in the answer, ``model`` in each message; neither ``cost`` nor these reach the model."""
    cheap, dear = start.upstream(), start.upstream()
    client = start.client(start.router({"dear": model(dear.url, 5.0), "cheap": model(cheap.url, 1.0)}))
    raw = client.chat.completions.with_raw_response.create(model="-", messages=HELLO, extra_body={"cost": 1.0})
    answer = raw.parse()
    assert answer.model_dump()["router_outputs"] == {"dear": 2.0, "cheap": 1.0}
    assert answer.choices[0].message.model_dump()["model"] == "cheap"
    assert answer.usage is not None and answer.usage.total_tokens == 12
    assert answer.choices[0].finish_reason == "stop" and answer.model == "wire-name-2025"
    assert raw.headers["x-p2l-model"] == "cheap" and raw.headers["x-p2l-cost"] == "1"
    assert raw.headers["x-p2l-attempts"] == "1" and raw.headers["x-p2l-score"] == "1"
    assert set(cheap.seen[-1].body) == {"model", "messages"} and not dear.seen
    echoed = [*HELLO, answer.choices[0].message.model_dump(exclude_none=True), *HELLO]
    client.chat.completions.create(model="-", messages=echoed)
    assert "model" not in dear.seen[-1].body["messages"][1]


@pytest.mark.parametrize("how", ["field", "direct_model"])
def test_a_client_may_name_the_model(start: Starter, how: str) -> None:
    fakes = {name: start.upstream() for name in ("a", "b")}
    client = start.client(start.router({name: model(fake.url) for name, fake in fakes.items()}))
    extra = {"direct_model": "b"} if how == "direct_model" else {}
    answer = client.chat.completions.create(model="b" if how == "field" else "-", messages=HELLO, extra_body=extra)
    assert len(fakes["b"].seen) == 1 and answer.model_dump()["router_outputs"] is None


def test_the_model_field_can_be_ignored_as_published(start: Starter) -> None:
    fakes = {name: start.upstream() for name in ("a", "b")}
    running = start.router({name: model(fake.url) for name, fake in fakes.items()}, ignore_model=True)
    start.client(running).chat.completions.create(model="b", messages=HELLO)
    assert len(fakes["a"].seen) == 1


def test_defaults_of_the_configuration_fill_in(start: Starter) -> None:
    defaults = {"temp": 0.7, "top_p": 0.9, "max_tokens": 100, "system_prompt": "be kind", "extra_fields": {"x": 1}}
    fake, client = start.one(**defaults)
    client.chat.completions.create(model="-", messages=HELLO)
    body = fake.seen[-1].body
    assert (body["temperature"], body["top_p"], body["max_tokens"], body["x"]) == (0.7, 0.9, 100, 1)
    assert body["messages"] == [{"role": "system", "content": "be kind"}, *HELLO]
    client.chat.completions.create(
        model="-",
        messages=[{"role": "system", "content": "s"}, *HELLO],
        temperature=0,
        top_p=0,
        max_completion_tokens=9,
    )
    body = fake.seen[-1].body
    assert (body["temperature"], body["top_p"], body["max_completion_tokens"]) == (0, 0, 9) and "max_tokens" not in body
    assert body["messages"][0] == {"role": "system", "content": "s"}


def test_reasoning_models_get_no_temperature(start: Starter) -> None:
    fake, client = start.one(type="openai-reasoning", extra_fields={"reasoning_effort": "high"}, temp=0.7, max_tokens=9)
    raw = client.chat.completions.with_raw_response.create(model="-", messages=HELLO, temperature=0, max_tokens=50)
    body = fake.seen[-1].body
    assert body["reasoning_effort"] == "high" and body["max_completion_tokens"] == 50
    assert "temperature" not in body and "max_tokens" not in body
    assert raw.headers["x-p2l-dropped"] == "temperature"


@pytest.mark.parametrize(
    ("asked", "most"),
    [
        ({}, 9),
        ({"max_tokens": 50}, 50),
        ({"max_tokens": 50, "max_completion_tokens": None}, 50),
        ({"max_tokens": 50, "max_completion_tokens": 7}, 7),
        ({"max_tokens": None, "max_completion_tokens": None}, 9),
    ],
)
@pytest.mark.parametrize("kind", ["openai-reasoning", "openai-o1"])
def test_how_long_reasoning_models_may_answer(kind: ProviderType, asked: dict[str, Any], most: int) -> None:
    body = build_request(ModelConfig("o", kind, 1.0, max_tokens=9), {"messages": HELLO, **asked}, False, False).body
    assert body["max_completion_tokens"] == most and "max_tokens" not in body


def test_tool_calls_come_back(start: Starter) -> None:
    _, client = start.one(lambda seen: Reply(body=completion(None, tool_calls=CALLS)))
    choice = client.chat.completions.create(model="-", messages=HELLO, tools=TOOLS).choices[0]
    assert choice.finish_reason == "tool_calls" and choice.message.tool_calls is not None
    assert [call.to_dict() for call in choice.message.tool_calls] == CALLS


def test_parse_gives_objects(start: Starter) -> None:
    class City(BaseModel):
        name: str

    fake, client = start.one(lambda seen: Reply(body=completion('{"name":"Rome"}')))
    answer = client.chat.completions.parse(model="-", messages=HELLO, response_format=City)
    assert answer.choices[0].message.parsed == City(name="Rome")
    assert fake.seen[-1].body["response_format"]["json_schema"]["name"] == "City"


def test_the_async_client(start: Starter) -> None:
    def answer(seen: Any) -> Reply:
        return (
            stream(delta("", role="assistant"), delta("Hi"), delta(finish="stop"))
            if seen.body.get("stream")
            else Reply(body=completion())
        )

    fake = start.upstream(answer)
    running = start.router({"m": model(fake.url)})

    async def talk() -> tuple[str | None, str]:
        async with openai.AsyncOpenAI(base_url=running.base, api_key=KEY) as client:
            whole = await client.chat.completions.create(model="-", messages=HELLO)
            chunks = await client.chat.completions.create(model="-", messages=HELLO, stream=True)
            return whole.choices[0].message.content, "".join([c.choices[0].delta.content or "" async for c in chunks])

    assert asyncio.run(talk()) == ("Hello!", "Hi")


def test_routing_rests_on_the_text_of_all_user_turns(start: Starter) -> None:
    fake, scores = start.upstream(), start.scorer({"m": 1.0})
    running = start.router({"m": model(fake.url)}, router_type="grk-endpoint", router_model_endpoint=scores.url)
    parts = [{"type": "text", "text": "one"}, IMAGE, {"type": "text", "text": "two"}]
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": parts}, *TOOL_TURNS, *HELLO]
    start.client(running).chat.completions.create(model="-", messages=messages)
    assert scores.seen[-1].body == {"prompt": ["one\ntwo", "hi", "hi"]}
    assert scores.seen[-1].headers["api-key"] == "-"


def test_models_are_listed_in_openais_form(start: Starter) -> None:
    fake = start.upstream()
    client = start.client(start.router({"org/m": model(fake.url)}, {"router": {"aliases": ["auto", "p2l"]}}))
    listed = client.models.list().data
    assert [entry.id for entry in listed] == ["auto", "p2l", "org/m"] and {entry.object for entry in listed} == {
        "model"
    }
    assert client.models.retrieve("org/m").owned_by == "openai"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other")


def test_embeddings_pass_through(start: Starter) -> None:
    vectors = {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.25]}], "model": "e"}
    fake = start.upstream(lambda seen: Reply(body={**vectors, "usage": {"prompt_tokens": 1, "total_tokens": 1}}))
    running = start.router({"m": model(fake.url)}, {"embedding_configs": {"embed": model(fake.url)}})
    client = start.client(running)
    answer = client.embeddings.create(model="embed", input="text", encoding_format="float", dimensions=1)
    assert answer.data[0].embedding == [0.25]
    assert fake.seen[-1].path == "/embeddings" and fake.seen[-1].body["dimensions"] == 1
    with pytest.raises(openai.NotFoundError, match="embed"):
        client.embeddings.create(model="m", input="text")


@pytest.mark.parametrize("named", [5, ["m"], {"id": "m"}, True])
def test_a_model_that_is_no_text_is_refused(start: Starter, named: Any) -> None:
    fake, client = start.one()
    with pytest.raises(openai.BadRequestError, match="model must be text"):
        client.chat.completions.create(model=named, messages=[{"role": "user", "content": "hi"}])
    assert not fake.seen
