"""Requests to Google's Gemini API (https://ai.google.dev/api/generate-content), v1beta."""

from urllib.parse import quote

from p2l.serving.http.api_error import invalid
from p2l.serving.router.chat_request import JSON, Thoughts
from p2l.serving.router.config.server_config import ModelConfig
from p2l.serving.router.token_estimates import max_output_tokens, num_choices
from p2l.serving.router.upstream.providers.gemini_content import translate_messages
from p2l.serving.router.upstream.providers.model_families import gemini_thinking, gemini_version
from p2l.serving.router.upstream.providers.openai_messages import (
    CALL_FIELDS,
    CHOICE_FIELDS,
    CONTENT_FIELDS,
    RESPONSE_FORMAT_FIELDS,
    chosen_function,
    first_set,
    function_tools,
    schema_of,
    split_system,
    stops_of,
    with_tool_calls,
    without_none,
)
from p2l.serving.router.upstream.providers.unknown_fields import Fields, unknown_fields
from p2l.serving.router.upstream.upstream_request import UpstreamRequest, url_of

BASE_URL = "https://generativelanguage.googleapis.com"
MAX_TOKENS = 8192  # published default
# as published: Chatbot Arena judged the answers without a filter
SAFETY = [
    {"category": f"HARM_CATEGORY_{category}", "threshold": "BLOCK_NONE"}
    for category in ("HARASSMENT", "HATE_SPEECH", "SEXUALLY_EXPLICIT", "DANGEROUS_CONTENT")
]
_MESSAGE: Fields = {
    "role": None,
    "content": {**CONTENT_FIELDS, "file": {"file_data": None}, "input_audio": {"data": None, "format": None}},
    "refusal": None,
    "tool_calls": {**CALL_FIELDS, "extra_content": {"google": {"thought_signature": None}}},
    "tool_call_id": None,
    "is_error": None,
}
_FUNCTION: Fields = {"name": None, "description": None, "parameters": None}
_FIELDS: Fields = {
    **dict.fromkeys(("temperature", "top_p", "top_k", "max_tokens", "max_completion_tokens", "stop")),
    **dict.fromkeys(("seed", "presence_penalty", "frequency_penalty", "reasoning_effort")),
    "messages": _MESSAGE,
    "response_format": RESPONSE_FORMAT_FIELDS,
}
_TOOL_FIELDS: Fields = {"tools": {"type": None, "function": _FUNCTION}, "tool_choice": CHOICE_FIELDS}


def build_request(
    model: ModelConfig, body: JSON, stream: bool, want_usage: bool, thoughts: Thoughts | None = None
) -> UpstreamRequest:
    """Translate a chat request. Streams of this API always report their usage."""
    history = with_tool_calls(body["messages"])
    system, messages = split_system(history, model.system_prompt)
    generation, gone = _generation(model, body)
    out = without_none({"safetySettings": SAFETY, **(model.extra_fields or {})})
    out |= without_none(
        {
            "contents": translate_messages(messages, model.name, thoughts or {}),
            "systemInstruction": {"parts": [{"text": system}]} if system else None,
            "generationConfig": generation,
            **_tools(model, body),
        }
    )
    method = "streamGenerateContent?alt=sse" if stream else "generateContent"
    url = url_of(model.base_url or BASE_URL, f"/v1beta/models/{quote(model.name, safe='')}:{method}", "/v1beta")
    headers = {"x-goog-api-key": model.key} if model.key else {}
    known = {**_FIELDS, **(_TOOL_FIELDS if body.get("tools") else {})}
    unknown = unknown_fields({**body, "messages": history}, known)
    return UpstreamRequest(url, headers, out, tuple(sorted({*unknown, *gone})))


def _generation(model: ModelConfig, body: JSON) -> tuple[JSON, tuple[str, ...]]:
    """Return the ``generationConfig``, and the fields that the model does not have."""
    n = num_choices(body)
    configured = (model.extra_fields or {}).get("generationConfig") or {}
    thinking, budget = gemini_thinking(model.name, body.get("reasoning_effort"))
    limit = first_set(max_output_tokens(body), model.max_tokens, configured.get("maxOutputTokens"))
    asked = without_none(
        {
            "maxOutputTokens": first_set(limit, MAX_TOKENS + budget),
            "temperature": first_set(body.get("temperature"), model.temp),
            "topP": first_set(body.get("top_p"), model.top_p),
            "topK": first_set(body.get("top_k"), model.top_k),
            "stopSequences": stops_of(body) or None,
            "seed": body.get("seed"),
            "presencePenalty": body.get("presence_penalty"),
            "frequencyPenalty": body.get("frequency_penalty"),
            "candidateCount": n if n > 1 else None,
            "thinkingConfig": _with_configured(thinking, configured.get("thinkingConfig")),
            **_format(model, body),
        }
    )
    has_effort = thinking is not None or body.get("reasoning_effort") is None
    return {**configured, **asked}, () if has_effort else ("reasoning_effort",)


def _with_configured(thinking: JSON | None, configured: object) -> JSON | None:
    """Return the client's effort beside what is configured; level and budget exclude each other."""
    if thinking is None or not isinstance(configured, dict):
        return thinking
    return {k: v for k, v in configured.items() if k not in ("thinkingBudget", "thinkingLevel")} | thinking


def _format(model: ModelConfig, body: JSON) -> JSON:
    wanted = body.get("response_format") or {}
    if wanted.get("type") not in ("json_object", "json_schema"):
        return {}
    if body.get("tools") and (gemini_version(model.name) or (9, 0)) < (3, 0):
        raise invalid("this model has response_format or tools, not both in one request", "response_format")
    return {"responseMimeType": "application/json", "responseJsonSchema": schema_of(wanted)}


def _tools(model: ModelConfig, body: JSON) -> JSON:
    functions = [tool["function"] for tool in function_tools(body)]
    if not functions:
        return {}
    declared = [
        without_none(
            {"name": f["name"], "description": f.get("description"), "parametersJsonSchema": f.get("parameters")}
        )
        for f in functions
    ]
    configured = _without_functions((model.extra_fields or {}).get("tools"), {f["name"] for f in functions})
    tools: JSON = {"tools": [*configured, {"functionDeclarations": declared}]}
    wanted = body.get("tool_choice")
    name = chosen_function(wanted)
    if name is not None:
        calling: JSON = {"mode": "ANY", "allowedFunctionNames": [name]}
    else:
        calling = {"mode": {"required": "ANY", "none": "NONE"}.get(str(wanted), "AUTO")}
    return {**tools, "toolConfig": {"functionCallingConfig": calling}} if wanted is not None else tools


def _without_functions(configured: object, names: set[str]) -> list[JSON]:
    """Return the configured tools without the functions of these names, which the client declares itself."""
    kept = []
    for tool in configured if isinstance(configured, list) else ():
        declared = tool.get("functionDeclarations") if isinstance(tool, dict) else None
        if isinstance(declared, list):
            others = [function for function in declared if function.get("name") not in names]
            tool = {**tool, "functionDeclarations": others or None}
        kept.append(without_none(tool) if isinstance(tool, dict) else tool)
    return [tool for tool in kept if tool]
