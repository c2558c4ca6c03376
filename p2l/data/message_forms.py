"""Messages of LangChain, and texts of message objects, in the form of OpenAI's: dicts with role and content."""

import ast
import re
import warnings
from collections.abc import Mapping
from typing import Any

_ROLES = {"human": "user", "ai": "assistant", **{name: name for name in ("system", "tool", "function", "developer")}}
_CLASSES = "(?:Human|AI|System|Tool|Function|Chat)Message(?:Chunk)?"
# HumanMessage(content='a') or a list of these, messages=[...] of a ChatPromptValue;
# Row(role='user', content='a') of Spark
_OBJECTS = re.compile(rf"(?:messages=)?\[?\s*(?:{_CLASSES}\(|Row\((?:role|content|from|value)=)")
_TEXT_OF_MESSAGE = re.compile(r"""content=['"].*\badditional_kwargs=\{""", re.DOTALL)
_READ = ("role", "content", "value", "parts", "type")
STARTS = (
    *("HumanMessage", "AIMessage", "SystemMessage", "ToolMessage", "FunctionMessage", "ChatMessage"),
    *("Row(", "messages=[", "content='", 'content="'),
)


def as_message(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a message of LangChain with role and content; anything else as it is.

    The forms are ``{"type": "human", "content": ...}``, the same with ``data`` around the content, and what
    ``langchain_core.load.dumpd`` writes: ``{"lc": 1, "id": [..., "HumanMessage"], "kwargs": {"content": ...}}``.

    >>> as_message({"type": "human", "content": "What is 1+1?"})
    {'role': 'user', 'content': 'What is 1+1?'}
    """
    if value.get("role") is not None or value.get("from") is not None:
        return value
    held, kind = value, value.get("type")
    if value.get("lc") and isinstance(value.get("kwargs"), Mapping):
        held, names = value["kwargs"], value.get("id")
        kind = names[-1] if names is not None and len(names) else None
    elif isinstance(value.get("data"), Mapping):
        held = value["data"]
    kind = _kind_of_class(kind)
    role = held.get("role") if kind == "chat" else _ROLES.get(kind)
    if role is not None and "content" in held:
        return {"role": role, "content": held["content"]}
    return held if held.get("messages") is not None else value  # of a prompt value


def _kind_of_class(name: object) -> str:
    return str(name).removesuffix("Chunk").removesuffix("Message").casefold()


def spells_objects(text: str) -> bool:
    """Return whether a text is that of message objects, as Python or Spark shows them."""
    return bool(_OBJECTS.match(text) or _TEXT_OF_MESSAGE.match(text))


def parse_objects(text: str) -> object:
    """Return the messages that a text of objects shows; None if it cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # an escape that Python does not know
            tree = ast.parse(text.removeprefix("messages="), mode="eval").body
        return [_message(item) for item in tree.elts] if isinstance(tree, ast.List) else _message(tree)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _message(node: ast.expr) -> dict[str, Any]:
    """Return the message of a call; ValueError for any other expression."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.args:
        raise ValueError("not a message")
    held = {item.arg: ast.literal_eval(item.value) for item in node.keywords if item.arg in _READ}
    return held if node.func.id == "Row" else {**held, "type": _kind_of_class(node.func.id)}
