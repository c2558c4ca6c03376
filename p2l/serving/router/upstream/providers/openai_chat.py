"""OpenAI's chat completions: fields pass through; the configuration fills in what the client left out."""

import os
from collections.abc import Iterator
from typing import Any

import orjson

from p2l.serving.router.chat_request import JSON
from p2l.serving.router.config.server_config import ModelConfig
from p2l.serving.router.upstream.providers.openai_messages import first_set
from p2l.serving.router.upstream.upstream_request import UpstreamRequest
from p2l.serving.router.upstream_error import UpstreamError, malformed

BASE_URL = "https://api.openai.com/v1"
# reasoning models reject these
_NOT_FOR_REASONING = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs")


def build_request(model: ModelConfig, body: JSON, stream: bool, want_usage: bool) -> UpstreamRequest:
    """Return the request. ``want_usage`` asks a stream for its usage even if the client did not."""
    out, dropped = _body(model, body)
    if stream:
        out["stream"] = True
        if want_usage:
            out["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
    else:
        out.pop("stream", None)
        out.pop("stream_options", None)
    return UpstreamRequest(base_url(model) + "/chat/completions", headers(model), out, dropped)


def base_url(model: ModelConfig) -> str:
    return (model.base_url or os.environ.get("OPENAI_BASE_URL") or BASE_URL).rstrip("/")


def headers(model: ModelConfig) -> dict[str, str]:
    return {"authorization": f"Bearer {model.key}"} if model.key else {}


def _body(model: ModelConfig, body: JSON) -> tuple[JSON, tuple[str, ...]]:
    out = {**(model.extra_fields or {}), **body, "model": model.name}
    out["messages"] = with_system(model, body["messages"])
    if model.type == "openai":
        return {**out, **_defaults(model, body)}, ()
    dropped = tuple(name for name in _NOT_FOR_REASONING if out.get(name) is not None)
    for name in _NOT_FOR_REASONING:
        out.pop(name, None)
    most = first_set(out.get("max_completion_tokens"), out.pop("max_tokens", None), model.max_tokens)
    if most is not None:  # the field's name for reasoning models
        out["max_completion_tokens"] = most
    return out, dropped


def _defaults(model: ModelConfig, body: JSON) -> JSON:
    values: dict[str, Any] = {"temperature": model.temp, "top_p": model.top_p}
    if body.get("max_tokens") is None and body.get("max_completion_tokens") is None:
        values["max_tokens"] = model.max_tokens
    return {name: value for name, value in values.items() if value is not None and body.get(name) is None}


def with_system(model: ModelConfig, messages: list[JSON]) -> list[JSON]:
    """Put the configured system prompt first, unless the client's messages start with one."""
    if model.system_prompt is None or messages[0]["role"] in ("system", "developer"):
        return messages
    return [{"role": "system", "content": model.system_prompt}, *messages]


def parse_completion(payload: JSON) -> JSON:
    """Check the parts of a chat completion that the router adds to."""
    choices = payload.get("choices")
    if not isinstance(choices, list) or not all(
        isinstance(choice, dict) and isinstance(choice.get("message"), dict) for choice in choices
    ):
        raise malformed("an answer without choices")
    return payload


class StreamParser:
    """Passes chunks through. [DONE] finishes a stream, or a finish reason if the server sends no [DONE]."""

    def __init__(self) -> None:
        self.finished = False
        self.ended = False

    def parse(self, data: bytes) -> Iterator[JSON]:
        if data == b"[DONE]":
            self.finished = self.ended = True
            return
        try:
            chunk = orjson.loads(data)
        except orjson.JSONDecodeError:
            raise malformed("a chunk that is not JSON") from None
        if not isinstance(chunk, dict) or not isinstance(chunk.get("choices", []), list):
            raise malformed("a chunk that is not an object with choices")
        if chunk.get("error"):
            raise UpstreamError("stream_error", "the model reported an error in its stream")
        for choice in chunk.get("choices", []):
            if not isinstance(choice, dict):
                raise malformed("a choice that is not an object")
            self.finished = self.finished or choice.get("finish_reason") is not None
        yield chunk


def chunks_of(completion: JSON, want_usage: bool) -> Iterator[JSON]:
    """Turn a completion into a stream: one chunk with everything, then the usage."""
    head = {name: value for name, value in completion.items() if name not in ("choices", "usage", "object")}
    head["object"] = "chat.completion.chunk"
    yield {**head, "choices": [_choice_delta(choice) for choice in completion["choices"]]}
    if want_usage and completion.get("usage"):
        yield {**head, "choices": [], "usage": completion["usage"]}


def _choice_delta(choice: JSON) -> JSON:
    delta = dict(choice["message"])
    if delta.get("tool_calls"):
        delta["tool_calls"] = [{"index": index, **call} for index, call in enumerate(delta["tool_calls"])]
    return {**{name: value for name, value in choice.items() if name != "message"}, "delta": delta}
