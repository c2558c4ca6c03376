"""Tool loops with models that think: their signed thoughts go back even if the client loses them."""

from typing import Any

import openai
import pytest

from p2l.serving.router.storage import thought_store
from p2l.serving.router.storage.shared_state import open_shared_state
from p2l.serving.router.storage.thought_store import ThoughtStore
from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import Clock, Reply, Seen, completion, model, stream

HELLO: list[Any] = [{"role": "user", "content": "what time is it?"}]
TOOLS: Any = [{"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}}]
THINKING = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
CLAUDE = "claude-sonnet-4-5"
USAGE = {"input_tokens": 11, "output_tokens": 7}


def thinking(number: int) -> dict[str, Any]:
    return {"type": "thinking", "thinking": f"thought {number}", "signature": f"SIGNATURE{number}=="}


def redacted(number: int) -> dict[str, Any]:
    return {"type": "redacted_thinking", "data": f"REDACTED{number}"}


def text(content: str) -> dict[str, Any]:
    return {"type": "text", "text": content}


def use(number: int) -> dict[str, Any]:
    return {"type": "tool_use", "id": f"toolu_{number}", "name": "now", "input": {"zone": number}}


def claude_reply(seen: Seen, *blocks: dict[str, Any]) -> Reply:
    """A message of Anthropic, whole or as the stream in which the API sends it."""
    stop = "tool_use" if blocks[-1]["type"] == "tool_use" else "end_turn"
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": CLAUDE, "usage": USAGE}
    if not seen.body.get("stream"):
        return Reply(body={**message, "content": list(blocks), "stop_reason": stop})
    events: list[Any] = [{"type": "message_start", "message": {**message, "content": [], "stop_reason": None}}]
    for index, block in enumerate(blocks):
        events += [{"index": index, **event} for event in block_events(block)]
    events += [{"type": "message_delta", "delta": {"stop_reason": stop}, "usage": {"output_tokens": 7}}]
    return stream(*events, {"type": "message_stop"}, done=False, named=True)


def block_events(block: dict[str, Any]) -> list[dict[str, Any]]:
    kind = block["type"]
    if kind == "thinking":
        start = {"type": "thinking", "thinking": "", "signature": ""}
        deltas: list[Any] = [{"type": "thinking_delta", "thinking": part} for part in block["thinking"].split("t")]
        deltas = [{**d, "thinking": ("t" if i else "") + d["thinking"]} for i, d in enumerate(deltas)]
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
    elif kind == "redacted_thinking":
        start, deltas = block, []
    elif kind == "text":
        start = text("")
        deltas = [{"type": "text_delta", "text": letter} for letter in block["text"]]
    else:
        start = {**block, "input": {}}
        deltas = [{"type": "input_json_delta", "partial_json": f'{{"zone": {block["input"]["zone"]}}}'}]
    return [
        {"type": "content_block_start", "content_block": start},
        *({"type": "content_block_delta", "delta": delta} for delta in deltas),
        {"type": "content_block_stop"},
    ]


def ask(client: openai.OpenAI, messages: list[Any], streamed: bool, **fields: Any) -> dict[str, Any]:
    """The answer as a client keeps it that knows only OpenAI's fields."""
    if not streamed:
        got = client.chat.completions.create(model="-", messages=messages, tools=TOOLS, **fields)
        message = got.choices[0].message
    else:
        with client.chat.completions.stream(model="-", messages=messages, tools=TOOLS, **fields) as events:
            for _ in events:
                pass
            message = events.get_final_completion().choices[0].message
    calls = [
        {"id": c.id, "type": "function", "function": {"name": c.function.name, "arguments": c.function.arguments}}
        for c in message.tool_calls or ()
    ]
    return {"role": "assistant", "content": message.content, **({"tool_calls": calls} if calls else {})}


def result(call: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call, "content": "noon"}


TURNS = {
    "plain": ([thinking(1), use(1)], [thinking(2), use(2)]),
    "text between": ([thinking(1), text("Let me look."), use(1)], [thinking(2), text("Again."), use(2)]),
    "redacted": ([redacted(1), use(1)], [thinking(2), redacted(2), use(2)]),
    "interleaved": (
        [thinking(1), text("A"), thinking(2), text("B"), use(1)],
        [thinking(3), use(2), thinking(4), use(3)],
    ),
    "parallel": ([thinking(1), use(1), use(2)], [redacted(2), text("x"), use(3), use(4)]),
}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("turns", TURNS.values(), ids=list(TURNS))
def test_claude_gets_every_block_back_as_it_came(start: Starter, turns: Any, streamed: bool) -> None:
    replies = [*turns, [text("It is noon.")]]
    fake = start.upstream(lambda seen: claude_reply(seen, *replies[len(fake.seen) - 1]))
    entry = model(fake.url, type="anthropic", name=CLAUDE, extra_fields=THINKING)
    client = start.client(start.router({"m": entry}, router_type="random"))
    messages = list(HELLO)
    for blocks in turns:
        answer = ask(client, messages, streamed)
        messages += [answer, *(result(block["id"]) for block in blocks if block["type"] == "tool_use")]
    assert ask(client, messages, streamed)["content"] == "It is noon."
    sent = [message["content"] for message in fake.seen[-1].body["messages"] if message["role"] == "assistant"]
    assert sent == list(turns) and fake.seen[-1].body["thinking"] == THINKING["thinking"]


def test_a_client_that_changes_the_text_still_has_its_thoughts(start: Starter) -> None:
    fake = start.upstream(lambda seen: claude_reply(seen, thinking(1), text("Hm."), use(1)))
    entry = model(fake.url, type="anthropic", name=CLAUDE, extra_fields=THINKING)
    client = start.client(start.router({"m": entry}, router_type="random"))
    answer = ask(client, HELLO, False) | {"content": "changed"}
    ask(client, [*HELLO, answer, result("toolu_1")], False)
    assert fake.seen[-1].body["messages"][1]["content"] == [thinking(1), text("changed"), use(1)]


@pytest.mark.parametrize("streamed", [False, True])
def test_the_answer_carries_them_in_the_form_of_litellm(start: Starter, streamed: bool) -> None:
    fake = start.upstream(lambda seen: claude_reply(seen, thinking(1), redacted(2), use(1)))
    client = start.client(start.router({"m": model(fake.url, type="anthropic", name=CLAUDE)}, router_type="random"))
    got: Any = client.chat.completions.create(model="-", messages=HELLO, tools=TOOLS, stream=streamed)
    if streamed:
        deltas = [chunk.choices[0].delta.model_dump() for chunk in got if chunk.choices]
        blocks = [block for delta in deltas for block in delta.get("thinking_blocks") or ()]
        assert "".join(delta.get("reasoning_content") or "" for delta in deltas) == "thought 1"
    else:
        blocks = got.choices[0].message.model_dump()["thinking_blocks"]
        assert "p2l_content" not in got.model_dump()
    assert [{k: v for k, v in block.items() if k != "index"} for block in blocks] == [thinking(1), redacted(2)]


def test_thoughts_that_the_client_sends_are_taken(start: Starter) -> None:
    fake = start.upstream(lambda seen: claude_reply(seen, text("ok")))
    entry = model(fake.url, type="anthropic", name=CLAUDE, extra_fields=THINKING)
    client = start.client(start.router({"m": entry}, router_type="random"))
    call = {"id": "toolu_1", "type": "function", "function": {"name": "now", "arguments": '{"zone": 1}'}}
    unsigned = {"type": "thinking", "thinking": "unsigned"}
    answer = {"role": "assistant", "tool_calls": [call], "thinking_blocks": [unsigned, thinking(1), redacted(1)]}
    ask(client, [*HELLO, answer, result("toolu_1")], False)
    assert fake.seen[-1].body["messages"][1]["content"] == [thinking(1), redacted(1), use(1)]
    assert fake.seen[-1].body["thinking"] == THINKING["thinking"]


def two_models(start: Starter, first: dict[str, Any], second: dict[str, Any], **rest: Any) -> openai.OpenAI:
    return start.client(start.router({"first": first, "second": second}, rest, router_type="random"))


def test_calls_of_another_model_turn_a_thinking_budget_off(start: Starter) -> None:
    """As Anthropic documents it: a turn under way that does not begin with thinking cannot be continued with it."""
    fake = start.upstream(lambda seen: claude_reply(seen, thinking(1), use(1)))
    other = start.upstream(lambda seen: claude_reply(seen, text("ok")))
    entries = [
        model(f.url, type="anthropic", name=n, extra_fields=THINKING)
        for f, n in ((fake, CLAUDE), (other, "claude-opus-4-5"))
    ]
    client = two_models(start, *entries)
    answer = ask(client, HELLO, False, extra_body={"direct_model": "first"})
    history = [*HELLO, answer, result("toolu_1")]
    raw = client.chat.completions.with_raw_response.create(
        model="-", messages=history, tools=TOOLS, extra_body={"direct_model": "second"}
    )
    body = other.seen[-1].body
    assert "thinking" not in body and body["messages"][1]["content"] == [use(1)]
    assert raw.headers["x-p2l-dropped"] == "thinking"
    ask(
        client,
        [*history, {"role": "assistant", "content": "noon"}, *HELLO],
        False,
        extra_body={"direct_model": "second"},
    )
    assert other.seen[-1].body["thinking"] == THINKING["thinking"]  # a new turn thinks again


def gemini_reply(seen: Seen, *parts: dict[str, Any]) -> Reply:
    body = {
        "candidates": [{"content": {"parts": list(parts), "role": "model"}, "index": 0, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 8, "candidatesTokenCount": 5, "totalTokenCount": 13},
    }
    return stream(body, done=False) if "stream" in seen.path else Reply(body=body)


def function_call(number: int, signature: str | None = None) -> dict[str, Any]:
    part = {"functionCall": {"name": "now", "args": {"zone": number}}}
    return part | ({"thoughtSignature": signature} if signature else {})


@pytest.mark.parametrize("streamed", [False, True])
def test_gemini_gets_its_signatures_back(start: Starter, streamed: bool) -> None:
    turns = [[function_call(1, "c2ln1"), function_call(2)], [function_call(3, "c2ln2")]]
    replies = [*turns, [{"text": "noon"}]]
    fake = start.upstream(lambda seen: gemini_reply(seen, *replies[len(fake.seen) - 1]))
    client = start.client(
        start.router({"g": model(fake.url, type="gemini", name="gemini-3-pro")}, router_type="random")
    )
    messages = list(HELLO)
    for _ in turns:
        answer = ask(client, messages, streamed)
        messages += [answer, *(result(call["id"]) for call in answer["tool_calls"])]
    assert ask(client, messages, streamed)["content"] == "noon"
    assert [c["parts"] for c in fake.seen[-1].body["contents"] if c["role"] == "model"] == turns


def test_openais_form_of_gemini_gets_its_signatures_back(start: Starter) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "now", "arguments": "{}"}}
    extra = {"extra_content": {"google": {"thought_signature": "c2ln"}}}
    fake = start.upstream(lambda seen: Reply(body=completion(None, tool_calls=[call | extra])))
    client = start.client(start.router({"g": model(fake.url)}, router_type="random"))
    answer = ask(client, HELLO, False)
    assert "extra_content" not in answer["tool_calls"][0]
    ask(client, [*HELLO, answer, result("c1")], False)
    assert fake.seen[-1].body["messages"][1]["tool_calls"] == [call | extra]


@pytest.mark.parametrize(
    ("name", "signature"), [("gemini-3-pro", "skip_thought_signature_validator"), ("gemini-2.5-pro", None)]
)
def test_gemini_takes_the_calls_of_other_models(start: Starter, name: str, signature: str | None) -> None:
    claude = start.upstream(lambda seen: claude_reply(seen, thinking(1), use(1), use(2)))
    fake = start.upstream(lambda seen: gemini_reply(seen, {"text": "noon"}))
    client = two_models(
        start, model(claude.url, type="anthropic", name=CLAUDE), model(fake.url, type="gemini", name=name)
    )
    answer = ask(client, HELLO, False, extra_body={"direct_model": "first"})
    history = [*HELLO, answer, result("toolu_1"), result("toolu_2")]
    ask(client, history, False, extra_body={"direct_model": "second"})
    assert fake.seen[-1].body["contents"][1]["parts"] == [function_call(1, signature), function_call(2)]


def test_thoughts_belong_to_one_key(start: Starter) -> None:
    fake = start.upstream(lambda seen: claude_reply(seen, thinking(1), use(1)))
    entry = model(fake.url, type="anthropic", name=CLAUDE, extra_fields=THINKING)
    keys = [{"name": name, "key": f"sk-{name}-0123456789"} for name in ("ann", "bob")]
    running = start.router({"m": entry}, {"keys": keys}, router_type="random")
    ann, bob = (start.client(running, key["key"]) for key in keys)
    history = [*HELLO, ask(ann, HELLO, False), result("toolu_1")]
    ask(bob, history, False)
    assert fake.seen[-1].body["messages"][1]["content"] == [use(1)]
    ask(ann, history, False)
    assert fake.seen[-1].body["messages"][1]["content"] == [thinking(1), use(1)]


@pytest.mark.filterwarnings("ignore")  # the library warns of its own dependencies
@pytest.mark.parametrize("streamed", [False, True])
def test_litellm_gets_them_back(start: Starter, streamed: bool) -> None:
    pytest.importorskip("litellm")
    turns = [[thinking(1), text("Look."), use(1)], [thinking(2), redacted(2), use(2)]]
    replies = [*turns, [text("noon")]]
    fake = start.upstream(lambda seen: claude_reply(seen, *replies[len(fake.seen) - 1]))
    entry = model(fake.url, type="litellm", name=f"anthropic/{CLAUDE}", extra_fields=THINKING)
    client = start.client(start.router({"m": entry}, router_type="random"))
    messages = list(HELLO)
    for number in (1, 2):
        messages += [ask(client, messages, streamed), result(f"toolu_{number}")]
    assert ask(client, messages, streamed)["content"] == "noon"
    sent = [m["content"] for m in fake.seen[-1].body["messages"] if m["role"] == "assistant"]
    assert [[b["type"] for b in blocks if "thinking" in b["type"]] for blocks in sent] == [
        ["thinking"],
        ["thinking", "redacted_thinking"],
    ]
    assert [blocks[0] for blocks in sent] == [thinking(1), thinking(2)]


def test_nothing_is_kept_if_the_configuration_says_so(start: Starter) -> None:
    fake = start.upstream(lambda seen: claude_reply(seen, thinking(1), use(1)))
    entry = model(fake.url, type="anthropic", name=CLAUDE, extra_fields=THINKING)
    running = start.router({"m": entry}, {"router": {"thoughts_ttl": 0}}, router_type="random")
    client = start.client(running)
    ask(client, [*HELLO, ask(client, HELLO, False), result("toolu_1")], False)
    assert fake.seen[-1].body["messages"][1]["content"] == [use(1)]
    assert not running.container.state.execute("SELECT * FROM thoughts").fetchall()


class TestStore:
    def kept(self, clock: Clock) -> ThoughtStore:
        return ThoughtStore(open_shared_state(None), clock)

    def test_thoughts_expire(self) -> None:
        clock = Clock()
        store = self.kept(clock)
        store.keep("ann", "m", {"c": {"signature": "s"}}, 86400)
        clock.now += 86399
        assert store.find("ann", ["c", "d"])["c"].content == {"signature": "s"} and not store.find("bob", ["c"])
        clock.now += 2
        assert not store.find("ann", ["c"])

    def test_a_key_keeps_its_latest(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = Clock()
        store = self.kept(clock)
        monkeypatch.setattr(thought_store, "MAX_ENTRIES", 3)
        for number in range(5):
            clock.now += 1
            store.keep("ann", "m", {f"c{number}": {"signature": "s"}}, 86400)
            store.keep("bob", "m", {f"c{number}": {"signature": "s"}}, 86400)
        assert set(store.find("ann", [f"c{n}" for n in range(5)])) == {"c2", "c3", "c4"}
        monkeypatch.setattr(thought_store, "MAX_BYTES", 100)
        clock.now += 1
        store.keep("ann", "m", {"large": {"signature": "s" * 60}}, 86400)
        assert set(store.find("ann", ["c2", "c3", "c4", "large"])) == {"c4", "large"}
        assert len(store.find("bob", [f"c{n}" for n in range(5)])) == 3

    def test_a_state_that_fails_loses_no_answer(self, start: Starter) -> None:
        fake = start.upstream(lambda seen: claude_reply(seen, thinking(1), use(1)))
        running = start.router({"m": model(fake.url, type="anthropic", name=CLAUDE)}, router_type="random")
        running.container.thoughts._state.execute("DROP TABLE thoughts")
        client = start.client(running)
        answer = ask(client, HELLO, False)
        assert ask(client, [*HELLO, answer, result("toolu_1")], False)["tool_calls"]
