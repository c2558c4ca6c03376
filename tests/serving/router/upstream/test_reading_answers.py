"""Answers in unusual forms, over the wire: the client gets the right value, another model's answer, or an error."""

import json
from typing import Any

import httpx
import openai
import pytest

from tests.serving.router.api.test_streaming import CHUNKS, frames
from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import HELLO, KEY, Reply, Seen, chat, completion, delta, model, stream

ASK = {"messages": HELLO}


def ask(url: str) -> httpx.Response:
    return httpx.post(f"{url}/chat/completions", json=ASK, headers={"authorization": f"Bearer {KEY}"}, timeout=20)


def gemini(*parts: Any, reason: str = "STOP") -> Reply:
    return Reply(body={"candidates": [{"content": {"parts": list(parts)}, "finishReason": reason}]})


ABORTED = completion()["choices"][0] | {"finish_reason": "abort"}
NON_ANSWERS = {
    "no choices": ("openai", Reply(body={**completion(), "choices": []})),
    "abort": (
        "openai",
        Reply(body=completion() | {"choices": [ABORTED]}),
    ),
    "an error in a 200": ("openai", Reply(body={"error": {"message": "no", "code": 503}})),
    "no candidates": ("gemini", Reply(body={"candidates": []})),
    "malformed call": ("gemini", gemini(reason="MALFORMED_FUNCTION_CALL")),
    "a new reason": ("gemini", gemini({"text": "x"}, reason="A_NEW_REASON")),
    "filtered": ("gemini", gemini(reason="SAFETY")),
    "a blocked prompt": ("gemini", Reply(body={"promptFeedback": {"blockReason": "OTHER"}})),
    "Azure's filter": ("openai", Reply(400, {"error": {"code": "content_filter", "message": "filtered"}})),
}


@pytest.mark.parametrize("name", NON_ANSWERS)
def test_a_non_answer_goes_to_the_next_model(start: Starter, name: str) -> None:
    kind, reply = NON_ANSWERS[name]
    bad, good = start.upstream(lambda seen: reply), start.upstream()
    running = start.router({"bad": model(bad.url, type=kind), "good": model(good.url)})
    assert chat(start.client(running))["x-p2l-model"] == "good"
    if "filter" in name or "blocked" in name:
        assert running.container.circuit_breaker.is_available("bad")


ROLE_FIRST = [
    [delta("", role="assistant"), delta(finish="content_filter")],
    [{**delta(), "choices": []}, delta(role="assistant", refusal=None), delta(""), delta(finish="content_filter")],
]


@pytest.mark.parametrize("chunks", ROLE_FIRST)
def test_a_stream_filtered_after_its_role_goes_to_the_next_model(start: Starter, chunks: list[Any]) -> None:
    bad, good = start.upstream(lambda seen: stream(*chunks)), start.upstream(lambda seen: stream(*CHUNKS))
    running = start.router({"bad": model(bad.url), "good": model(good.url)})
    told = frames(running.base, {**ASK, "stream": True})
    assert [frame["choices"][0]["delta"].get("model") for frame in told[:-1]] == ["good"] * len(CHUNKS)
    alone = frames(start.router({"bad": model(bad.url)}).base, {**ASK, "stream": True})
    assert alone[-2]["choices"][0]["finish_reason"] == "content_filter" and alone[-1] == "[DONE]"


def test_a_stream_that_breaks_after_its_role_goes_to_the_next_model(start: Starter) -> None:
    bad = start.upstream(lambda seen: stream(CHUNKS[0], done=False, reset=True))
    good = start.upstream(lambda seen: stream(*CHUNKS))
    told = frames(start.router({"bad": model(bad.url), "good": model(good.url)}).base, {**ASK, "stream": True})
    assert {frame["choices"][0]["delta"]["model"] for frame in told[:-1]} == {"good"}


def test_a_filtered_answer_is_the_answer_if_there_is_no_other(start: Starter) -> None:
    fake = start.upstream(lambda seen: gemini(reason="SAFETY"))
    answer = ask(start.router({"g": model(fake.url, type="gemini")}).base)
    assert answer.status_code == 200 and answer.json()["choices"][0]["finish_reason"] == "content_filter"


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        ({"message": "9000 tokens are too many", "code": 400}, 400, "9000 tokens"),
        ({"message": "too long", "type": "invalid_request_error"}, 400, "too long"),
        ({"message": "slow down", "code": "429"}, 429, "limiting"),
        ({"message": "model is loading"}, 502, "model is loading"),
        ({"message": "inner detail", "type": "server_error"}, 502, "reported an error"),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_an_error_in_a_200_keeps_its_status_and_text(
    start: Starter, error: Any, status: int, text: str, streamed: bool
) -> None:
    fake = start.upstream(lambda seen: Reply(body={"error": error}))
    client = start.client(start.router({"m": model(fake.url)}))
    with pytest.raises(openai.APIStatusError, match=text) as raised:
        chat(client, stream=streamed)
    assert raised.value.status_code == status and "inner" not in str(raised.value)


