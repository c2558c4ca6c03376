"""``router.text_from``: the words of the user decide, not those of the harness, and the router says what it read."""

import time
from collections import Counter
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2l.errors import ConfigError
from p2l.serving.router.config.harness_rules import KNOWN_RULES, HarnessRule
from p2l.serving.router.config.text_config import TextConfig
from p2l.serving.router.conversation.read_text import HarnessText, ReadText, read_text
from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import KEY, Running, Upstream, chat, model

LAST = TextConfig(turns="last", harness_text="remove")
ALL = TextConfig(harness_text="remove")
TASK = "Rename validateLogin."
# what the programs send, shortened
TURNS = {
    "claude-code": f"<system-reminder>\nContents of CLAUDE.md\n</system-reminder>\n{TASK}",
    "claude-code, a command": f"<command-name>/fix</command-name><command-message>fix</command-message>\n{TASK}",
    "cline": f"<task>\n{TASK}\n</task>\n<environment_details>\n# Open Tabs\n</environment_details>",
    "cline, feedback": f"[write_to_file for 'a.py'] Result:\n\nThe user denied.\n<feedback>\n{TASK}\n</feedback>",
    "cursor": "<additional_data>\n<attached_files>x = 1</attached_files></additional_data>"
    f"<user_query>\n{TASK}\n</user_query>",
    "codex": f"<environment_context>\n<cwd>/repo</cwd>\n</environment_context>\n{TASK}",
    "copilot": f"<editorContext>a.py</editorContext>\n<context>2026</context>\n<userRequest>\n{TASK}\n</userRequest>",
    "gemini-cli": f"<session_context>\nThis is the Gemini CLI.\n</session_context>\n{TASK}",
    "attributes": f'<system_reminder data-role="user-context">old</system_reminder>\n{TASK}',
}
NOT_OF_THE_USER = [
    "<system-reminder>Your todo list is empty.</system-reminder>",
    "[Request interrupted by user for tool use]",
    "[read_file for 'src/a.py'] Result:\nx = 1\n<environment_details>…</environment_details>",
    "[ERROR] You did not use a tool in your previous response! Please retry with a tool use.",
    "# AGENTS.md instructions for /repo\n\n<INSTRUCTIONS>\nBe brief.\n</INSTRUCTIONS>",
    "This is the Gemini CLI. We are setting up the context for our chat.\nToday's date is Friday.",
    "I have *added these files to the chat* so you can go ahead and edit them.\n\na.py\n```\nx = 1\n```",
    "Here are summaries of some files present in my git repository.\na.py",
]


@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
def test_the_words_of_the_user_are_left(turn: str) -> None:
    for config in (LAST, ALL):
        read = read_text(config, [turn])
        assert read.turns == (TASK,) and read.instead is None
        assert 0 < sum(read.left_out.values()) <= len(turn) - len(TASK)


@pytest.mark.parametrize("turn", NOT_OF_THE_USER)
def test_a_turn_of_the_harness_is_not_read(turn: str) -> None:
    assert read_text(ALL, [turn, TASK, turn]).turns == (TASK,)
    assert read_text(LAST, ["Hello.", TASK, turn]) == ReadText(
        (TASK,), {**read_text(ALL, [TASK, turn]).left_out, "earlier_turns": 6}, "earlier_turn"
    )


@pytest.mark.parametrize("config", [LAST, ALL])
def test_if_nothing_is_left_the_turns_are_read_as_they_came(config: TextConfig) -> None:
    turns = NOT_OF_THE_USER[:2]
    expected = tuple(turns) if config is ALL else (turns[-1],)
    assert read_text(config, turns) == ReadText(expected, {}, "whole_turns")


@given(st.lists(st.text(), max_size=4))
def test_by_default_all_turns_are_read(turns: list[str]) -> None:
    assert read_text(TextConfig(), turns) == ReadText(tuple(turns))
    assert read_text(TextConfig(turns="last"), turns).turns == tuple(turns[-1:]) or not turns[-1]


