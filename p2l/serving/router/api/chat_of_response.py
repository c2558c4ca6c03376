"""View a request of the Responses API as a chat: selection reads it, and providers of other APIs get it."""

from p2l.serving.http.api_error import invalid
from p2l.serving.router.api.chat_of_items import chat_messages
from p2l.serving.router.api.chat_view import ChatView, note_lost, object_in, objects_in, text_in
from p2l.serving.router.api.response_tools import function_name, functions_of
from p2l.serving.router.chat_request import JSON

SEALED_THOUGHTS = "reasoning.encrypted_content"
"""Value of ``include`` that asks for thoughts which the client can send back."""

_LOGPROBS = "message.output_text.logprobs"
# the same in both APIs, or the router's own
_SHARED = (
    *("model", "cost", "direct_model", "stream", "temperature", "top_p", "top_logprobs"),
    *("user", "safety_identifier", "service_tier"),
    *("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"),
)
_TRANSLATED = (
    *("input", "instructions", "max_output_tokens", "text", "reasoning", "include", "stream_options"),
    *("tools", "tool_choice", "parallel_tool_calls"),
)
_OF_ONE_PROVIDER = ("previous_response_id",)  # a model that is asked in this API answers, or none
_WORDS = ("auto", "none", "required")


def view_as_chat(body: JSON, items: list[JSON]) -> ChatView:
    """Return the request as a chat; ApiError 400 for a field that is wrong.

    Args:
        body: of the request.
        items: its input; messages among them have a role and content.
    """
    lost: set[str] = set()
    out: JSON = {name: body[name] for name in _SHARED if body.get(name) is not None}
    out["messages"] = [*_instructions(body), *chat_messages(items, lost)]
    tools = functions_of(objects_in(body, "tools"), lost)
    for fields in (_choice(body, tools, lost), _text(body, lost), _reasoning(body, lost), _include(body, lost)):
        out |= fields
    if (limit := body.get("max_output_tokens")) is not None:
        if type(limit) is not int or limit < 1:
            raise invalid("max_output_tokens must be a whole number of 1 or more", "max_output_tokens")
        out["max_tokens"] = limit
    note_lost(body, (*_SHARED, *_TRANSLATED, *_OF_ONE_PROVIDER), "", lost)
    note_lost(object_in(body, "stream_options"), (), "stream_options", lost)
    return ChatView(out, frozenset(lost))


def _instructions(body: JSON) -> list[JSON]:
    given = body.get("instructions")
    if given is not None and not isinstance(given, str):
        raise invalid("instructions must be text", "instructions")
    return [{"role": "system", "content": given}] if given else []


def _choice(body: JSON, tools: list[JSON], lost: set[str]) -> JSON:
    """Return the tools and the choice among them, which a chat has only together.

    Tools that are not allowed are left out.
    """
    given = body.get("tool_choice")
    if not tools:
        lost |= {"tool_choice"} if given not in (None, "auto", "none") else set()
        return {}
    parallel = body.get("parallel_tool_calls")
    out: JSON = {"tools": tools, **({"parallel_tool_calls": parallel} if parallel is not None else {})}
    if given is None:
        return out
    if isinstance(given, str) and given in _WORDS:
        return {**out, "tool_choice": given}
    if not isinstance(given, dict):
        raise invalid(f"tool_choice must be an object, or one of {', '.join(_WORDS)}", "tool_choice")
    return {**out, **_chosen(given, tools, lost)}


def _chosen(given: JSON, tools: list[JSON], lost: set[str]) -> JSON:
    kind = given.get("type")
    if kind in ("function", "custom"):
        note_lost(given, ("type", "name", "namespace"), "tool_choice", lost)
        name = function_name(text_in(given, "name", "tool_choice"), given.get("namespace"))
        return {"tool_choice": {"type": "function", "function": {"name": name}}}
    if kind != "allowed_tools":
        return {"tools": [*tools, _only_here(kind)]}
    note_lost(given, ("type", "mode", "tools"), "tool_choice", lost)
    allowed = objects_in(given, "tools")
    kept = [tool for tool in tools if any(_allows(one, tool) for one in allowed)]
    return {"tools": kept, "tool_choice": "required" if given.get("mode") == "required" else "auto"}


def _allows(allowed: JSON, tool: JSON) -> bool:
    """Return whether an entry of the allowed tools means this tool of the chat: by its name, namespace or type."""
    kind, name = allowed.get("type"), str(allowed.get("name"))
    called = tool.get("function", {}).get("name")
    if kind in ("function", "custom"):
        return called == function_name(name, allowed.get("namespace"))
    return str(called).startswith(function_name("", name)) if kind == "namespace" else tool == _only_here(kind)


def _text(body: JSON, lost: set[str]) -> JSON:
    """Return the structure and the length of text that the client asks for."""
    text = object_in(body, "text")
    note_lost(text, ("format", "verbosity"), "text", lost)
    out: JSON = {"verbosity": text["verbosity"]} if text.get("verbosity") else {}
    wanted = object_in(text, "format")
    if wanted.get("type") in (None, "text"):
        return out
    if wanted["type"] != "json_schema":
        return {**out, "response_format": wanted}
    note_lost(wanted, ("type", "name", "description", "schema", "strict"), "text.format", lost)
    if not isinstance(wanted.get("schema"), dict):
        raise invalid("text.format.schema must be an object", "text.format.schema")
    described = {name: value for name, value in wanted.items() if name != "type" and value is not None}
    return {**out, "response_format": {"type": "json_schema", "json_schema": {"name": "answer", **described}}}


def _reasoning(body: JSON, lost: set[str]) -> JSON:
    reasoning = object_in(body, "reasoning")
    note_lost(reasoning, ("effort", "summary", "generate_summary"), "reasoning", lost)
    for name in ("summary", "generate_summary"):  # how long a summary is, is up to the provider
        if reasoning.get(name) not in (None, "auto"):
            lost.add(f"reasoning.{name}")
    return {"reasoning_effort": reasoning["effort"]} if reasoning.get("effort") else {}


def _include(body: JSON, lost: set[str]) -> JSON:
    given = body.get("include") or []
    if not isinstance(given, list):
        raise invalid("include must be a list of texts", "include")
    if any(name not in (_LOGPROBS, SEALED_THOUGHTS) for name in given):
        lost.add("include")
    return {"logprobs": True} if _LOGPROBS in given or body.get("top_logprobs") else {}


def _only_here(kind: object) -> JSON:
    return {"type": f"openai_{kind}"}
