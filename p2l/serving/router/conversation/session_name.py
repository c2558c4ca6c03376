"""Name the session of a request whose client does not: by what stays the same in a conversation."""

from collections.abc import Iterator
from dataclasses import replace
from hashlib import blake2b
from typing import Any

from p2l.serving.http.json_text import dump_json
from p2l.serving.router.chat_request import JSON, ChatRequest
from p2l.serving.router.config.router_config import RouterConfig

PREFIX = "text:"
_SYSTEM_ROLES = ("system", "developer")
# Claude Code 2.1.36 and later sends a line that differs in each request as the first part of its system prompt
# (anthropics/claude-code issues 24168 and 68900)
_CHANGING = "x-anthropic-billing-header:"


def named_session(config: RouterConfig, request: ChatRequest) -> ChatRequest:
    """Return the request with a session, if the configuration lets its text name one; a name of the client wins."""
    if request.session is not None or not config.sessions.from_text:
        return request
    name = session_of_text(request.as_chat)
    return request if name is None else replace(request, session=name)


def session_of_text(as_chat: JSON) -> str | None:
    """Return a digest of system prompt, tools and first turn of the user; None without such a turn.

    These are the beginning of what providers cache: another beginning is another cache. Marks of caching are left out,
    since agents move them from request to request.
    """
    messages: list[JSON] = as_chat["messages"]
    first = next((message for message in messages if message["role"] == "user" and message.get("content")), None)
    if first is None:
        return None
    system = [text for message in messages if message["role"] in _SYSTEM_ROLES for text in _texts(message)]
    tools = [_without_marks(tool) for tool in as_chat.get("tools") or ()]
    start = [[text for text in system if not text.startswith(_CHANGING)], tools, _parts(first)]
    return PREFIX + blake2b(dump_json(start), digest_size=16).hexdigest()


def _texts(message: JSON) -> Iterator[str]:
    content = message.get("content")
    parts = [content] if isinstance(content, str) else [part.get("text") for part in content or ()]
    yield from (part for part in parts if isinstance(part, str))


def _parts(message: JSON) -> list[Any]:
    content = message["content"]
    return [content] if isinstance(content, str) else [part.get("text", _without_marks(part)) for part in content]


def _without_marks(part: Any) -> Any:
    if not isinstance(part, dict):
        return part
    return {name: value for name, value in part.items() if name != "cache_control"}
