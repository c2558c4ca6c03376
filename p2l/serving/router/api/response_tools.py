"""Tools of the Responses API that the client runs, as functions of a chat, and the calls of these functions back.

Custom tools, whose input is free text, and namespaces of tools are OpenAI's alone.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from p2l.serving.http.api_error import invalid
from p2l.serving.http.json_text import dump_json
from p2l.serving.router.api.chat_view import is_closed_schema, note_lost, objects_in, text_in
from p2l.serving.router.chat_request import JSON
from p2l.serving.router.upstream.providers.openai_messages import json_value

_INPUT = "input"
_PARAMETERS: JSON = {
    "type": "object",
    "properties": {_INPUT: {"type": "string"}},
    "required": [_INPUT],
    "additionalProperties": False,
}


class ToolName(NamedTuple):
    """What the client calls a function of a chat."""

    name: str
    namespace: str | None = None
    is_custom: bool = False


def function_name(name: str, namespace: object) -> str:
    """Return the name of a tool's function, in the letters that every vendor takes."""
    return f"{namespace}__{name}" if namespace else name


def functions_of(tools: list[JSON], lost: set[str]) -> list[JSON]:
    """Return the tools of a chat; one that OpenAI runs or defines keeps a type of its own."""
    return [
        _only_here(tool)
        if tool.get("type") not in ("function", "custom")
        else {"type": "function", "function": _function(tool, namespace, where, lost)}
        for tool, namespace, where in _flat(tools, lost)
    ]


def tool_names(body: JSON) -> Mapping[str, ToolName]:
    """Return the client's names of the functions of a request that was checked."""
    found = {}
    for tool, namespace, _ in _flat(objects_in(body, "tools"), set()):
        if tool.get("type") in ("function", "custom"):
            inside = None if namespace is None else namespace["name"]
            name = ToolName(tool["name"], inside, tool["type"] == "custom")
            found[function_name(name.name, inside)] = name
    return found


def _flat(tools: list[JSON], lost: set[str]) -> Iterator[tuple[JSON, JSON | None, str]]:
    """Yield each tool, the namespace that it is in, and its path."""
    for index, tool in enumerate(tools):
        where = f"tools[{index}]"
        if tool.get("type") != "namespace":
            yield tool, None, where
            continue
        note_lost(tool, ("type", "name", "description", "tools"), "tools", lost)
        text_in(tool, "name", where)
        for place, inner in enumerate(objects_in(tool, "tools")):
            yield inner, tool, f"{where}.tools[{place}]"


def _function(tool: JSON, namespace: JSON | None, where: str, lost: set[str]) -> JSON:
    is_custom = tool["type"] == "custom"
    note_lost(
        tool, ("type", "name", "description", *(("format",) if is_custom else ("parameters", "strict"))), "tools", lost
    )
    inside = namespace or {}
    parts = [inside.get("description"), tool.get("description")]
    fields = {}
    if is_custom:
        parts.append(_grammar(tool, where, lost))
        fields["parameters"] = _PARAMETERS
    else:
        fields = _parameters(tool, where)
    if not all(isinstance(part, str | None) for part in parts):
        raise invalid(f"{where}.description must be text", f"{where}.description")
    description = "\n\n".join(part for part in parts if part)
    described = {"description": description} if description else {}
    return {"name": function_name(text_in(tool, "name", where), inside.get("name")), **described, **fields}


def _parameters(tool: JSON, where: str) -> JSON:
    schema, strict = tool.get("parameters"), tool.get("strict")
    if schema is not None and not isinstance(schema, dict):
        raise invalid(f"{where}.parameters must be an object", f"{where}.parameters")
    if strict is None:  # this API's default, as far as the schema allows
        strict = schema is not None and is_closed_schema(schema)
    fields = {"parameters": schema, "strict": strict or None}
    return {name: value for name, value in fields.items() if value is not None}


def _grammar(tool: JSON, where: str, lost: set[str]) -> str | None:
    """Return how a custom tool's input is described, since no other vendor enforces a grammar."""
    wanted = tool.get("format") or {}
    if not isinstance(wanted, dict):
        raise invalid(f"{where}.format must be an object", f"{where}.format")
    if wanted.get("type") in (None, "text"):
        return None
    lost.add("tools.format")
    return f"The input follows this {wanted.get('syntax')} grammar:\n{wanted.get('definition')}"


def _only_here(tool: JSON) -> JSON:
    return {"type": f"openai_{tool.get('type')}"}


def arguments_of_input(text: str) -> str:
    """Return the arguments of the function for the input of a custom tool."""
    return dump_json({_INPUT: text}).decode()


def input_of_arguments(arguments: str) -> str:
    """Return the input in the arguments of the function; the arguments as they are if they hold no such text."""
    found = json_value(arguments)
    text = found.get(_INPUT) if isinstance(found, dict) else None
    return text if isinstance(text, str) else arguments
