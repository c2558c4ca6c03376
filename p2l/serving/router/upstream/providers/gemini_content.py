"""Translate the messages of a chat to the contents of Google's Gemini API, with the signatures behind their calls."""

from p2l.serving.http.api_error import invalid
from p2l.serving.router.chat_request import JSON, Thought, Thoughts
from p2l.serving.router.upstream.providers.model_families import gemini_checks_signatures
from p2l.serving.router.upstream.providers.openai_messages import (
    alternating,
    arguments_of,
    data_of,
    file_data,
    json_value,
    part_url,
    parts_of,
    text_of,
)

# documented for calls that another model made: https://ai.google.dev/gemini-api/docs/thought-signatures
FOREIGN_SIGNATURE = "skip_thought_signature_validator"


def translate_messages(messages: list[JSON], model: str, thoughts: Thoughts) -> list[JSON]:
    """Translate to messages of alternating roles; a tool result carries the name of the called function."""
    names = {_id(call, "id"): arguments_of(call)[0] for m in messages for call in m.get("tool_calls") or ()}
    roles = ("model" if message["role"] == "assistant" else "user" for message in messages)
    parts = (_result(m, names) if m["role"] == "tool" else _parts(m, model, thoughts) for m in messages)
    return alternating(zip(roles, parts), "parts")


def _id(given: JSON, name: str) -> str | None:
    value = given.get(name)
    if value is not None and not isinstance(value, str):
        raise invalid(f"{name} of a tool call must be text", "messages")
    return value


def _result(message: JSON, names: dict[str | None, str]) -> list[JSON]:
    name = names.get(_id(message, "tool_call_id")) or message.get("name")
    if name is None:
        raise invalid("a tool's result must follow the call whose tool_call_id it has", "messages")
    text = text_of(message)
    found = json_value(text, text)
    response = found if isinstance(found, dict) else {"result": found}
    response = {"error": found} if message.get("is_error") else response  # the key that Google documents for errors
    content = message.get("content")
    media = [_part(part) for part in content if part["type"] != "text"] if isinstance(content, list) else []
    return [{"functionResponse": {"name": name, "response": response}}, *media]


def _parts(message: JSON, model: str, thoughts: Thoughts) -> list[JSON]:
    parts = [_part(part) for part in parts_of(message)]
    calls = [_call(call, thoughts.get(str(call.get("id"))), model) for call in message.get("tool_calls") or ()]
    if calls and gemini_checks_signatures(model) and not any("thoughtSignature" in call for call in calls):
        calls[0]["thoughtSignature"] = FOREIGN_SIGNATURE  # parallel calls share the signature of the first
    return parts + calls


def _call(call: JSON, thought: Thought | None, model: str) -> JSON:
    name, arguments = arguments_of(call)
    part: JSON = {"functionCall": {"name": name, "args": arguments}}
    signature = _signature(call)
    if thought is not None:
        signature = thought.content.get("signature") if thought.model == model else None
    return {**part, "thoughtSignature": signature} if signature else part


def _signature(call: JSON) -> object:
    """Return the thought signature that the client sends back with a tool call."""
    extra = call.get("extra_content") or {}
    google = (extra.get("google") or {}) if isinstance(extra, dict) else None
    if not isinstance(google, dict):
        raise invalid("extra_content of a tool call must be an object, and so must google in it", "messages")
    return google.get("thought_signature")


def _part(part: JSON) -> JSON:
    if part["type"] in ("text", "refusal"):
        return {"text": part.get("text") or part.get("refusal") or ""}
    if part["type"] == "image_url":
        url = part_url(part)
        data = data_of(url)
        return {"fileData": {"fileUri": url}} if data is None else _inline(*data)
    if part["type"] == "file":
        return _inline(*file_data(part))
    if part["type"] == "input_audio":
        audio = part.get("input_audio")
        if not isinstance(audio, dict) or not isinstance(audio.get("data"), str):
            raise invalid("input_audio must hold data", "messages")
        return _inline(f"audio/{audio.get('format', 'wav')}", audio["data"])
    raise invalid(f"this model takes no part of type {part['type'][:64]!r}", "messages")


def _inline(mime: str, data: str) -> JSON:
    return {"inlineData": {"mimeType": mime, "data": data}}
