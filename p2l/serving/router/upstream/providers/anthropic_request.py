"""Requests to Anthropic's Messages API (https://docs.anthropic.com/en/api/messages), version 2023-06-01."""

from p2l.serving.http.api_error import invalid
from p2l.serving.router.chat_request import JSON, Thoughts
from p2l.serving.router.config.server_config import ModelConfig
from p2l.serving.router.token_estimates import max_output_tokens
from p2l.serving.router.upstream.providers.claude_content import translate_messages, translate_system
from p2l.serving.router.upstream.providers.claude_limits import fit_request, reasoning_fields
from p2l.serving.router.upstream.providers.claude_schema import fit_schema
from p2l.serving.router.upstream.providers.model_families import claude_has_structured_output
from p2l.serving.router.upstream.providers.openai_messages import (
    CALL_FIELDS,
    CHOICE_FIELDS,
    CONTENT_FIELDS,
    RESPONSE_FORMAT_FIELDS,
    chosen_function,
    first_set,
    function_tools,
    merge_tools,
    read_number,
    schema_of,
    split_system,
    stops_of,
    with_tool_calls,
    without_none,
)
from p2l.serving.router.upstream.providers.unknown_fields import Fields, unknown_fields
from p2l.serving.router.upstream.thoughts import call_ids
from p2l.serving.router.upstream.upstream_request import UpstreamRequest, url_of

BASE_URL = "https://api.anthropic.com"
VERSION = "2023-06-01"
MAX_TOKENS = 4096  # the API requires a limit; every model since Claude 3 allows this one

_MESSAGE: Fields = {
    "role": None,
    "content": {**CONTENT_FIELDS, "cache_control": None},
    "refusal": None,
    "tool_calls": {**CALL_FIELDS, "cache_control": None},
    "tool_call_id": None,
    "is_error": None,
    "thinking_blocks": None,
    "cache_control": None,
}
_FUNCTION: Fields = {"name": None, "description": None, "parameters": None, "cache_control": None}
_FIELDS: Fields = {
    **dict.fromkeys(("temperature", "top_p", "top_k", "max_tokens", "max_completion_tokens", "stop")),
    **dict.fromkeys(("reasoning_effort", "thinking")),
    "response_format": RESPONSE_FORMAT_FIELDS,
}
_TIERS = {"auto": "auto", "default": "standard_only", "standard_only": "standard_only"}


def build_request(
    model: ModelConfig, body: JSON, stream: bool, want_usage: bool, thoughts: Thoughts | None = None
) -> UpstreamRequest:
    """Translate a chat request. Streams of this API always end with their usage."""
    extra, thoughts = model.extra_fields or {}, thoughts or {}
    history = with_tool_calls(body["messages"])
    text, messages = split_system(history, model.system_prompt)
    reasoning, has_reasoning = reasoning_fields(
        model.name, body.get("reasoning_effort"), body.get("thinking"), extra.get("thinking")
    )
    (structure, moved), (sampling, scaled), (_, user) = _format(model, body), _sampling(model, body), _user(body)
    limit = first_set(max_output_tokens(body), model.max_tokens)
    config = {**(extra.get("output_config") or {}), **reasoning.pop("output_config", {}), **structure}
    out = without_none({name: value for name, value in extra.items() if name not in ("thinking", "stream")})
    out |= without_none(
        {
            "model": model.name,
            "messages": translate_messages(messages, model.name, thoughts),
            "system": translate_system(body["messages"], text),
            "max_tokens": first_set(limit, extra.get("max_tokens"), MAX_TOKENS),
            **sampling,
            "stop_sequences": stops_of(body) or None,
            "metadata": {"user_id": user} if user else extra.get("metadata"),
            "service_tier": _TIERS.get(str(body.get("service_tier"))) or extra.get("service_tier"),
            "stream": True if stream else None,
            "output_config": config or None,
            **reasoning,
            **_tools(model, body),
        }
    )
    default_limit = MAX_TOKENS if limit is None and "max_tokens" not in extra else None
    gone = [*fit_request(out, default_limit), *moved, *scaled, *([] if has_reasoning else ["reasoning_effort"])]
    gone += ["messages.thinking_blocks"] if _sends_foreign_thoughts(model, messages, thoughts) else []
    unknown = unknown_fields({**body, "messages": history}, _known(model, body))
    return UpstreamRequest(endpoint(model), headers(model), out, tuple(sorted({*unknown, *gone})))