def test_a_whole_answer_to_a_request_for_a_stream(start: Starter) -> None:
    fake = start.upstream(lambda seen: Reply(body=completion("Whole.")))
    first, *_, done = frames(start.router({"m": model(fake.url)}).base, {**ASK, "stream": True})
    assert first["choices"][0]["delta"]["content"] == "Whole." and done == "[DONE]"


def test_an_event_of_many_lines_has_a_limit(start: Starter) -> None:
    lines = b"data: " + b"1" * (1 << 20) + b"\n"
    fake = start.upstream(lambda seen: Reply(pieces=[lines] * 20, content_type="text/event-stream"))
    with pytest.raises(openai.APIStatusError, match="event without end"):
        chat(start.client(start.router({"m": model(fake.url)})), stream=True)


def test_parts_of_gemini_are_carried(start: Starter) -> None:
    code = {"executableCode": {"language": "PYTHON", "code": "print(6*7)"}}
    image = {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}
    fake = start.upstream(lambda seen: gemini({"text": "See"}, code, image))
    message = ask(start.router({"g": model(fake.url, type="gemini")}).base).json()["choices"][0]["message"]
    assert message["content"] == "See" and message["provider_specific_fields"]["parts"] == [code]
    assert message["images"][0]["image_url"]["url"] == "data:image/png;base64,iVBORw0KGgo="


def test_citations_and_server_tools_of_anthropic_are_carried(start: Starter) -> None:
    cited = {"type": "web_search_result_location", "url": "https://x.org", "title": "X", "cited_text": "otters"}
    search = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "otter"}}
    blocks = [search, {"type": "text", "text": "A. "}, {"type": "text", "text": "Otters.", "citations": [cited]}]
    body = {"id": "m", "model": "c", "content": blocks, "stop_reason": "end_turn", "usage": {}}
    fake = start.upstream(lambda seen: Reply(body=body))
    message = ask(start.router({"c": model(fake.url, type="anthropic")}).base).json()["choices"][0]["message"]
    span = {"start_index": 3, "end_index": 10}
    assert message["annotations"][0]["url_citation"] == {"url": "https://x.org", "title": "X", **span}
    assert message["provider_specific_fields"] == {"blocks": [search], "citations": [{**span, **cited}]}
    assert "tool_calls" not in message


def test_a_long_integer_keeps_its_digits(start: Starter) -> None:
    reply = gemini({"functionCall": {"name": "f", "args": {"id": 10**20 + 1}}})
    fake = start.upstream(lambda seen: Reply(body=json.dumps(reply.body).encode()))
    message = ask(start.router({"g": model(fake.url, type="gemini")}).base).json()["choices"][0]["message"]
    assert message["tool_calls"][0]["function"]["arguments"] == '{"id":100000000000000000001}'


def test_a_cut_choice_is_an_error(start: Starter) -> None:
    def second(text: str) -> dict[str, Any]:
        chunk = delta(text)
        chunk["choices"][0]["index"] = 1
        return chunk

    def answer(seen: Seen) -> Reply:
        return stream(delta("A"), second("B is par"), delta(finish="stop"))

    fake = start.upstream(answer)
    *_, last, done = frames(start.router({"m": model(fake.url)}).base, {**ASK, "stream": True, "n": 2})
    assert "ended before" in last["error"]["message"] and done == "[DONE]"


