"""Numbers of a client's request reach the provider with all their digits, or the request is refused."""

import json
from typing import Any

import httpx
import pytest

from p2l.serving.router.config.server_config import ModelConfig
from p2l.serving.router.upstream.providers.registry import PROVIDERS
from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import HELLO, KEY, Reply, model

LONG = 123456789012345678901234567890
NUMBERS = [LONG, -LONG, 2**64, 2**64 - 1, -(2**63) - 1, 2**53 + 1, 1.0, -0.0, 1e-300, 1.7976931348623157e308, 0.1]


def post(base: str, path: str, body: str) -> httpx.Response:
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    return httpx.post(f"{base}/{path}", content=body, headers=headers, timeout=20)


@pytest.mark.parametrize("number", NUMBERS, ids=repr)
@pytest.mark.parametrize("path", ["chat/completions", "responses", "embeddings"])
def test_a_body_passes_with_all_digits(start: Starter, path: str, number: float) -> None:
    replies: dict[str, Any] = {
        "embeddings": {"data": [{"embedding": [number]}]},
        "responses": {"id": "r", "output": []},
    }
    fake = start.upstream()
    if path in replies:
        fake.answer = lambda seen: Reply(body=json.dumps(replies[path]).encode())
    entry = model(fake.url, capabilities={"responses": True})
    running = start.router({"m": entry}, {"embedding_configs": {"e": model(fake.url)}}, router_type="random")
    schema = {"type": "object", "properties": {"id": {"type": "integer", "maximum": number}}}
    function = {"name": "f", "parameters": schema}
    tools = [{"type": "function", **(function if path == "responses" else {"function": function})}]
    content = {"embeddings": {"model": "e", "input": "x"}, "responses": {"input": "hi"}}.get(path, {"messages": HELLO})
    answer = post(
        running.base, path, json.dumps({**content, "tools": tools, "seed": number, "deep": [[{"n": number}]]})
    )
    assert answer.status_code == 200, answer.text
    sent = fake.seen[-1].body
    for found in (sent["seed"], sent["deep"][0][0]["n"], _maximum(sent["tools"][0])):
        assert repr(found) == repr(number)
    if path == "embeddings":
        assert repr(json.loads(answer.text)["data"][0]["embedding"][0]) == repr(number)


def _maximum(tool: dict[str, Any]) -> Any:
    return tool.get("function", tool)["parameters"]["properties"]["id"]["maximum"]


@pytest.mark.parametrize("number", NUMBERS, ids=repr)
@pytest.mark.parametrize("kind", ["anthropic", "gemini"])
def test_arguments_and_results_keep_their_digits(kind: str, number: float) -> None:
    text = json.dumps({"id": number})
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": text}}
    history = [
        *HELLO,
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": text},
    ]
    entry = ModelConfig("wire", kind, 1.0)  # type: ignore[arg-type]
    request = PROVIDERS["chat"][kind].build_request(entry, {"messages": history}, False, False, {})
    if kind == "anthropic":
        use, result = (request.body["messages"][i]["content"][0] for i in (1, 2))
        assert repr(use["input"]["id"]) == repr(number) and result["content"] == text
    else:
        use, result = (request.body["contents"][i]["parts"][0] for i in (1, 2))
        found = (use["functionCall"]["args"]["id"], result["functionResponse"]["response"]["id"])
        assert [repr(one) for one in found] == [repr(number)] * 2


@pytest.mark.parametrize("text", ['{"id": 1e400}', '{"id": -1e999}', '{"id": NaN}', '{"id": ' + "9" * 5000 + "}"])
def test_arguments_beyond_a_number_stay_text(text: str) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": text}}
    history = [
        *HELLO,
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": text},
    ]
    claude, gemini = (
        PROVIDERS["chat"][kind].build_request(ModelConfig("m", kind, 1.0), {"messages": history}, False, False, {}).body
        for kind in ("anthropic", "gemini")  # type: ignore[arg-type]
    )
    assert claude["messages"][1]["content"][0]["input"] == {"INVALID_JSON": text}
    assert gemini["contents"][1]["parts"][0]["functionCall"]["args"] == {"INVALID_JSON": text}
    assert gemini["contents"][2]["parts"][0]["functionResponse"]["response"] == {"result": text}


@pytest.mark.parametrize("number", ["1e400", "-1e400", "NaN", "Infinity", "9" * 5000], ids=lambda text: text[:6])
def test_a_body_with_a_number_that_cannot_be_kept_is_refused(start: Starter, number: str) -> None:
    fake = start.upstream()
    running = start.router({"m": model(fake.url)}, router_type="random")
    answer = post(running.base, "chat/completions", f'{{"messages": {json.dumps(HELLO)}, "seed": {number}}}')
    assert answer.status_code == 400 and not fake.seen


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens", "n", "cost"])
def test_what_the_router_reads_is_bounded(start: Starter, field: str) -> None:
    """A price or a budget of such a number would be infinite."""
    fake = start.upstream()
    entry = model(fake.url, prices={"input": 1.0, "output": 1.0}, max_tokens=5)
    keys = [{"name": "k", "key": "sk-k-00000", "budget": 1e9}]
    running = start.router({"m": entry}, {"keys": keys}, router_type="random")
    body = {"messages": HELLO, field: 10**300 if field != "cost" else -(10**30)}
    headers = {"authorization": "Bearer sk-k-00000"}
    answer = httpx.post(f"{running.base}/chat/completions", content=json.dumps(body), headers=headers)
    assert answer.status_code == 400 and field in answer.json()["error"]["message"]
