"""OpenAI's Responses API, at models that declare it: bodies and events pass through."""

from collections.abc import Iterator
from typing import Any

from p2l.serving.router.chat_request import JSON, Thoughts
from p2l.serving.router.config.server_config import ModelConfig
from p2l.serving.router.upstream.chat_answer import cut_off
from p2l.serving.router.upstream.providers import openai_chat
from p2l.serving.router.upstream.providers.model_families import openai_samples
from p2l.serving.router.upstream.providers.openai_messages import merge_tools
from p2l.serving.router.upstream.sealed_thoughts import is_routers_reasoning
from p2l.serving.router.upstream.upstream_request import UpstreamRequest
from p2l.serving.router.upstream_error import malformed

_SAMPLING = ("temperature", "top_p")  # reasoning models reject these
ENDS = ("response.completed", "response.incomplete", "response.failed")
_USAGE_FIELDS = {  # of chat completions -> of responses
    "prompt_tokens": "input_tokens",
    "prompt_tokens_details": "input_tokens_details",
    "completion_tokens": "output_tokens",
    "completion_tokens_details": "output_tokens_details",
    "total_tokens": "total_tokens",
}


def build_request(
    model: ModelConfig, body: JSON, stream: bool, want_usage: bool, thoughts: Thoughts | None = None
) -> UpstreamRequest:
    """Return the client's body with the model's name; the configuration fills in what the client left out."""
    defaults: dict[str, Any] = {
        "temperature": model.temp,
        "top_p": model.top_p,
        "max_output_tokens": model.max_tokens,
        "instructions": model.system_prompt,
    }
    extra = model.extra_fields or {}
    filled = {name: value for name, value in defaults.items() if value is not None and body.get(name) is None}
    out = {**extra, **body, **filled, "model": model.name}
    if isinstance(extra.get("tools"), list) and body.get("tools"):
        out["tools"] = merge_tools(extra["tools"], body["tools"])
    samples = model.type == "openai" and openai_samples(model.name)
    dropped = () if samples else tuple(name for name in _SAMPLING if out.pop(name, None) is not None)
    if isinstance(out.get("input"), list) and any(map(is_routers_reasoning, out["input"])):
        out["input"] = [item for item in out["input"] if not is_routers_reasoning(item)]
        dropped += ("input.reasoning",)  # of another provider's model
    return UpstreamRequest(openai_chat.endpoint(model, "/responses"), openai_chat.headers(model), out, dropped)


def parse_completion(payload: JSON) -> JSON:
    """Check the fields of a response that the router reads."""
    if not isinstance(payload.get("id"), str) or not isinstance(payload.get("output"), list):
        raise malformed("a response without id or output")
    return payload


def usage_of(part: JSON) -> object:
    """Return the usage in a response, or in an event as ``StreamParser`` yields it, with the names of chats."""
    usage = part.get("usage") or (part.get("response") or {}).get("usage")
    return {ours: usage.get(theirs) for ours, theirs in _USAGE_FIELDS.items()} if isinstance(usage, dict) else None


class StreamParser:
    """Yields events as ``{"type", "number", "data", "delta", "response"}``; ``data`` holds the bytes as received."""

    def __init__(self) -> None:
        self.ended = False

    def parse(self, event: JSON, raw: bytes) -> Iterator[JSON]:
        kind = event.get("type")
        if not isinstance(kind, str) or not kind.isprintable():
            raise malformed("an event without a type")
        self.ended = kind in ENDS
        response = event.get("response")
        known = response if isinstance(response, dict) else {}
        number, delta = event.get("sequence_number"), event.get("delta")
        yield {"type": kind, "number": number, "data": raw, "delta": delta, "response": known}

    def take_usage(self) -> None:
        """Return None: the events hold it."""

    def finish(self, saw_done: bool, num_choices: int) -> Iterator[JSON]:
        if not self.ended:
            raise cut_off()
        yield from ()
