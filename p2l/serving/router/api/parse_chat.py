"""Parse a chat completion request: check the fields that the router reads, and pass on the rest."""

import sys
from collections.abc import Mapping
from typing import Any

from p2l.serving.http.api_error import invalid
from p2l.serving.router.chat_request import JSON, ChatRequest, reject_forbidden_fields
from p2l.serving.router.conversation.user_turns import user_turns

MAX_MESSAGES = 10_000
MAX_SESSION = 256
MAX_NUMBER = 2**53 - 1  # of tokens or choices: what a double holds exactly


def parse_chat_request(body: JSON, headers: Mapping[str, str], session_from_user: bool = False) -> ChatRequest:
    """Return the request in a JSON body; ApiError 400 names the field that is wrong.

    Args:
        body: not changed.
        headers: ``x-p2l-session`` names the session.
        session_from_user: whether the field ``user`` names the session if the header does not.
    """
    reject_forbidden_fields(body)
    messages = _messages(body)
    stream = _optional(body, "stream", bool) or False
    options = _optional(body, "stream_options", dict) or {}
    user = _optional(body, "user", str) if session_from_user else None
    _optional(body, "model", str)
    for name in ("tools", "functions"):
        _optional(body, name, list)
    for name in ("n", "max_tokens", "max_completion_tokens"):
        _check_positive(body, name)
    _optional(body, "response_format", dict)
    rest = {name: value for name, value in body.items() if name not in ("cost", "direct_model")}
    rest["messages"] = [{k: v for k, v in message.items() if k != "model"} for message in messages]
    return ChatRequest(
        body=rest,
        as_chat=rest,
        turns=user_turns(messages),
        budget=_budget(body),
        direct_model=_optional(body, "direct_model", str) or None,
        stream=stream,
        include_usage=options.get("include_usage") is True,
        session=_session(headers.get("x-p2l-session"), user),
    )


def _messages(body: Mapping[str, Any]) -> list[JSON]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise invalid("messages must be a list of at least one message", "messages")
    if len(messages) > MAX_MESSAGES:
        raise invalid(f"messages: at most {MAX_MESSAGES}; got {len(messages)}", "messages")
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise invalid(f"{where} must be an object with a role", where)
        _check_content(message.get("content"), f"{where}.content")
        if not isinstance(message.get("refusal"), str | None):
            raise invalid(f"{where}.refusal must be text", f"{where}.refusal")
        _check_tool_calls(message.get("tool_calls"), f"{where}.tool_calls")
    return messages


def _check_content(content: object, where: str) -> None:
    if content is None or isinstance(content, str):
        return
    if not isinstance(content, list):
        raise invalid(f"{where} must be text or a list of parts", where)
    for part in content:
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise invalid(f"{where}: each part must be an object with a type", where)


def _check_tool_calls(calls: object, where: str) -> None:
    if calls is not None and not (isinstance(calls, list) and all(isinstance(call, dict) for call in calls)):
        raise invalid(f"{where} must be a list of objects", where)


def _budget(body: Mapping[str, Any]) -> float | None:
    cost = body.get("cost")
    if cost is None:
        return None
    if isinstance(cost, bool) or not isinstance(cost, (int, float)) or not 0 <= cost <= sys.float_info.max:
        raise invalid("cost must be a number of 0 or more", "cost")
    return float(cost)


def _session(header: str | None, user: str | None) -> str | None:
    session = header or user
    if session is not None and len(session) > MAX_SESSION:
        raise invalid(f"a session has at most {MAX_SESSION} characters", "x-p2l-session")
    return session


def _check_positive(body: Mapping[str, Any], name: str) -> None:
    value = _optional(body, name, int)
    if value is not None and not 1 <= value <= MAX_NUMBER:
        raise invalid(f"{name} must be a whole number from 1 to {MAX_NUMBER}", name)


def _optional(body: Mapping[str, Any], name: str, kind: type) -> Any:
    value = body.get(name)
    if value is not None and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)):
        raise invalid(f"{name} must be {_TYPE_NAMES[kind]}", name)
    return value


_TYPE_NAMES: dict[type, str] = {
    bool: "true or false",
    str: "text",
    int: "a whole number",
    list: "a list",
    dict: "an object",
}
