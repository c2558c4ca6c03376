"""Requests to Google's Gemini API (https://ai.google.dev/api/generate-content), v1beta."""

from urllib.parse import quote

import orjson

from p2l.serving.http.api_error import invalid
from p2l.serving.router.chat_request import JSON
from p2l.serving.router.config.server_config import ModelConfig
from p2l.serving.router.token_estimates import max_output_tokens
from p2l.serving.router.upstream.providers.openai_messages import (
    alternating,
    arguments_of,
    chosen_function,
    data_of,
    dropped,
    file_data,
    first_set,
    functions_of,
    part_url,
    parts_of,
    split_system,
    stops_of,
    text_of,
    without_none,
)
from p2l.serving.router.upstream.upstream_request import UpstreamRequest

BASE_URL = "https://generativelanguage.googleapis.com"
MAX_TOKENS = 8192  # published default
# as published: Chatbot Arena judged the answers without a filter
SAFETY = [
    {"category": f"HARM_CATEGORY_{category}", "threshold": "BLOCK_NONE"}
    for category in ("HARASSMENT", "HATE_SPEECH", "SEXUALLY_EXPLICIT", "DANGEROUS_CONTENT")
]
_KNOWN = [
    "temperature",
    "top_p",
    "top_k",
    "max_tokens",
    "max_completion_tokens",
    "stop",
    "tools",
    "tool_choice",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "response_format",
]


def build_request(model: ModelConfig, body: JSON, stream: bool, want_usage: bool) -> UpstreamRequest:
    """Translate a chat request. Streams of this API always report their usage."""
    system, messages = split_system(body["messages"], model.system_prompt)
    out = without_none(
        {
            "safetySettings": SAFETY,
            **(model.extra_fields or {}),
            "contents": _contents(messages),
            "systemInstruction": {"parts": [{"text": system}]} if system else None,
            "generationConfig": _generation(model, body),
            **_tools(body),
        }
    )
    base = (model.base_url or BASE_URL).rstrip("/").removesuffix("/v1beta")
    method = "streamGenerateContent?alt=sse" if stream else "generateContent"
    headers = {"x-goog-api-key": model.key} if model.key else {}
    return UpstreamRequest(
        f"{base}/v1beta/models/{quote(model.name, safe='')}:{method}", headers, out, dropped(body, _KNOWN)
    )


def _generation(model: ModelConfig, body: JSON) -> JSON:
    n = body.get("n") or 1
    configured = (model.extra_fields or {}).get("generationConfig") or {}
    most = first_set(max_output_tokens(body), model.max_tokens, configured.get("maxOutputTokens"), MAX_TOKENS)
    asked = without_none(
        {
            "maxOutputTokens": most,
            "temperature": first_set(body.get("temperature"), model.temp),
            "topP": first_set(body.get("top_p"), model.top_p),
            "topK": first_set(body.get("top_k"), model.top_k),
            "stopSequences": stops_of(body) or None,
            "seed": body.get("seed"),
            "presencePenalty": body.get("presence_penalty"),
            "frequencyPenalty": body.get("frequency_penalty"),
            "candidateCount": n if n > 1 else None,
            **_format(body.get("response_format") or {}),
        }
    )
    return {**configured, **asked}


def _format(wanted: JSON) -> JSON:
    if wanted.get("type") not in ("json_object", "json_schema"):
        return {}
    described = wanted.get("json_schema")
    schema = described.get("schema") if isinstance(described, dict) else None
    return {"responseMimeType": "application/json", "responseJsonSchema": schema}


def _contents(messages: list[JSON]) -> list[JSON]:
    """Translate to messages of alternating roles; a tool result carries the name of the called function."""
    names = {_id(call, "id"): arguments_of(call)[0] for m in messages for call in m.get("tool_calls") or ()}
    roles = ("model" if message["role"] == "assistant" else "user" for message in messages)
    parts = (_result(message, names) if message["role"] == "tool" else _parts(message) for message in messages)
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
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        found = text
    return [{"functionResponse": {"name": name, "response": found if isinstance(found, dict) else {"result": found}}}]


def _parts(message: JSON) -> list[JSON]:
    parts = [_part(part) for part in parts_of(message)]
    for call in message.get("tool_calls") or ():
        name, arguments = arguments_of(call)
        function_call: JSON = {"functionCall": {"name": name, "args": arguments}}
        signature = _signature(call)
        parts.append({**function_call, "thoughtSignature": signature} if signature else function_call)
    return parts


def _signature(call: JSON) -> object:
    """Return the thought signature of a tool call, which later models require back."""
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


def _tools(body: JSON) -> JSON:
    functions = functions_of(body)
    if not functions:
        return {}
    declared = [
        without_none(
            {"name": f["name"], "description": f.get("description"), "parametersJsonSchema": f.get("parameters")}
        )
        for f in functions
    ]
    tools: JSON = {"tools": [{"functionDeclarations": declared}]}
    wanted = body.get("tool_choice")
    name = chosen_function(wanted)
    if name is not None:
        calling: JSON = {"mode": "ANY", "allowedFunctionNames": [name]}
    else:
        calling = {"mode": {"required": "ANY", "none": "NONE"}.get(str(wanted), "AUTO")}
    return {**tools, "toolConfig": {"functionCallingConfig": calling}} if wanted is not None else tools