def test_a_choice_that_never_began_is_an_error(start: Starter) -> None:
    fake = start.upstream(lambda seen: stream(delta("A", finish="stop"), done=False))
    *_, last, done = frames(start.router({"m": model(fake.url)}).base, {**ASK, "stream": True, "n": 2})
    assert "ended before" in last["error"]["message"] and done == "[DONE]"


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "9000 tokens are too many"}},
        {"object": "error", "message": "9000 tokens are too many", "type": "BadRequestError", "code": 400},
        {"detail": "9000 tokens are too many"},
        {"detail": [{"loc": ["body", "x"], "msg": "9000 tokens are too many", "type": "value_error"}]},
        {"statusCode": 400, "message": "9000 tokens are too many", "error": "Bad Request"},
        {"error": "9000 tokens are too many"},
        [{"error": {"message": "9000 tokens are too many", "logprob": float("nan")}}],
    ],
)
@pytest.mark.parametrize("status", [400, 422])
def test_the_text_of_a_refusal_is_read_in_every_form(start: Starter, body: Any, status: int) -> None:
    fake = start.upstream(lambda seen: Reply(status, json.dumps(body).encode()))
    answer = ask(start.router({"m": model(fake.url)}).base)
    assert answer.status_code == status and "9000 tokens are too many" in answer.json()["error"]["message"]


def test_a_parameter_that_fastapis_form_refuses_is_dropped(start: Starter) -> None:
    fault = {"loc": ["body", "temperature"], "msg": "Extra inputs are not permitted", "type": "extra_forbidden"}
    replies = [Reply(422, {"detail": [fault]}), Reply(body=completion())]
    fake = start.upstream(lambda seen: replies.pop(0))
    headers = chat(start.client(start.router({"m": model(fake.url)})), temperature=0.5)
    assert headers["x-p2l-dropped"] == "temperature" and "temperature" not in fake.seen[-1].body


ODD = b'{"object":"list","data":[{"index":0,"embedding":[NaN,1.0]}],"model":"cut \\ud83d","usage":{"prompt_tokens":3}}'


def embed(base: str) -> httpx.Response:
    headers = {"authorization": f"Bearer {KEY}"}
    return httpx.post(f"{base}/embeddings", json={"model": "e", "input": "x"}, headers=headers, timeout=20)


def test_embeddings_are_read_leniently_and_sent_strictly(start: Starter) -> None:
    fake = start.upstream(lambda seen: Reply(body=ODD))
    answer = embed(start.router({"m": model(fake.url)}, {"embedding_configs": {"e": model(fake.url)}}).base)
    assert answer.json()["data"][0]["embedding"] == [None, 1.0] and answer.json()["model"] == "cut \ufffd"


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({"error": {"message": "9000 tokens", "code": 400}}, 400, "9000 tokens"),
        ({"error": {"message": "inner", "type": "server_error"}}, 502, "reported an error"),
        ({"object": "list", "data": []}, 502, "without embeddings"),
        (completion(), 502, "without embeddings"),
    ],
)
def test_embeddings_that_are_none_are_an_error_and_cost_nothing(
    start: Starter, body: Any, status: int, text: str
) -> None:
    fake = start.upstream(lambda seen: Reply(body=body))
    config = {"embedding_configs": {"e": model(fake.url)}, "keys": [{"name": "k", "key": KEY, "budget": 5.0}]}
    running = start.router({"m": model(fake.url)}, config, api_key="-")
    answer = embed(running.base)
    assert answer.status_code == status and text in answer.json()["error"]["message"] and "inner" not in answer.text
    assert running.spent() == 0.0


def test_a_stored_response_is_read_leniently(start: Starter) -> None:
    fake = start.upstream(lambda seen: Reply(body=b'{"id": "resp_1", "output": [], "error": {"code": "server_error"}}'))
    running = start.router({"m": model(fake.url, capabilities={"responses": True})})
    running.container.responses.keep("default", "resp_1", "m", 60.0)
    fake.answer = lambda seen: Reply(
        body=b'{"id": "resp_1", "status": "failed", "error": {"message": "no"}, "output": ["\\ud83d", NaN, %d]}'
        % 10**30
    )
    answer = httpx.get(f"{running.base}/responses/resp_1", headers={"authorization": f"Bearer {KEY}"})
    assert answer.status_code == 200 and json.loads(answer.text)["output"] == ["\ufffd", None, 10**30]
    assert answer.json()["status"] == "failed"  # what is kept is no failure of this request


@pytest.mark.parametrize("count", ["9" * 400, '"' + "9" * 5000 + '"', "1e300", "-5"])
def test_a_count_that_is_none_costs_what_the_length_says(start: Starter, count: str) -> None:
    body = json.dumps(completion()).replace('"completion_tokens": 3', f'"completion_tokens": {count}')
    fake = start.upstream(lambda seen: Reply(body=body.encode()))
    entry = model(fake.url, prices={"input": 1.0, "output": 1.0})
    answer = ask(start.router({"m": entry}).base)
    assert answer.status_code == 200 and float(answer.headers["x-p2l-cost"]) == 1.0
