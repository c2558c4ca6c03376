"""Where a request stands in a conversation of an agent: in a loop of tool calls, and in one that makes no progress."""

import re
from collections.abc import Iterator

from p2l.serving.router.chat_request import JSON
from p2l.serving.router.config.text_config import TextConfig
from p2l.serving.router.conversation.read_text import says_something
from p2l.serving.router.conversation.user_turns import user_turns

_RESULT_ROLES = ("tool", "function")
# of results without the mark is_error, which only some clients send
_ERROR = re.compile(
    r"\s*(\W{0,3}(error|fatal|exception|traceback|command failed|tool_use_error)\b|exit(ed with)? code:? [1-9])", re.I
)
_VARYING = re.compile(r"0x[0-9a-f]+|\d+|\s+", re.I)  # addresses, line numbers and times differ between equal errors
_COMPARED = 2000  # characters of a result


def in_tool_loop(messages: list[JSON], text: TextConfig) -> bool:
    """Return whether the user has said nothing since the model's last answer, so that only results of tools are new."""
    last = next((at for at in range(len(messages) - 1, -1, -1) if messages[at]["role"] == "assistant"), None)
    if last is None or last == len(messages) - 1:
        return False
    new = [message for message in messages[last + 1 :] if message["role"] == "user"]
    has_other_parts = any(_has_other_parts(message) for message in new)
    return not has_other_parts and not says_something(text, user_turns(new))


def repeated_errors(messages: list[JSON]) -> int:
    """Return how often in a row the last results are the same error of the same tool."""
    last, count = None, 0
    for error in _errors_from_the_end(messages):
        if error is None or (last is not None and error != last):
            break
        last, count = error, count + 1
    return count


def _errors_from_the_end(messages: list[JSON]) -> Iterator[tuple[str, str] | None]:
    """Yield tool and text of each result, the last first; None for one that is no error."""
    calls = (call for message in messages for call in message.get("tool_calls") or ())
    names = {str(call.get("id")): _name(call) for call in calls}
    for message in reversed(messages):
        if message["role"] in _RESULT_ROLES:
            text = _text(message)
            is_error = message.get("is_error") is True or _ERROR.match(text) is not None
            tool = names.get(str(message.get("tool_call_id"))) or str(message.get("name"))
            yield (tool, _VARYING.sub(" ", text)) if is_error else None


def _name(call: JSON) -> str:
    function = call.get("function")
    return str(function.get("name")) if isinstance(function, dict) else ""


def _text(message: JSON) -> str:
    content = message.get("content")
    if isinstance(content, list):
        content = "\n".join(part["text"] for part in content if isinstance(part.get("text"), str))
    return content[:_COMPARED] if isinstance(content, str) else ""


def _has_other_parts(message: JSON) -> bool:
    content = message.get("content")
    return isinstance(content, list) and any(part["type"] not in ("text", "input_text") for part in content)
