"""Fit a JSON schema to Anthropic's structured outputs, which know a part of JSON Schema.

Source: https://platform.claude.com/docs/en/build-with-claude/structured-outputs (JSON Schema limitations).
"""

from typing import Any

from p2l.serving.http.api_error import invalid
from p2l.serving.router.chat_request import JSON

# constraints that the API refuses; the vendor's SDKs move them to the description, and so does this
_CONSTRAINTS = frozenset(
    (
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
        *("minLength", "maxLength", "pattern", "maxItems", "uniqueItems", "minProperties", "maxProperties"),
    )
)
_MOST_MIN_ITEMS = 1
_SCHEMAS_BY_NAME = ("properties", "$defs", "definitions")
_LISTS_OF_SCHEMAS = ("anyOf", "oneOf", "allOf")


def fit_schema(schema: object) -> tuple[JSON, tuple[str, ...]]:
    """Return the schema in the API's subset, and the constraints that only its descriptions still name.

    Raises ApiError 400 for objects with free keys, which the API cannot express.
    """
    if not isinstance(schema, dict):
        raise invalid("response_format.json_schema.schema must be an object", "response_format")
    moved: list[str] = []
    return _fit(schema, moved), tuple(dict.fromkeys(moved))


def _fit(schema: JSON, moved: list[str]) -> JSON:
    described = {name: schema[name] for name in schema if _is_refused(name, schema[name])}
    moved.extend(f"response_format.json_schema.schema.{name}" for name in described)
    out = {name: _inner(name, value, moved) for name, value in schema.items() if name not in described}
    if described:
        text = ", ".join(f"{name}: {value}" for name, value in described.items())
        out["description"] = f"{schema['description']} ({text})" if schema.get("description") else text
    if schema.get("type") == "object" or "properties" in schema:
        if schema.get("additionalProperties") or not schema.get("properties"):
            raise invalid("this model's structured outputs need an object with fixed properties", "response_format")
        out["additionalProperties"] = False
    return out


def _is_refused(name: str, value: Any) -> bool:
    return name in _CONSTRAINTS or (name == "minItems" and value not in range(_MOST_MIN_ITEMS + 1))


def _inner(name: str, value: Any, moved: list[str]) -> Any:
    if name in _SCHEMAS_BY_NAME and isinstance(value, dict):
        return {key: _fit_any(inner, moved) for key, inner in value.items()}
    if name in _LISTS_OF_SCHEMAS and isinstance(value, list):
        return [_fit_any(inner, moved) for inner in value]
    return _fit_any(value, moved) if name == "items" else value


def _fit_any(value: Any, moved: list[str]) -> Any:
    return _fit(value, moved) if isinstance(value, dict) else value
