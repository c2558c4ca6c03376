"""Names of conversations, loops of tools, errors that repeat, and what prompt caches hold."""

from typing import Any

import pytest
from starlette.datastructures import Headers

from p2l.serving.router.accounts.token_usage import TokenUsage
from p2l.serving.router.api.parse_chat import parse_chat_request
from p2l.serving.router.api.parse_messages import parse_messages_request
from p2l.serving.router.chat_request import JSON, ChatRequest
from p2l.serving.router.config.router_config import RouterConfig
from p2l.serving.router.config.server_config import ModelConfig
from p2l.serving.router.config.session_config import SessionConfig
from p2l.serving.router.config.text_config import TextConfig
from p2l.serving.router.conversation.prompt_caches import PromptCaches, cached_tokens
from p2l.serving.router.conversation.session_costs import Conversation, has_cache_marks
from p2l.serving.router.conversation.session_name import named_session
from p2l.serving.router.conversation.tool_loops import in_tool_loop, repeated_errors
from p2l.serving.router.storage.shared_state import open_shared_state
from tests.serving.router.fakes import Clock

BY_TEXT = RouterConfig(sessions=SessionConfig(from_text=True))
MARK = {"cache_control": {"type": "ephemeral"}}
REMINDER = "<system-reminder>Your todo list is empty.</system-reminder>"
OF_USER = TextConfig(harness_text="remove")


def agent(*, nonce: str = "1", marked: int = 0, turns: int = 1, **extra: Any) -> ChatRequest:
    """A request of an agent whose system prompt starts with a changing line, and whose marks move."""
    system = [
        {"type": "text", "text": f"x-anthropic-billing-header: cc_version=2.1.117; cch={nonce};"},
        {"type": "text", "text": "You are an agent."},
    ]
    messages: list[JSON] = []
    for turn in range(turns):
        mark = MARK if turn == marked else {}
        messages.append({"role": "user", "content": [{"type": "text", "text": f"turn {turn}", **mark}]})
        messages.append({"role": "assistant", "content": "Done."})
    tools = [{"name": "read", "input_schema": {"type": "object"}, **(MARK if marked else {})}]
    body = {"max_tokens": 10, "system": system, "messages": messages[:-1], "tools": tools, **extra}
    return parse_messages_request(body, Headers({}), session_from_user=True)


def name(request: ChatRequest) -> str | None:
    return named_session(BY_TEXT, request).session


def chat(*messages: JSON, **fields: Any) -> ChatRequest:
    return parse_chat_request({"messages": list(messages), **fields}, {})


def test_a_conversation_keeps_its_name() -> None:
    first = name(agent())
    assert first is not None and first.startswith("text:")
    assert name(agent(nonce="2", marked=3, turns=4)) == first
    assert named_session(RouterConfig(), agent()).session is None


def test_another_beginning_is_another_conversation() -> None:
    user = {"role": "user", "content": "Hello."}
    names = [
        name(chat(user)),
        name(chat({"role": "user", "content": "Hello!"})),
        name(chat({"role": "system", "content": "Be brief."}, user)),
        name(chat(user, tools=[{"type": "function", "function": {"name": "f"}}])),
        name(chat({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,x"}}]})),
    ]
    assert len(set(names)) == len(names) and None not in names
    assert name(chat({"role": "system", "content": "Be brief."})) is None


def test_odd_values_are_no_fault_of_the_router() -> None:
    """Whatever passes the parser: numbers beyond 64 bits, half characters, and ids that are no text."""
    odd = {
        "role": "user",
        "content": [{"type": "text", "text": "\ud800", "n": 2**70}, {"type": "x", "text": {"a": 2**70}}],
    }
    request = chat(odd, tools=[{"a": 2**70}, "x", None])
    assert name(request) == name(request) and not has_cache_marks(request)
    called = {"role": "assistant", "tool_calls": [{"id": {"a": []}, "function": "f"}, {}]}
    failed = {"role": "tool", "tool_call_id": ["x"], "content": [{"type": "text", "text": 3}], "is_error": True}
    assert repeated_errors(chat(USER, called, failed, failed).messages) == 2
    assert in_tool_loop(chat(USER, called, failed).messages, OF_USER)


def test_a_name_of_the_client_wins() -> None:
    assert name(agent(metadata={"user_id": "account_session_1"})) == "account_session_1"


def result(text: str, call: str = "1", **extra: Any) -> JSON:
    return {"role": "tool", "tool_call_id": call, "content": text, **extra}


def called(call: str = "1", tool: str = "bash") -> JSON:
    return {"role": "assistant", "tool_calls": [{"id": call, "function": {"name": tool, "arguments": "{}"}}]}


USER = {"role": "user", "content": "Fix the test."}


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([USER], False),
        ([USER, called(), result("ok")], True),
        ([USER, called(), result("ok"), {"role": "user", "content": REMINDER}], True),
        ([USER, called(), result("ok"), {"role": "user", "content": "Stop. Use pytest."}], False),
        ([USER, called(), result("ok"), {"role": "assistant", "content": "Done."}, USER], False),
        ([USER, called(), result("ok"), {"role": "user", "content": [{"type": "image_url"}]}], False),
        ([USER, {"role": "assistant", "content": "<bash>"}, {"role": "user", "content": "[bash] Result:\nok"}], True),
        ([USER, {"role": "assistant", "content": "prefill"}], False),
    ],
)
def test_a_loop_of_tools_lasts_until_the_user_says_something(messages: list[JSON], expected: bool) -> None:
    assert in_tool_loop(messages, OF_USER) is expected


def test_without_rules_any_text_of_the_user_ends_a_loop() -> None:
    messages = [USER, called(), result("ok"), {"role": "user", "content": REMINDER}]
    assert not in_tool_loop(messages, TextConfig()) and in_tool_loop(messages[:-1], TextConfig())


FAILED = "Error: no such file: a.py (line 3)"


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ([], 0),
        ([result("ok")], 0),
        ([result(FAILED)] * 3, 3),
        ([result("ok"), result(FAILED), result("error: no such file: a.py (line 4)")], 1),  # other spelling
        ([result(FAILED), result(FAILED.replace("3", "117"))], 2),  # another line
        ([result(FAILED), result("ok"), result(FAILED)], 1),
        ([result(FAILED), result("ok")], 0),
        ([result("3 errors were mended")] * 3, 0),
        ([result("no", is_error=True)] * 2, 2),
        ([result("no", is_error=True), result("other", is_error=True)], 1),
        ([result("Traceback (most recent call last):\n  x")] * 2, 2),
        ([result("<tool_use_error>String not found</tool_use_error>")] * 2, 2),
        ([result("Exit code 1\nFAILED tests")] * 2, 2),
        ([result("Exit code: 0")] * 2, 0),
        ([result([{"type": "text", "text": FAILED}])] * 2, 2),
        ([result(FAILED), result(FAILED, "2")], 1),  # of another tool
    ],
)
def test_equal_errors_of_one_tool_are_counted(results: list[JSON], expected: int) -> None:
    steps = [step for one in results for step in (called(), called("2", "edit"), one)]
    assert repeated_errors([USER, *steps]) == expected


