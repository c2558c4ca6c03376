"""Histories in older or broken forms, and URLs with a query, reach every provider in its own form."""

import re
from typing import Any

import httpx
import pytest

from p2l.serving.http.api_error import ApiError
from p2l.serving.router.chat_request import Thought
from p2l.serving.router.config.server_config import ModelConfig, ProviderType
from p2l.serving.router.upstream.providers.registry import PROVIDERS
from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import KEY, Reply, chat, model
from tests.serving.router.fakes_responses import ABLE, answering

HELLO: list[Any] = [{"role": "user", "content": "hi"}]


def sent(kind: ProviderType, messages: list[Any]) -> tuple[list[Any], tuple[str, ...]]:
    entry = ModelConfig("some-name", kind, 1.0)
    request = PROVIDERS["chat"][kind].build_request(entry, {"messages": messages}, False, False, {})
    return request.body["contents" if kind == "gemini" else "messages"], request.dropped


def use(name: str, arguments: Any, call: str = "c") -> dict[str, Any]:
    return {"type": "tool_use", "id": call, "name": name, "input": arguments}


class TestBrokenArguments:
    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            ('{"a": 1', {"INVALID_JSON": '{"a": 1'}),
            ("[1, 2]", {"INVALID_JSON": "[1, 2]"}),
            ("NaN", {"INVALID_JSON": "NaN"}),
            (7, {"INVALID_JSON": 7}),
            ("", {}),
            (None, {}),
            ({"a": 1}, {"a": 1}),
        ],
    )
    def test_they_are_wrapped(self, arguments: Any, expected: Any) -> None:
        call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
        history = [
            *HELLO,
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": "x"},
        ]
        assert sent("anthropic", history)[0][1]["content"] == [use("f", expected)]
        assert sent("gemini", history)[0][1]["parts"] == [{"functionCall": {"name": "f", "args": expected}}]