words = st.text(st.characters(exclude_characters="<>[]#", exclude_categories=["Cs"]), max_size=20)


@given(st.lists(st.tuples(words, st.sampled_from(KNOWN_RULES["claude-code"].remove), words), max_size=5), words)
def test_what_is_in_tags_goes_and_all_else_stays(parts: list[tuple[str, str, str]], end: str) -> None:
    """Every character is the user's or is counted; words may be those of another rule's beginning only by its mark."""
    text = "".join(f"{own}<{tag}>{theirs}</{tag}>" for own, tag, theirs in parts) + end
    left_out: Counter[str] = Counter()
    found = HarnessText({"claude-code": KNOWN_RULES["claude-code"]}).remove(text, left_out)
    own = [*(own for own, _, _ in parts), end]
    assert found == ("\n".join(kept for one in own if (kept := one.strip())) if parts else end)
    assert left_out["claude-code"] == len(text) - sum(map(len, own))


def test_text_of_the_harness_may_name_its_own_tags() -> None:
    """A CLAUDE.md of this very project."""
    page = (
        "`<system-reminder>` is removed, `</system-reminder>` ends it, and <system-reminder>x</system-reminder> is one."
    )
    assert read_text(LAST, [f"<system-reminder>\n{page}\n</system-reminder>\n{TASK}"]).turns == (TASK,)
    crossed = f"<system-reminder>\n{page}\n</system-reminder>\n{TASK}\n<system-reminder>\nb\n</system-reminder>"
    assert read_text(ALL, [crossed]).turns == (TASK,)
    assert read_text(ALL, [f"<system-reminder>\na</system-reminder>{TASK}"]).turns == (TASK,)
    others = "all but `<user_query>` and <environment_details>, until </user_query>"
    cursor = f"<additional_data>\n{others}\n</additional_data>\n<user_query>\n{TASK}\n</user_query>"
    assert read_text(ALL, [cursor]).turns == (TASK,)
    cline = f"<task>\n{TASK}\n</task>\n<environment_details>\n{others} <task>x</task>\n</environment_details>"
    assert read_text(ALL, [cline]).turns == (TASK,)


@pytest.mark.parametrize(
    "text",
    [
        *("<system-reminder> is a tag of Claude Code", "stray </system-reminder>", "if a <environment_context"),
        *("<system-reminders>x</system-reminders>", "a <task> for you: <task>x</task>", "List<user_query>"),
    ],
)
def test_what_only_looks_like_a_mark_stays(text: str) -> None:
    assert read_text(ALL, [text]) == ReadText((text,))


def test_text_made_to_be_slow_is_read_in_no_time() -> None:
    texts = ["<system-reminder>" * 20_000, "<system-reminder " * 20_000, "<task><environment_details>" * 20_000]
    texts += [
        "<system-reminder><user_info>" * 20_000 + "</user_info></system-reminder>" * 20_000,
        "[" + "a" * 1_000_000,
    ]
    texts += ["<system-reminder>\n" * 20_000 + "</system-reminder>" * 20_000]
    started = time.process_time()
    for text in texts:
        read_text(ALL, [text])
    assert time.process_time() - started < 2.0


def test_the_last_tokens_are_read() -> None:
    read = read_text(TextConfig(max_tokens=2), ["abcdef", "ghijkl"])
    assert read == ReadText(("ef", "ghijkl"), {"over_limit": 4})
    assert read_text(TextConfig(max_tokens=1), ["abcdef", "ghijkl"]).turns == ("ijkl",)