def test_what_a_cache_holds() -> None:
    claude = ModelConfig("c", "anthropic", 1.0)
    gpt = ModelConfig("g", "openai", 1.0)
    usage = TokenUsage(prompt=5000, completion=10, cached=3000, cache_written=1000)
    assert cached_tokens(claude, usage, 5000) == 4000  # what the client marks
    assert cached_tokens(claude, None, 5000) == 0
    assert (cached_tokens(gpt, usage, 5000), cached_tokens(gpt, None, 2000), cached_tokens(gpt, None, 900)) == (
        5000,
        2000,
        0,
    )


def test_caches_expire_and_conversations_are_forgotten() -> None:
    clock = Clock()
    caches = PromptCaches(open_shared_state(None), clock)
    gpt = ModelConfig("g", "openai", 1.0)
    caches.keep(("key", "s", "a"), gpt, TokenUsage(5000, 1), 1000, 3600.0)
    clock.now += 200
    caches.keep(("key", "s", "b"), gpt, TokenUsage(6000, 1), 1200, 3600.0)
    assert [(one.model, one.cached) for one in caches.find("key", "s")] == [("b", 6000), ("a", 5000)]
    clock.now += 200  # the first cache has been idle for 400 seconds
    assert [(one.model, one.cached, one.prompt) for one in caches.find("key", "s")] == [
        ("b", 6000, 6000),
        ("a", 0, 5000),
    ]
    assert caches.find("other key", "s") == caches.find("key", "t") == []
    clock.now += 3600
    assert caches.find("key", "s") == []


def test_an_hour_of_cache_that_was_paid_for_counts() -> None:
    clock = Clock()
    caches = PromptCaches(open_shared_state(None), clock)
    usage = TokenUsage(5000, 1, cache_written=4000, cache_written_hour=4000)
    caches.keep(("key", "s", "a"), ModelConfig("c", "anthropic", 1.0), usage, 1000, 7200.0)
    clock.now += 3000
    assert caches.find("key", "s")[0].cached == 4000


def test_a_summarised_conversation_is_shorter() -> None:
    caches = PromptCaches(open_shared_state(None))
    caches.keep(("key", "s", "a"), ModelConfig("g", "openai", 1.0), TokenUsage(50_000, 1), 40_000, 3600.0)
    known = caches.find("key", "s")
    same = Conversation.of(known, chat({"role": "user", "content": "x" * 200_000}))
    short = Conversation.of(known, chat({"role": "user", "content": "x" * 40_000}))
    assert same is not None and (same.tokens, same.held) == (50_000, {"a": 50_000})
    assert short is not None and (short.tokens, short.held) == (12_500, {"a": 12_500})
    assert Conversation.of([], chat(USER)) is None


def test_marks_of_caching_are_seen_wherever_they_stand() -> None:
    assert has_cache_marks(agent()) and has_cache_marks(agent(marked=9))
    plain = {"max_tokens": 10, "messages": [{"role": "user", "content": "Hello."}]}
    assert not has_cache_marks(parse_messages_request(plain, Headers({})))
    assert has_cache_marks(parse_messages_request({**plain, **MARK}, Headers({})))
