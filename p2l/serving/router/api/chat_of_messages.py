"""View a request of Anthropic's Messages API as a chat: selection reads it, and providers of other APIs get it."""

from p2l.serving.http.api_error import invalid
from p2l.serving.router.api.chat_of_blocks import blocks_in, chat_messages, checked_messages, text_part
from p2l.serving.router.api.chat_view import (
    ChatView,
    is_closed_schema,
    note_lost,
    object_in,
    objects_in,
    plain_content,
    text_in,
)
from p2l.serving.router.chat_request import JSON

# the same in both APIs, or the router's own
_SHARED = ("model", "cost", "direct_model", "stream", "max_tokens", "temperature", "top_p", "top_k")
_TRANSLATED = (
    *("messages", "system", "stop_sequences", "metadata", "service_tier"),
    *("tools", "tool_choice", "thinking", "output_config"),
)
# without them the answer would be to another question, so no provider of another API may answer
_ONLY_HERE = ("mcp_servers", "container")
_TIERS = {"auto": "auto", "standard_only": "default"}
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_EFFORTS = ("low", "medium", "high")
_MORE_EFFORT = ("xhigh", "max")  # which not every vendor has
_MEDIUM_BUDGET, _HIGH_BUDGET = 4096, 16384  # thinking tokens


def view_as_chat(body: JSON) -> ChatView:
    """Return the request as a chat; ApiError 400 for a field that is wrong."""
    lost: set[str] = set()
    messages = [
        made
        for index, message in enumerate(checked_messages(body.get("messages")))
        for made in chat_messages(message, f"messages[{index}]", lost)
    ]
    out: JSON = {name: body[name] for name in _SHARED if body.get(name) is not None}
    out["messages"] = [*_system(body.get("system"), lost), *messages]
    for fields in (_tools(body, lost), _choice(body, lost), _metadata(body, lost), _output(body, lost)):
        out |= fields
    if stops := body.get("stop_sequences"):
        if not isinstance(stops, list) or not all(isinstance(stop, str) for stop in stops):
            raise invalid("stop_sequences must be a list of texts", "stop_sequences")
        out["stop"] = stops
    if tier := body.get("service_tier"):
        out["service_tier"] = _TIERS.get(str(tier), tier)
    known = (*_SHARED, *_TRANSLATED, *_ONLY_HERE)
    note_lost(body, known, "", lost)
    return ChatView(out, frozenset(lost))


def _system(given: object, lost: set[str]) -> list[JSON]:
    if given in (None, "", []):
        return []
    if isinstance(given, str):
        return [{"role": "system", "content": given}]
    parts = [text_part(block, f"system[{i}]", lost) for i, block in enumerate(blocks_in(given, "system"))]
    return [{"role": "system", "content": plain_content(parts)}]


def _tools(body: JSON, lost: set[str]) -> JSON:
    tools = [_tool(tool, f"tools[{index}]", lost) for index, tool in enumerate(objects_in(body, "tools"))]
    tools += [{"type": f"anthropic_{name}"} for name in _ONLY_HERE if body.get(name)]
    return {"tools": tools} if tools else {}


def _tool(tool: JSON, where: str, lost: set[str]) -> JSON:
    """Return a tool of the client as a function; one that Anthropic runs or defines keeps its type."""
    if tool.get("type") not in (None, "custom"):
        return {"type": f"anthropic_{tool['type']}"}
    note_lost(tool, ("type", "name", "description", "input_schema", "strict", "cache_control"), "tools", lost)
    if not isinstance(schema := tool.get("input_schema"), dict):
        raise invalid(f"{where}.input_schema must be an object", f"{where}.input_schema")
    function: JSON = {"name": text_in(tool, "name", where), "parameters": schema}
    function |= {name: tool[name] for name in ("description", "strict") if tool.get(name)}
    cache = {"cache_control": tool["cache_control"]} if tool.get("cache_control") else {}
    return {"type": "function", "function": function, **cache}


def _choice(body: JSON, lost: set[str]) -> JSON:
    given = body.get("tool_choice")
    if given is None:
        return {}
    kind = given.get("type") if isinstance(given, dict) else None
    if kind not in (*_CHOICES, "tool"):
        raise invalid(f"tool_choice.type must be auto, any, tool or none; got {str(kind)[:64]!r}", "tool_choice")
    note_lost(given, ("type", "name", "disable_parallel_tool_use"), "tool_choice", lost)
    named = (
        {"type": "function", "function": {"name": text_in(given, "name", "tool_choice")}} if kind == "tool" else None
    )
    out: JSON = {"tool_choice": named or _CHOICES[kind]}
    return {**out, "parallel_tool_calls": False} if given.get("disable_parallel_tool_use") else out


def _metadata(body: JSON, lost: set[str]) -> JSON:
    metadata = object_in(body, "metadata")
    note_lost(metadata, ("user_id",), "metadata", lost)
    return {"user": text_in(metadata, "user_id", "metadata")} if metadata.get("user_id") is not None else {}


def _output(body: JSON, lost: set[str]) -> JSON:
    """Return the effort and the structure that the client asks for."""
    config, thinking = object_in(body, "output_config"), object_in(body, "thinking")
    note_lost(config, ("effort", "format"), "output_config", lost)
    note_lost(thinking, ("type", "budget_tokens", "display"), "thinking", lost)
    effort = _effort(config, thinking, lost)
    out: JSON = {"reasoning_effort": effort} if effort else {}
    wanted = config.get("format")
    if wanted is None:
        return out
    if not isinstance(wanted, dict) or not isinstance(wanted.get("schema"), dict):
        raise invalid("output_config.format must be an object with a schema", "output_config")
    note_lost(wanted, ("type", "schema"), "output_config.format", lost)
    described = {"name": "answer", "schema": wanted["schema"], "strict": is_closed_schema(wanted["schema"])}
    return {**out, "response_format": {"type": "json_schema", "json_schema": described}}


def _effort(config: JSON, thinking: JSON, lost: set[str]) -> str | None:
    """Return the effort that OpenAI and Google have: the client's, else that of its thinking budget."""
    if effort := config.get("effort"):
        if effort not in _EFFORTS:
            lost.add("output_config.effort")
        return "high" if effort in _MORE_EFFORT else effort if effort in _EFFORTS else None
    if thinking.get("type") == "disabled":
        lost.add("thinking")  # other models that think do not all stop
    budget = thinking.get("budget_tokens")
    if thinking.get("type") != "enabled" or not isinstance(budget, int):
        return None
    return "low" if budget < _MEDIUM_BUDGET else "medium" if budget < _HIGH_BUDGET else "high"
