"""View the input items of the Responses API as messages of a chat.

A field that a chat has no place for is added to ``lost`` by its path. An item or part that no chat has gets a part type
of its own, so that only models that are asked in this API may answer.
"""

from p2l.serving.http.api_error import invalid
from p2l.serving.router.api.chat_view import assistant_message, note_lost, plain_content, text_in
from p2l.serving.router.api.response_tools import arguments_of_input, function_name
from p2l.serving.router.chat_request import JSON
from p2l.serving.router.upstream.sealed_thoughts import unseal

_INPUT, _CONTENT = "input", "input.content"
_ROLES = {"user": "user", "system": "system", "developer": "system"}
_LABELS = ("type", "id", "status")  # of any item; they say nothing to a model
_CALLS = ("function_call", "custom_tool_call")
_RESULTS = ("function_call_output", "custom_tool_call_output")
_TEXTS = ("input_text", "output_text", "text")
_MARK = "prompt_cache_breakpoint"


def chat_messages(items: list[JSON], lost: set[str]) -> list[JSON]:
    """Return the messages of a chat; what an assistant says, thinks and calls before the next result is one of them.

    Args:
        items: messages among them have a role and content.
        lost: gets the fields that a chat has no place for.

    Raises ApiError 400 for a field that is wrong.
    """
    history = _History(lost)
    for index, item in enumerate(items):
        history.add(item, f"input[{index}]")
    return history.whole()


class _History:
    """Puts items together: ``add`` each, then read ``whole``."""

    def __init__(self, lost: set[str]) -> None:
        self._lost = lost
        self._messages: list[JSON] = []
        self._clear()

    def _clear(self) -> None:
        """Begin a turn of the assistant."""
        self._parts: list[JSON] = []
        self._calls: list[JSON] = []
        self._thoughts: list[JSON] = []
        self._reasoning: list[str] = []
        self._last = ""  # kind of the item that was added last; empty outside of a turn

    def add(self, item: JSON, where: str) -> None:
        kind = item.get("type") or "message"
        if kind == "message" and item["role"] == "assistant":
            self._say(item, where)
        elif kind == "reasoning":
            self._think(item, where)
        elif kind in _CALLS:
            self._calls.append(_call(item, kind, where, self._lost))
        else:
            self._end_turn()
            self._messages.append(_other(item, kind, where, self._lost))
            return
        self._last = kind

    def whole(self) -> list[JSON]:
        self._end_turn()
        return self._messages

    def _end_turn(self) -> None:
        if self._last:
            reasoning = "\n\n".join(self._reasoning)
            self._messages.append(assistant_message(self._parts, self._calls, self._thoughts, reasoning))
            self._clear()

    def _say(self, item: JSON, where: str) -> None:
        if self._last == "message" and not self._calls:
            self._end_turn()  # two messages in a row are two in a chat, too
        note_lost(item, ("role", "content", *_LABELS), _INPUT, self._lost)
        self._parts += _parts(item["content"], f"{where}.content", self._lost)

    def _think(self, item: JSON, where: str) -> None:
        note_lost(item, ("summary", "content", "encrypted_content", *_LABELS), _INPUT, self._lost)
        if (blocks := unseal(item.get("encrypted_content"))) is not None:
            self._thoughts += blocks
            return
        if item.get("encrypted_content"):
            self._lost.add(f"{_INPUT}.encrypted_content")
        texts = [_texts(item, name, where) for name in ("content", "summary")]
        self._reasoning += texts[0] or texts[1]


def _texts(item: JSON, name: str, where: str) -> list[str]:
    given = item.get(name) or []
    if not isinstance(given, list) or not all(isinstance(part, dict) for part in given):
        raise invalid(f"{where}.{name} must be a list of parts", f"{where}.{name}")
    return [text for index, part in enumerate(given) if (text := text_in(part, "text", f"{where}.{name}[{index}]"))]


def _call(item: JSON, kind: str, where: str, lost: set[str]) -> JSON:
    is_custom = kind == "custom_tool_call"
    known = ("call_id", "name", "namespace", "input" if is_custom else "arguments", "extra_content", *_LABELS)
    note_lost(item, known, _INPUT, lost)
    arguments = arguments_of_input(text_in(item, "input", where)) if is_custom else text_in(item, "arguments", where)
    function = {"name": function_name(text_in(item, "name", where), item.get("namespace")), "arguments": arguments}
    extra = {"extra_content": item["extra_content"]} if item.get("extra_content") else {}
    return {"id": text_in(item, "call_id", where), "type": "function", "function": function, **extra}


def _other(item: JSON, kind: str, where: str, lost: set[str]) -> JSON:
    """Return an item that is not of the assistant, or that only this API has."""
    if kind in _RESULTS:
        note_lost(item, ("call_id", "output", "name", "namespace", *_LABELS), _INPUT, lost)
        content = plain_content(_parts(item.get("output"), f"{where}.output", lost))
        return {"role": "tool", "tool_call_id": text_in(item, "call_id", where), "content": content}
    if kind != "message" or item["role"] not in _ROLES:
        return {"role": "assistant", "content": [_only_here(kind)]}
    note_lost(item, ("role", "content", *_LABELS), _INPUT, lost)
    return {
        "role": _ROLES[item["role"]],
        "content": plain_content(_parts(item["content"], f"{where}.content", lost)),
    }


def _parts(content: object, where: str, lost: set[str]) -> list[JSON]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list) or not all(
        isinstance(part, dict) and isinstance(part.get("type"), str) for part in content
    ):
        raise invalid(f"{where} must be text or a list of parts with a type", where)
    return [_part(part, f"{where}[{index}]", lost) for index, part in enumerate(content)]


def _part(part: JSON, where: str, lost: set[str]) -> JSON:
    kind = part["type"]
    made: JSON
    known: tuple[str, ...]
    if kind in _TEXTS:
        made, known = {"type": "text", "text": text_in(part, "text", where)}, ("text", "logprobs")
    elif kind == "refusal":
        made, known = {"type": "refusal", "refusal": text_in(part, "refusal", where)}, ("refusal",)
    elif kind == "input_image" and not part.get("file_id"):
        detail = {"detail": part["detail"]} if part.get("detail") else {}
        image = {"url": text_in(part, "image_url", where), **detail}
        made, known = {"type": "image_url", "image_url": image}, ("image_url", "detail")
    elif kind == "input_file" and isinstance(part.get("file_data"), str):
        file = {name: part[name] for name in ("file_data", "filename") if part.get(name)}
        made, known = {"type": "file", "file": file}, ("file_data", "filename")
    elif kind == "input_audio":
        made, known = {"type": "input_audio", "input_audio": part.get("input_audio")}, ("input_audio",)
    else:
        return _only_here(kind)  # files by id or URL among them
    note_lost(part, ("type", _MARK, *known), _CONTENT, lost)
    return _marked(made, part, lost)


def _marked(made: JSON, part: JSON, lost: set[str]) -> JSON:
    """Return a part with its mark of a cache breakpoint in the form of a chat, which has no such times to live."""
    if not isinstance(mark := part.get(_MARK), dict):
        return made
    note_lost(mark, ("mode",), f"{_CONTENT}.{_MARK}", lost)
    return {**made, "cache_control": {"type": "ephemeral"}}


def _only_here(kind: object) -> JSON:
    return {"type": f"openai_{kind}"}
