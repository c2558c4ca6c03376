"""A chat request, checked as far as the router reads it; the rest passes on as it came."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from p2l.serving.http.api_error import invalid

# fields that gateways behind us would take for orders: other models, other hosts, other keys
FORBIDDEN_FIELDS = frozenset(
    [
        "api_base",
        "api_key",
        "api_type",
        "api_version",
        "base_url",
        "callbacks",
        "cluster",
        "custom_llm_provider",
        "deployment_id",
        "extra_body",
        "extra_headers",
        "extra_query",
        "fallbacks",
        "headers",
        "host",
        "metadata_headers",
        "mock_response",
        "model_list",
        "models",
        "organization",
        "project",
        "proxies",
        "proxy",
        "router_outputs",
        "user_config",
    ]
)
FORBIDDEN_PREFIXES = ("litellm_", "aws_", "azure_", "vertex_", "context_window_fallback")
MAX_MESSAGES = 10_000


@dataclass(frozen=True)
class ChatRequest:
    """One request for an answer.

    Attributes:
        body: the request without the router's own fields.
        view: the request as a chat; what the router reads of it.
        turns: the text of each user message that has any, which the choice rests on.
        budget: most that the answer may cost; None: no limit.
        direct_model: a model that the client names itself.
        stream: whether chunks are wanted.
        usage: whether a stream is to end with its usage.
        session: what keeps a conversation with one model.
        api: whose form ``body`` has.
        previous: the response that this one follows, which its provider keeps.
    """

    body: dict[str, Any]
    view: dict[str, Any]
    turns: tuple[str, ...]
    budget: float | None
    direct_model: str | None
    stream: bool
    usage: bool
    session: str | None
    api: Literal["chat", "responses"] = "chat"
    previous: str | None = None

    @property
    def messages(self) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = self.view["messages"]
        return messages


def parse_chat_request(
    body: dict[str, Any], headers: Mapping[str, str], session_from_user: bool = False
) -> ChatRequest:
    """The request of a parsed body; ``ApiError`` 400 that names the field which is wrong."""
    reject_forbidden_fields(body)
    messages = _messages(body)
    stream = _optional(body, "stream", bool) or False
    options = _optional(body, "stream_options", dict) or {}
    user = _optional(body, "user", str) if session_from_user else None
    for name in ("tools", "functions"):
        _optional(body, name, list)
    for name in ("n", "max_tokens", "max_completion_tokens"):
        _positive(body, name)
    _optional(body, "response_format", dict)
    rest = {name: value for name, value in body.items() if name not in ("cost", "direct_model")}
    rest["messages"] = [{k: v for k, v in message.items() if k != "model"} for message in messages]
    return ChatRequest(
        body=rest,
        view=rest,
        turns=user_turns(messages),
        budget=_budget(body),
        direct_model=_optional(body, "direct_model", str) or None,
        stream=stream,
        usage=options.get("include_usage") is True,
        session=_session(headers.get("x-p2l-session"), user),
    )


def reject_forbidden_fields(body: Mapping[str, Any]) -> None:
    """``ApiError`` 400 where a field could lead a gateway behind us to another model, host or key."""
    for name in body:
        if name in FORBIDDEN_FIELDS or name.startswith(FORBIDDEN_PREFIXES):
            raise invalid(f"the field {name[:64]!r} is not accepted: models and keys are set by the router", name[:64])


def user_turns(messages: list[dict[str, Any]]) -> tuple[str, ...]:
    """The text of each user message, its text parts joined by line ends; messages without text are left out."""
    texts = (_text(message.get("content")) for message in messages if message.get("role") == "user")
    return tuple(text for text in texts if text)


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = (part.get("text") for part in content if part.get("type") in ("text", "input_text"))
    return "\n".join(part for part in parts if isinstance(part, str))


def _messages(body: Mapping[str, Any]) -> list[dict[str, Any]]:
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
        _check_calls(message.get("tool_calls"), f"{where}.tool_calls")
    return messages


def _check_content(content: object, where: str) -> None:
    if content is None or isinstance(content, str):
        return
    if not isinstance(content, list):
        raise invalid(f"{where} must be text or a list of parts", where)
    for part in content:
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise invalid(f"{where}: each part must be an object with a type", where)


def _check_calls(calls: object, where: str) -> None:
    if calls is None:
        return
    if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
        raise invalid(f"{where} must be a list of objects", where)


def _budget(body: Mapping[str, Any]) -> float | None:
    cost = body.get("cost")
    if cost is None:
        return None
    if isinstance(cost, bool) or not isinstance(cost, (int, float)) or not math.isfinite(cost) or cost < 0:
        raise invalid("cost must be a number of 0 or more", "cost")
    return float(cost)


def _session(header: str | None, user: str | None) -> str | None:
    session = header or user
    if session is not None and len(session) > 256:
        raise invalid("a session has at most 256 characters", "x-p2l-session")
    return session


def _positive(body: Mapping[str, Any], name: str) -> None:
    value = _optional(body, name, int)
    if value is not None and value < 1:
        raise invalid(f"{name} must be at least 1", name)


def _optional(body: Mapping[str, Any], name: str, kind: type) -> Any:
    value = body.get(name)
    if value is not None and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)):
        raise invalid(f"{name} must be {_NAMES[kind]}", name)
    return value


_NAMES: dict[type, str] = {bool: "true or false", str: "text", int: "a whole number", list: "a list", dict: "an object"}
