"""Custom tools of the Responses API, whose input is free text, as functions: no other vendor has them."""

from p2l.serving.http.api_error import invalid
from p2l.serving.http.json_text import dump_json
from p2l.serving.router.api.chat_view import note_lost, objects_in, text_in
from p2l.serving.router.chat_request import JSON
from p2l.serving.router.upstream.providers.openai_messages import json_value

_INPUT = "input"
_PARAMETERS: JSON = {
    "type": "object",
    "properties": {_INPUT: {"type": "string"}},
    "required": [_INPUT],
    "additionalProperties": False,
}
_KNOWN = ("type", "name", "description", "format")


def function_of(tool: JSON, where: str, lost: set[str]) -> JSON:
    """Return a custom tool as a function of one text; a grammar is told in its description, and not enforced."""
    note_lost(tool, _KNOWN, "tools", lost)
    description, wanted = tool.get("description") or "", tool.get("format") or {}
    if not isinstance(wanted, dict) or not isinstance(description, str):
        raise invalid(f"{where}: description must be text, and format an object", where)
    if wanted.get("type") not in (None, "text"):
        lost.add("tools.format")
        description += f"\n\nThe input follows this {wanted.get('syntax')} grammar:\n{wanted.get('definition')}"
    described = {"description": description.strip()} if description else {}
    return {"name": text_in(tool, "name", where), **described, "parameters": _PARAMETERS}


def custom_names(body: JSON) -> frozenset[str]:
    """Return the names of the custom tools of a request that was checked."""
    return frozenset(tool["name"] for tool in objects_in(body, "tools") if tool.get("type") == "custom")


def arguments_of_input(text: str) -> str:
    """Return the arguments of the function for the input of a custom tool."""
    return dump_json({_INPUT: text}).decode()


def input_of_arguments(arguments: str) -> str:
    """Return the input in the arguments of the function; the arguments as they are if they hold no such text."""
    found = json_value(arguments)
    text = found.get(_INPUT) if isinstance(found, dict) else None
    return text if isinstance(text, str) else arguments
