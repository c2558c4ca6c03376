"""What a request needs of a model, and which models lack it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from p2l.serving.router.config.server_config import Capabilities, ModelConfig

BYTES_PER_TOKEN = 4
TOKENS_PER_IMAGE = 1000

# what the vendor's API, or our translation to it, cannot say
TYPE_LACKS: dict[str, frozenset[str]] = {
    "anthropic": frozenset(
        ("audio", "json_schema", "logprobs", "several_choices", "other_parts", "other_tools", "responses")
    ),
    "gemini": frozenset(("logprobs", "other_parts", "other_tools", "responses")),
    "openai-o1": frozenset(("logprobs", "responses")),
    "openai-reasoning": frozenset(("logprobs", "responses")),
    "litellm": frozenset(("responses",)),
}

_TEXT = ("text", "input_text", "refusal")
_PARTS = {"image_url": "images", "input_image": "images", "input_audio": "audio", "file": "files"}
_SHOWN = {
    "tools": "tools",
    "images": "images",
    "audio": "audio",
    "files": "files",
    "json_schema": "response_format",
    "logprobs": "logprobs",
    "several_choices": "n > 1",
    "other_parts": "content parts of other kinds",
    "other_tools": "tools other than functions",
    "responses": "the Responses API",
}


@dataclass(frozen=True)
class Requirements:
    """``names``: fields of ``Capabilities``; ``tokens``: of prompt and answer, estimated from below."""

    names: frozenset[str]
    tokens: int

    def missing(self, model: ModelConfig) -> list[str]:
        """What the model lacks, in words; empty if it can answer."""
        lacks = TYPE_LACKS.get(model.type, frozenset())
        wrong = [_SHOWN[name] for name in sorted(self.names) if name in lacks or not _has(model.capabilities, name)]
        length = model.capabilities.context_length
        if length is not None and self.tokens > length:
            wrong.append(f"a context of {self.tokens} tokens")
        return wrong


def _has(declared: Capabilities, name: str) -> bool:
    value = getattr(declared, name)
    return value is True if name == "responses" else value is not False


def requirements_of(body: Mapping[str, Any], api: str = "chat") -> Requirements:
    """What a checked chat request, or another API's seen as one, needs."""
    messages = body["messages"]
    names = set(_content_needs(messages)) | ({"responses"} if api == "responses" else set())
    if body.get("tools") or body.get("functions") or any(message.get("tool_calls") for message in messages):
        names.add("tools")
    if any(not isinstance(tool, dict) or tool.get("type") != "function" for tool in body.get("tools") or ()):
        names.add("other_tools")
    if (body.get("response_format") or {}).get("type") in ("json_schema", "json_object"):
        names.add("json_schema")
    if body.get("logprobs") or body.get("top_logprobs"):
        names.add("logprobs")
    if (body.get("n") or 1) > 1:
        names.add("several_choices")
    return Requirements(frozenset(names), prompt_tokens(body) + (answer_tokens(body) or 0))


def answer_tokens(body: Mapping[str, Any]) -> int | None:
    """The most tokens that the client lets each choice have."""
    tokens = body.get("max_completion_tokens") or body.get("max_tokens")
    return tokens if isinstance(tokens, int) else None


def prompt_tokens(body: Mapping[str, Any]) -> int:
    """About how many tokens a prompt has: four bytes of text each; a thousand for an image."""
    size, images = 0, 0
    for message in body["messages"]:
        content = message.get("content")
        if isinstance(content, str):
            size += len(content)  # characters: never more than bytes
        elif content:
            size += sum(len(part["text"]) for part in content if isinstance(part.get("text"), str))
            images += sum(_PARTS.get(part["type"]) == "images" for part in content)
    return size // BYTES_PER_TOKEN + images * TOKENS_PER_IMAGE


def _content_needs(messages: list[dict[str, Any]]) -> Iterator[str]:
    for message in messages:
        content = message.get("content")
        if isinstance(content, list):
            yield from (_PARTS.get(part["type"], "other_parts") for part in content if part["type"] not in _TEXT)
