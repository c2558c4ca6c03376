"""The OpenAPI document, written by hand: it describes the fields that the router reads; all others pass through.

Schemas generated from pydantic models would need as many lines, and parsing with them would copy every conversation.
"""

from typing import Any

from p2l import __version__

JSON = dict[str, Any]

_ERROR: JSON = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
_ANTHROPIC_ERROR: JSON = {
    "type": "object",
    "required": ["type", "error"],
    "properties": {
        "type": {"const": "error"},
        "error": {
            "type": "object",
            "required": ["type", "message"],
            "properties": {"type": {"type": "string"}, "message": {"type": "string"}},
        },
    },
}
_MESSAGE: JSON = {
    "type": "object",
    "required": ["role"],
    "properties": {
        "role": {"type": "string", "enum": ["system", "developer", "user", "assistant", "tool"]},
        "content": {
            "anyOf": [
                {"type": "string"},
                {"type": "null"},
                {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["type", "text"],
                        "properties": {"type": {"const": "text"}, "text": {"type": "string"}},
                    },
                },
            ]
        },
    },
}
_CHAT: JSON = {
    "type": "object",
    "required": ["messages"],
    "properties": {
        "model": {"type": "string", "description": "a configured model answers itself; any other name is routed"},
        "messages": {"type": "array", "minItems": 1, "items": _MESSAGE},
        "cost": {"type": ["number", "null"], "minimum": 0, "description": "the budget"},
        "direct_model": {"type": ["string", "null"], "description": "a configured model, without routing"},
        "stream": {"type": ["boolean", "null"]},
        "temperature": {"type": ["number", "null"], "minimum": 0, "maximum": 2},
        "max_tokens": {"type": ["integer", "null"], "minimum": 1},
    },
    "example": {"model": "-", "messages": [{"role": "user", "content": "what's 828913*1234?"}], "cost": 2.5},
}
_ID: JSON = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
_RESPONSE: JSON = {
    "type": "object",
    "required": ["input"],
    "properties": {
        "model": {"type": "string"},
        "input": {
            "anyOf": [
                {"type": "string"},
                {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "properties": {
                            "type": {"enum": ["message", "function_call", "function_call_output", "reasoning"]},
                            "role": {"enum": ["user", "assistant", "system", "developer"]},
                            "content": {"type": "string"},
                            "call_id": {"type": "string"},
                            "name": {"type": "string"},
                            "arguments": {"type": "string"},
                            "output": {"type": "string"},
                        },
                    },
                },
            ]
        },
        "instructions": {"type": ["string", "null"]},
        "tools": {"type": "array", "items": {"type": "object", "properties": {"type": {"type": "string"}}}},
        "reasoning": {"type": ["object", "null"]},
        "text": {"type": ["object", "null"], "properties": {"format": {"type": "object"}}},
        "max_output_tokens": {"type": ["integer", "null"], "minimum": 1},
        "previous_response_id": {"type": ["string", "null"], "description": "leads to the model that made it"},
        "cost": {"type": ["number", "null"], "minimum": 0, "description": "the budget"},
        "stream": {"type": ["boolean", "null"]},
    },
    "example": {"model": "-", "input": "what's 828913*1234?", "cost": 2.5},
}
_TEXT: JSON = {
    "type": "object",
    "required": ["prompt"],
    "properties": {
        "model": {"type": "string"},
        "prompt": {"type": "string"},
        "cost": {"type": ["number", "null"], "minimum": 0, "description": "the budget"},
        "stream": {"type": ["boolean", "null"]},
        "max_tokens": {"type": ["integer", "null"], "minimum": 1},
    },
    "example": {"model": "-", "prompt": "what's 828913*1234?", "cost": 2.5},
}
_CONTENT: JSON = {
    "anyOf": [
        {"type": "string"},
        {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["type", "text"],
                "properties": {"type": {"const": "text"}, "text": {"type": "string"}},
            },
        },
    ]
}
_COUNTED: JSON = {
    "type": "object",
    "required": ["messages"],
    "properties": {
        "model": {"type": "string"},
        "messages": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["role", "content"],
                "properties": {"role": {"enum": ["user", "assistant"]}, "content": _CONTENT},
            },
        },
        "system": _CONTENT,
        "cost": {"type": ["number", "null"], "minimum": 0, "description": "the budget"},
    },
    "example": {"model": "-", "messages": [{"role": "user", "content": "what's 828913*1234?"}], "cost": 2.5},
}
_ANTHROPIC: JSON = {
    **_COUNTED,
    "required": ["messages", "max_tokens"],
    "properties": {
        **_COUNTED["properties"],
        "max_tokens": {"type": "integer", "minimum": 1},
        "stream": {"type": ["boolean", "null"]},
    },
    "example": {**_COUNTED["example"], "max_tokens": 1000},
}
_VOTE: JSON = {
    "type": "object",
    "required": ["decision"],
    "properties": {
        "decision": {"type": "string", "minLength": 1},
        "other_decision": {"type": "string", "minLength": 1},
        "model_b": {"type": "string", "minLength": 1},
        "winner": {"enum": ["model_a", "model_b", "tie", "tie (bothbad)"]},
        "rating": {"type": "number", "minimum": -1, "maximum": 1},
        "prompt": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
    },
    "example": {"decision": "0f3b", "other_decision": "91c2", "winner": "model_a"},
}
_EMBED: JSON = {
    "type": "object",
    "required": ["model", "input"],
    "properties": {"model": {"type": "string"}, "input": {"type": "string"}},
}


def document() -> JSON:
    """Return the document of all routes."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "P2L router", "version": __version__},
        "paths": {
            "/v1/chat/completions": {"post": _post("Answer by the best model within the budget", _CHAT)},
            "/v1/responses": {"post": _post("OpenAI's Responses API", _RESPONSE)},
            "/v1/responses/{id}": {
                "get": _get("A response that its provider keeps"),
                "delete": _get("Delete it"),
                "parameters": [_ID],
            },
            "/v1/responses/{id}/input_items": {"get": _get("Its input items"), "parameters": [_ID]},
            "/v1/completions": {"post": _post("Complete a text, for old clients", _TEXT)},
            "/v1/messages": {"post": _post("Anthropic's Messages API", _ANTHROPIC, error=_ANTHROPIC_ERROR)},
            "/v1/messages/count_tokens": {
                "post": _post("The tokens of a prompt, at models of Anthropic", _COUNTED, error=_ANTHROPIC_ERROR)
            },
            "/v1/route": {"post": _post("The decision alone", _CHAT)},
            "/v1/embeddings": {"post": _post("Pass through to an embedding model", _EMBED)},
            "/v1/feedback": {"post": _post("Vote on decisions", _VOTE, "201")},
            "/v1/models": {"get": _get("The router's names and the models")},
            "/health": {"get": _get("Alive", keyless=True)},
            "/ready": {"get": _get("Able to score prompts", keyless=True)},
        },
        "components": {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
    }


def _post(summary: str, schema: JSON, success: str = "200", error: JSON = _ERROR) -> JSON:
    body = {"required": True, "content": {"application/json": {"schema": schema}}}
    return {**_get(summary, success=success, error=error), "requestBody": body}


def _get(summary: str, *, keyless: bool = False, success: str = "200", error: JSON = _ERROR) -> JSON:
    failed = {"description": "An error", "content": {"application/json": {"schema": error}}}
    answer = {"description": summary, "content": {"application/json": {"schema": {"type": "object"}}}}
    return {
        "summary": summary,
        "security": [] if keyless else [{"key": []}],
        "responses": {success: answer, "default": failed},
    }