HISTORY = [
    *HELLO,
    {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": '{"a": 1}'}},
    {"role": "function", "name": "f", "content": "42"},
    {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
    {"role": "function", "name": "f", "content": "43"},
]


class TestLegacyFunctions:
    def test_a_history_reaches_anthropic(self) -> None:
        messages, dropped = sent("anthropic", HISTORY)
        ids = [messages[index]["content"][0]["id"] for index in (1, 3)]
        assert len(set(ids)) == 2 and not dropped
        assert messages[1:] == [
            {"role": "assistant", "content": [use("f", {"a": 1}, ids[0])]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": ids[0], "content": "42"}]},
            {"role": "assistant", "content": [use("f", {}, ids[1])]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": ids[1], "content": "43"}]},
        ]

    def test_a_history_reaches_gemini(self) -> None:
        contents, dropped = sent("gemini", HISTORY)
        assert not dropped and [content["role"] for content in contents] == ["user", "model", "user", "model", "user"]
        assert contents[1]["parts"] == [{"functionCall": {"name": "f", "args": {"a": 1}}}]
        assert contents[4]["parts"] == [{"functionResponse": {"name": "f", "response": {"result": 43}}}]

    def test_a_history_reaches_openai_as_it_is(self) -> None:
        assert sent("openai", HISTORY)[0] == HISTORY

    @pytest.mark.parametrize("kind", ["anthropic", "gemini"])
    def test_a_result_without_its_call_is_refused(self, kind: ProviderType) -> None:
        with pytest.raises(ApiError, match="must follow the function_call"):
            sent(kind, [*HELLO, {"role": "function", "name": "g", "content": "42"}])


@pytest.mark.parametrize("kind", ["anthropic", "gemini"])
def test_a_refusal_in_a_history_is_its_text(kind: ProviderType) -> None:
    messages, _ = sent(kind, [*HELLO, {"role": "assistant", "content": None, "refusal": "I cannot."}, *HELLO])
    assert "I cannot." in str(messages[1])


def test_media_in_the_result_of_a_tool_reach_gemini() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    parts = [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
    history = [
        *HELLO,
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": parts},
    ]
    assert sent("gemini", history)[0][2]["parts"] == [
        {"functionResponse": {"name": "f", "response": {"result": "see"}}},
        {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
    ]


@pytest.mark.parametrize("kind", ["anthropic", "gemini"])
def test_an_image_from_the_system_is_no_silent_loss(kind: ProviderType) -> None:
    system = {"role": "system", "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]}
    with pytest.raises(ApiError, match="text alone"):
        sent(kind, [system, *HELLO])


@pytest.mark.parametrize(
    ("kind", "base", "expected"),
    [
        (
            "openai",
            "https://h/openai/deployments/d?api-version=1",
            "https://h/openai/deployments/d/chat/completions?api-version=1",
        ),
        ("openai", "https://h/v1/", "https://h/v1/chat/completions"),
        ("anthropic", "https://h/v1?a=b&c", "https://h/v1/messages?a=b&c"),
        ("anthropic", "https://h", "https://h/v1/messages"),
        ("gemini", "https://h/v1beta/?k=v", "https://h/v1beta/models/n:streamGenerateContent?k=v&alt=sse"),
        ("gemini", "https://h/p", "https://h/p/v1beta/models/n:streamGenerateContent?alt=sse"),
    ],
)
def test_the_query_of_a_base_url_stays_at_the_end(kind: ProviderType, base: str, expected: str) -> None:
    entry = ModelConfig("n", kind, 1.0, base_url=base)
    assert PROVIDERS["chat"][kind].build_request(entry, {"messages": HELLO}, True, False, {}).url == expected


def test_azure_has_its_own_header_for_keys() -> None:
    entry = ModelConfig(
        "n", "openai", 1.0, api_key="k-1", base_url="https://x.openai.azure.com/openai/v1?api-version=p"
    )
    assert PROVIDERS["chat"]["openai"].build_request(entry, {"messages": HELLO}, False, False, {}).headers == {
        "api-key": "k-1"
    }


def test_every_route_keeps_the_query(start: Starter) -> None:
    fake = start.upstream(answering(id="resp_1"))
    entry = model(f"{fake.url}/v1?api-version=p", **ABLE)
    running = start.router({"m": entry}, {"embedding_configs": {"e": model(f"{fake.url}/v1?api-version=p")}})
    client = start.client(running)
    client.responses.create(model="-", input="hi")
    httpx.get(f"{running.base}/responses/resp_1?include=x", headers={"authorization": f"Bearer {KEY}"})
    fake.answer = lambda seen: Reply(body={"data": [{"embedding": [1.0]}], "usage": {}})
    httpx.post(
        f"{running.base}/embeddings", json={"model": "e", "input": "x"}, headers={"authorization": f"Bearer {KEY}"}
    )
    assert [seen.path for seen in fake.seen] == [
        "/v1/responses?api-version=p",
        "/v1/responses/resp_1?api-version=p&include=x",
        "/v1/embeddings?api-version=p",
    ]


def test_a_chat_keeps_the_query(start: Starter) -> None:
    fake = start.upstream()
    chat(start.client(start.router({"m": model(f"{fake.url}/d?api-version=p")}, router_type="random")))
    assert fake.seen[-1].path == "/d/chat/completions?api-version=p"


def test_the_endpoint_of_scores_keeps_its_query(start: Starter) -> None:
    bodies = {"/v1/models?k=v": {"models": ["m"]}, "/v1/predict?k=v": {"coefs": [1.0], "eta": 0.1}}
    scorer = start.upstream(lambda seen: Reply(body=bodies[seen.path]))
    options = {"router_type": "grk-endpoint", "router_model_endpoint": f"{scorer.url}/v1/?k=v"}
    running = start.router({"m": model(start.upstream().url)}, **options)
    assert chat(start.client(running))["x-p2l-score"]
    assert {seen.path for seen in scorer.seen} == bodies.keys()


class TestIdsOfOtherVendors:
    """Anthropic takes letters, digits, _ and - alone; the calls of some models have others in their ids."""

    def test_they_reach_claude_in_its_letters(self) -> None:
        ids = ["functions.weather:0", "functions weather:0", "toolu_01-A", "é" * 3]
        calls = [{"id": one, "type": "function", "function": {"name": "f", "arguments": "{}"}} for one in ids]
        results = [{"role": "tool", "tool_call_id": one, "content": one} for one in ids]
        messages, _ = sent("anthropic", [*HELLO, {"role": "assistant", "tool_calls": calls}, *results])
        uses = [block["id"] for block in messages[1]["content"]]
        assert uses == [block["tool_use_id"] for block in messages[2]["content"]]
        assert len(set(uses)) == 4 and uses[2] == "toolu_01-A"
        assert all(re.fullmatch("[a-zA-Z0-9_-]+", one) for one in uses)

    def test_thoughts_are_found_by_the_clients_id(self) -> None:
        layout = [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "call", "id": "a.b:0"}]
        call = {"id": "a.b:0", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        history = [*HELLO, {"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "a.b:0"}]
        entry = ModelConfig("some-name", "anthropic", 1.0)
        thoughts = {"a.b:0": Thought("some-name", {"layout": layout})}
        build = PROVIDERS["chat"]["anthropic"].build_request
        blocks = build(entry, {"messages": history}, False, False, thoughts).body["messages"][1]["content"]
        assert [block["type"] for block in blocks] == ["thinking", "tool_use"]


@pytest.mark.parametrize("kind", ["anthropic", "gemini"])
def test_a_failed_tool_and_its_image_stay_a_result(start: Starter, kind: ProviderType) -> None:
    fake = start.upstream(lambda seen: Reply(400, {"error": {"message": "x"}}))
    running = start.router({"m": model(fake.url, type=kind, name="some-name")}, router_type="random")
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    result = {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "no"}, image], "is_error": True}
    body = {"messages": [*HELLO, {"role": "assistant", "tool_calls": [call]}, result]}
    httpx.post(f"{running.base}/chat/completions", json=body, headers={"authorization": f"Bearer {KEY}"}, timeout=20)
    sent = fake.seen[-1].body
    if kind == "anthropic":
        (block,) = sent["messages"][-1]["content"]
        assert block["is_error"] is True and [part["type"] for part in block["content"]] == ["text", "image"]
    else:
        failed, shown = sent["contents"][-1]["parts"]
        assert failed["functionResponse"]["response"] == {"error": "no"} and "inlineData" in shown
