"""What a request requires of a model, and which models lack it."""

from collections.abc import Iterator
from dataclasses import dataclass

from p2l.serving.router.chat_request import JSON, ChatRequest
from p2l.serving.router.config.server_config import Capabilities, ModelConfig
from p2l.serving.router.token_estimates import estimate_prompt_tokens, max_output_tokens

# what a provider's API, or the translation to it, cannot express
PROVIDER_LACKS: dict[str, frozenset[str]] = {
    "anthropic": frozenset(
        ("audio", "json_schema", "logprobs", "several_choices", "other_parts", "other_tools", "responses")
    ),
    "gemini": frozenset(("logprobs", "other_parts", "other_tools", "responses")),
    "openai-o1": frozenset(("logprobs", "responses")),
    "openai-reasoning": frozenset(("logprobs", "responses")),
    "litellm": frozenset(("responses",)),
}

_TEXT_PARTS = ("text", "input_text", "refusal")
_PART_CAPABILITIES = {"image_url": "images", "input_image": "images", "input_audio": "audio", "file": "files"}
_DISPLAY_NAMES = {
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
    """What a request requires of a model.

    Attributes:
        capabilities: names of fields of ``Capabilities``.
        num_tokens: of prompt and answer, estimated from below.
    """

    capabilities: frozenset[str]
    num_tokens: int

    def missing(self, model: ModelConfig) -> list[str]:
        """Return what the model lacks, in words; empty if it can answer."""
        lacks = PROVIDER_LACKS.get(model.type, frozenset())
        missing = [
            _DISPLAY_NAMES[name]
            for name in sorted(self.capabilities)
            if name in lacks or not _has(model.capabilities, name)
        ]
        length = model.capabilities.context_length
        if length is not None and self.num_tokens > length:
            missing.append(f"a context of {self.num_tokens} tokens")
        return missing


def requirements_of(request: ChatRequest) -> Requirements:
    """Return what a parsed request requires."""
    names = set(_content_capabilities(request.messages)) | _field_capabilities(request.as_chat)
    if request.api == "responses":
        names.add("responses")
    num_tokens = estimate_prompt_tokens(request.as_chat) + (max_output_tokens(request.as_chat) or 0)
    return Requirements(frozenset(names), num_tokens)


def _has(declared: Capabilities, name: str) -> bool:
    value = getattr(declared, name)
    return value is True if name == "responses" else value is not False


def _field_capabilities(as_chat: JSON) -> set[str]:
    names, tools = set(), as_chat.get("tools") or ()
    if tools or as_chat.get("functions") or any(message.get("tool_calls") for message in as_chat["messages"]):
        names.add("tools")
    if any(not isinstance(tool, dict) or tool.get("type") != "function" for tool in tools):
        names.add("other_tools")
    if (as_chat.get("response_format") or {}).get("type") in ("json_schema", "json_object"):
        names.add("json_schema")
    if as_chat.get("logprobs") or as_chat.get("top_logprobs"):
        names.add("logprobs")
    if (as_chat.get("n") or 1) > 1:
        names.add("several_choices")
    return names


def _content_capabilities(messages: list[JSON]) -> Iterator[str]:
    for message in messages:
        content = message.get("content")
        if isinstance(content, list):
            types = (part["type"] for part in content)
            yield from (_PART_CAPABILITIES.get(kind, "other_parts") for kind in types if kind not in _TEXT_PARTS)
