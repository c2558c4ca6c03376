"""OpenAI's chat completions: fields pass through; the configuration fills in what the client left out."""

import os
from collections.abc import Iterator
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from p2l.serving.router.chat_request import JSON, Thought, Thoughts
from p2l.serving.router.config.server_config import ModelConfig
from p2l.serving.router.upstream.providers.model_families import openai_limits_completion, openai_samples
from p2l.serving.router.upstream.providers.openai_messages import first_set, merge_tools
from p2l.serving.router.upstream.providers.unknown_fields import asks_for_something
from p2l.serving.router.upstream.upstream_request import UpstreamRequest, url_of

BASE_URL = "https://api.openai.com/v1"
_SAMPLING = ("temperature", "top_p", "presence_penalty", "frequency_penalty")
_NOT_FOR_REASONING = (*_SAMPLING, "logprobs", "top_logprobs")  # reasoning models reject these
# what other vendors, or this router, put into messages and tools; OpenAI's own API rejects it
_FOREIGN = frozenset(("cache_control", "thinking_blocks", "reasoning_content", "extra_content"))


def build_request(
    model: ModelConfig, body: JSON, stream: bool, want_usage: bool, thoughts: Thoughts | None = None
) -> UpstreamRequest:
    """Return the request. ``want_usage`` asks a stream for its usage even if the client did not."""
    out, dropped = _body(model, body, thoughts or {})
    if stream:
        out["stream"] = True
        if want_usage:
            out["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
    else:
        out.pop("stream", None)
        out.pop("stream_options", None)
    return UpstreamRequest(endpoint(model, "/chat/completions"), headers(model), out, dropped)


def endpoint(model: ModelConfig, path: str) -> str:
    """Return the URL of a path of the API; a query of the configured URL stays at the end."""
    return url_of(_base_url(model), path)


def headers(model: ModelConfig) -> dict[str, str]:
    if not model.key:
        return {}
    is_azure = _host(_base_url(model)).endswith(".azure.com")
    return {"api-key": model.key} if is_azure else {"authorization": f"Bearer {model.key}"}


def _base_url(model: ModelConfig) -> str:
    return model.base_url or os.environ.get("OPENAI_BASE_URL") or BASE_URL


def _is_vendors_own(model: ModelConfig) -> bool:
    return _host(_base_url(model)).endswith((".openai.com", ".azure.com"))


@lru_cache(maxsize=1024)
def _host(url: str) -> str:
    return urlsplit(url).hostname or ""


def _body(model: ModelConfig, body: JSON, thoughts: Thoughts) -> tuple[JSON, tuple[str, ...]]:
    extra = model.extra_fields or {}
    out = {**extra, **body, "model": model.name}
    if isinstance(extra.get("tools"), list) and body.get("tools"):
        out["tools"] = merge_tools(extra["tools"], body["tools"])
    out["messages"] = with_signatures(with_system(model, body["messages"]), model.name, thoughts)
    dropped = _strip_foreign_fields(out) if _is_vendors_own(model) else set()
    rejected: tuple[str, ...] = ()
    if model.type == "openai":
        out |= _defaults(model, body)
        if not openai_samples(model.name):
            rejected = _SAMPLING
    else:
        rejected = _NOT_FOR_REASONING
        out["max_tokens"] = first_set(out.get("max_tokens"), model.max_tokens)
    dropped |= {name for name in rejected if asks_for_something(name, out.get(name))}
    out = {name: value for name, value in out.items() if name not in rejected}
    if model.type != "openai" or openai_limits_completion(model.name):  # the field has another name there
        most = first_set(out.get("max_completion_tokens"), out.pop("max_tokens", None))
        if most is not None:
            out["max_completion_tokens"] = most
    return out, tuple(sorted(dropped))


def _strip_foreign_fields(out: JSON) -> set[str]:
    """Remove other vendors' fields from messages and tools; return their paths."""
    dropped: set[str] = set()
    for name in ("messages", "tools"):
        if out.get(name):
            out[name] = _stripped(out[name], name, dropped)
    return dropped


def _stripped(value: Any, where: str, dropped: set[str]) -> Any:
    if isinstance(value, list):
        return [_stripped(item, where, dropped) for item in value]
    if not isinstance(value, dict) or where.endswith(".parameters"):
        return value
    dropped |= {f"{where}.{name}" for name in value if name in _FOREIGN and value[name]}
    return {k: _stripped(v, f"{where}.{k}", dropped) for k, v in value.items() if k not in _FOREIGN}


def with_signatures(messages: list[JSON], model: str, thoughts: Thoughts) -> list[JSON]:
    """Put the thought signatures back that a client has lost, in Google's form for OpenAI's API."""
    known = {call: thought.content["signature"] for call, thought in thoughts.items() if _signs(thought, model)}
    if not known:
        return messages
    return [
        {**message, "tool_calls": [_signed(call, known) for call in message["tool_calls"]]}
        if message.get("tool_calls")
        else message
        for message in messages
    ]


def _signs(thought: Thought, model: str) -> bool:
    return thought.model == model and "signature" in thought.content


def _signed(call: JSON, known: dict[str, Any]) -> JSON:
    if call.get("extra_content") or call.get("id") not in known:
        return call
    return {**call, "extra_content": {"google": {"thought_signature": known[call["id"]]}}}


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


def usage_of(part: JSON) -> object:
    """Return the usage in a completion or chunk."""
    return part.get("usage")


class Translator:
    """Passes events on: they are chunks already, or unknown."""

    ended = False  # [DONE] ends a stream

    def take_usage(self) -> None:
        """Return None: the chunks hold it."""

    def translate(self, event: JSON) -> Iterator[JSON]:
        yield event

    def close(self) -> Iterator[JSON]:
        yield from ()