def endpoint(model: ModelConfig, path: str = "/v1/messages") -> str:
    return url_of(model.base_url or BASE_URL, path, "/v1")


def headers(model: ModelConfig) -> dict[str, str]:
    return {"anthropic-version": VERSION, **({"x-api-key": model.key} if model.key else {})}


def _known(model: ModelConfig, body: JSON) -> Fields:
    """Return the fields of the client that reach this model."""
    known: dict[str, Fields | None] = {**_FIELDS, **_user(body)[0], "messages": _MESSAGE}
    if body.get("tools"):
        strict = {"strict": None} if claude_has_structured_output(model.name) else {}
        known["tools"] = {"type": None, "function": {**_FUNCTION, **strict}, "cache_control": None}
        known |= {"tool_choice": CHOICE_FIELDS, "parallel_tool_calls": None}
    if str(body.get("service_tier")) in _TIERS:
        known["service_tier"] = None
    return known


def _sends_foreign_thoughts(model: ModelConfig, messages: list[JSON], thoughts: Thoughts) -> bool:
    """Return whether the client sends the thoughts of another model back, which this one cannot read."""
    sent = [message for message in messages if message.get("thinking_blocks")]
    return any(thoughts[call].model != model.name for call in call_ids(sent) if call in thoughts)


def _sampling(model: ModelConfig, body: JSON) -> tuple[JSON, list[str]]:
    """Return temperature, top_p and top_k, and the name of a temperature above this API's scale of 0 to 1."""
    configured = {"temperature": model.temp, "top_p": model.top_p, "top_k": model.top_k}
    asked = without_none({name: first_set(read_number(body, name), own) for name, own in configured.items()})
    if asked.get("temperature", 0) <= 1:
        return asked, []
    return {**asked, "temperature": 1}, ["temperature"]


def _user(body: JSON) -> tuple[Fields, str | None]:
    """Return the field that names the end user, and the name: the API has one of OpenAI's three."""
    metadata = body.get("metadata")
    own = metadata.get("user_id") if isinstance(metadata, dict) else None
    for known, value in (
        ({"user": None}, body.get("user")),
        ({"metadata": {"user_id": None}}, own),
        ({"safety_identifier": None}, body.get("safety_identifier")),
    ):
        if value:
            return known, str(value)
    return {}, None


def _format(model: ModelConfig, body: JSON) -> tuple[JSON, tuple[str, ...]]:
    """Return the ``output_config`` of a structured output, and the constraints that its schema lost."""
    wanted = body.get("response_format") or {}
    if wanted.get("type") in (None, "text"):
        return {}, ()
    if wanted["type"] != "json_schema" or not claude_has_structured_output(model.name):
        raise invalid(f"this model has no response_format {str(wanted['type'])[:64]!r}", "response_format")
    schema, moved = fit_schema(schema_of(wanted))
    return {"format": {"type": "json_schema", "schema": schema}}, moved


def _tools(model: ModelConfig, body: JSON) -> JSON:
    tools = [_tool(model, tool) for tool in function_tools(body)]
    merged = merge_tools((model.extra_fields or {}).get("tools"), tools)
    return {"tools": merged, **({"tool_choice": _tool_choice(body)} if tools else {})} if merged else {}


def _tool(model: ModelConfig, tool: JSON) -> JSON:
    function = tool["function"]
    return without_none(
        {
            "name": function["name"],
            "description": function.get("description"),
            "input_schema": function.get("parameters") or {"type": "object", "properties": {}},
            "strict": True if function.get("strict") and claude_has_structured_output(model.name) else None,
            "cache_control": first_set(tool.get("cache_control"), function.get("cache_control")),
        }
    )


def _tool_choice(body: JSON) -> JSON | None:
    wanted = body.get("tool_choice")
    name = chosen_function(wanted)
    if name is not None:
        choice: JSON = {"type": "tool", "name": name}
    else:
        choice = {"type": {"required": "any", "none": "none"}.get(str(wanted), "auto")}
    if body.get("parallel_tool_calls") is False and choice["type"] != "none":
        choice["disable_parallel_tool_use"] = True
    return choice if wanted is not None or len(choice) > 1 else None
