"""Chats: lists of messages in the spellings of common exports, and the user turns that they hold."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np

from p2l.data.message_forms import as_message
from p2l.errors import PromptError

Messages: TypeAlias = list[Mapping[str, Any]]

LISTS = (list, tuple, np.ndarray)
_OF_THE_USER = {"user", "human", "prompter"}
_OF_OTHERS = {
    *("assistant", "gpt", "model", "chatgpt", "ai", "bot", "chatbot", "bard", "bing", "system", "developer"),
    *("tool", "function", "observation", "function_call", "function_response", "tool_call", "tool_response", "ipython"),
}
_KEYS = (("role", "content"), ("from", "value"), ("role", "parts"))  # OpenAI, ShareGPT, Gemini
_WRAPPERS = ("messages", "conversations", "conversation")


def messages_of(value: object) -> Messages | None:
    """Return the messages of a chat; None if the value is no chat.

    A chat is a list of messages, one message, or a dict that holds a list of them as ``messages`` or ``conversations``.
    A message has ``role`` and ``content`` (or ``parts``), or ``from`` and ``value``, or is one of LangChain.
    """
    if isinstance(value, Mapping):
        value = as_message(value)
        if not _is_message(value):
            return next((found for key in _WRAPPERS if (found := _listed(value.get(key))) is not None), None)
        return [value]
    return _listed(value)


def _listed(value: object) -> Messages | None:
    if not isinstance(value, LISTS) or not len(value) or not all(isinstance(message, Mapping) for message in value):
        return None
    messages = list(map(as_message, value))
    has_author = all("role" in message or "from" in message for message in messages)
    return messages if has_author and any(map(_is_message, messages)) else None


def _is_message(value: Mapping[str, Any]) -> bool:
    return any(author in value and text in value for author, text in _KEYS)


def user_turns(messages: Messages) -> list[object]:
    """Return what the user's messages hold; text parts are joined by line ends, other parts are ignored.

    Roles match in any case: ``user`` and ``human`` are the user. Raises PromptError for an unknown role.
    """
    return [text_of_content(_content(message)) for message in messages if _is_of_user(message)]


def _is_of_user(message: Mapping[str, Any]) -> bool:
    role = message.get("role", message.get("from"))
    name = role.strip().casefold() if isinstance(role, str) else None
    if name not in _OF_THE_USER and name not in _OF_OTHERS:
        raise PromptError(
            f"a message of the chat has the unknown role {role!r}; use user (or human) for the turns of the user, and "
            f"system, assistant or tool for others"
        )
    return name in _OF_THE_USER


def _content(message: Mapping[str, Any]) -> object:
    return next((message[text] for author, text in _KEYS if author in message and text in message), None)


def other_parts(messages: Messages) -> list[str]:
    """Return the kinds of parts of the user's messages that are no text, such as image_url, each once."""
    parts = (part for message in messages if _is_of_user(message) for part in _listed_parts(_content(message)))
    return list(dict.fromkeys(_kind_of(part) for part in parts if _text_of_part(part) is None))


def _listed_parts(content: object) -> Iterable[object]:
    return content if isinstance(content, LISTS) else ()


def _kind_of(part: object) -> str:
    kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
    return str(kind or ", ".join(map(str, part)) or "empty")[:40] if isinstance(part, Mapping) else str(kind)


def _text_of_part(part: object) -> str | None:
    text = part.get("text") if isinstance(part, Mapping) else part
    return text if isinstance(text, str) else None


def text_of_content(content: object) -> object:
    """Return the text of a message: the string itself, or its text parts."""
    if not isinstance(content, LISTS):
        return content
    return "\n".join(text for part in content if (text := _text_of_part(part)))
