"""OpenAI's Responses API, at models that declare it: bodies and events pass through."""

from collections.abc import Iterator
from typing import Any

import orjson

from p2l.serving.router.chat_request import JSON
from p2l.serving.router.config.server_config import ModelConfig
from p2l.serving.router.upstream.providers import openai_chat
from p2l.serving.router.upstream.upstream_request import UpstreamRequest
from p2l.serving.router.upstream_error import UpstreamError, malformed

_ENDS = ("response.completed", "response.incomplete", "response.failed")


def build_request(model: ModelConfig, body: JSON, stream: bool, want_usage: bool) -> UpstreamRequest:
    """Return the client's body with the model's name; the configuration fills in what the client left out."""
    defaults: dict[str, Any] = {
        "temperature": model.temp,
        "top_p": model.top_p,
        "max_output_tokens": model.max_tokens,
        "instructions": model.system_prompt,
    }
    filled = {name: value for name, value in defaults.items() if value is not None and body.get(name) is None}
    out = {**(model.extra_fields or {}), **body, **filled, "model": model.name}
    return UpstreamRequest(openai_chat.base_url(model) + "/responses", openai_chat.headers(model), out)


def parse_completion(payload: JSON) -> JSON:
    """Check the fields of a response that the router reads."""
    if not isinstance(payload.get("id"), str) or not isinstance(payload.get("output"), list):
        raise malformed("a response without id or output")
    return payload


class StreamParser:
    """Yields events as ``{"type", "number", "data", "delta", "response"}``; ``data`` holds the bytes as received."""

    def __init__(self) -> None:
        self.finished = False
        self.ended = False

    def parse(self, data: bytes) -> Iterator[JSON]:
        if data == b"[DONE]":
            self.ended = True
            return
        try:
            event = orjson.loads(data)
        except orjson.JSONDecodeError:
            raise malformed("an event that is not JSON") from None
        kind = event.get("type") if isinstance(event, dict) else None
        if not isinstance(kind, str) or not kind.isprintable():
            raise malformed("an event without a type")
        if kind == "error":
            raise UpstreamError("stream_error", "the model reported an error in its stream")
        self.finished = self.ended = kind in _ENDS
        response = event.get("response")
        known = response if isinstance(response, dict) else {}
        number, delta = event.get("sequence_number"), event.get("delta")
        yield {"type": kind, "number": number, "data": data, "delta": delta, "response": known}