def test_a_rule_of_the_file_replaces_a_known_one_or_turns_it_off() -> None:
    rules = {"claude-code": None, "cline": HarnessRule(remove=("ours",)), "mine": HarnessRule(drop=("Log:",))}
    config = TextConfig(harness_text="remove", rules=rules)
    assert read_text(config, [TURNS["claude-code"]]).turns == (TURNS["claude-code"],)
    assert read_text(config, [TURNS["cline"], "<ours>x</ours>y", " Log: 3"]).turns == (TURNS["cline"], "y")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: HarnessRule(), "give remove or drop"),
        (lambda: HarnessRule(keep=("a",)), "give remove or drop"),
        (lambda: HarnessRule(remove=("<a>",)), "a tag is its name without brackets"),
        (lambda: HarnessRule(drop=("(",)), "is not a regular expression"),
        (lambda: HarnessRule(drop=("x*",)), "matches every turn"),
        (lambda: HarnessRule(remove=("a",), keep=("a",)), "in remove and in keep"),
        (lambda: TextConfig(rules={"a": None}), "no effect without harness_text: remove"),
        (
            lambda: TextConfig(harness_text="remove", rules={"claude": None}),
            "no known rule.*did you mean 'claude-code'",
        ),
        (lambda: TextConfig(max_tokens=0), "max_tokens must be a whole number, at least 1; got 0"),
    ],
)
def test_a_wrong_rule_is_an_error_at_the_start(make: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def _started(start: Starter, **text_from: Any) -> tuple[Running, Upstream]:
    fake, scorer = start.upstream(), start.scorer({"m": 1.0})
    options = {"router_type": "bt-endpoint", "router_model_endpoint": scorer.url}
    return start.router({"m": model(fake.url)}, {"router": {"text_from": text_from}}, **options), scorer


def test_what_was_read_is_shown_and_counted(start: Starter) -> None:
    running, scorer = _started(start, turns="last", harness_text="remove")
    reminder = {"type": "text", "text": NOT_OF_THE_USER[0]}
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": [reminder, {"type": "text", "text": TASK}]},
        {
            "role": "assistant",
            "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": ""}}],
        },
        {"role": "tool", "tool_call_id": "1", "content": "x = 1"},
    ]
    headers = {"authorization": f"Bearer {KEY}"}
    shown = httpx.post(f"{running.base}/route", json={"messages": messages}, headers=headers).json()["read"]
    removed = {"claude-code": len(NOT_OF_THE_USER[0])}
    assert shown == {"turns": [TASK], "characters": len(TASK), "left_out": removed, "instead": None}
    answer = chat(start.client(running), messages=[*messages, {"role": "user", "content": [reminder]}])
    assert answer["x-p2l-read-instead"] == "earlier_turn"
    assert {tuple(seen.body["prompt"]) for seen in scorer.seen if seen.path == "/predict"} == {(TASK,)}
    metrics = httpx.get(running.base.replace("/v1", "/metrics")).text
    assert f'p2l_router_prompt_characters_total{{part="read"}} {len(TASK)}.0' in metrics
    assert f'p2l_router_prompt_characters_total{{part="claude-code"}} {2.0 * len(NOT_OF_THE_USER[0])}' in metrics
    assert 'p2l_router_read_instead_total{read="earlier_turn"} 1.0' in metrics


def test_results_and_reminders_of_the_messages_api_are_not_read(start: Starter) -> None:
    running, scorer = _started(start, turns="last", harness_text="remove")
    result = {"type": "tool_result", "tool_use_id": "1", "content": "x = 1"}
    messages = [
        {"role": "user", "content": TURNS["claude-code"]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "f", "input": {}}]},
        {"role": "user", "content": [result, {"type": "text", "text": NOT_OF_THE_USER[0]}]},
    ]
    body, headers = {"model": "-", "max_tokens": 10, "messages": messages}, {"x-api-key": KEY}
    answer = httpx.post(f"{running.base}/messages", json=body, headers=headers)
    assert answer.status_code == 200 and answer.headers["x-p2l-read-instead"] == "earlier_turn"
    assert [seen.body["prompt"] for seen in scorer.seen if seen.path == "/predict"] == [[TASK]]
