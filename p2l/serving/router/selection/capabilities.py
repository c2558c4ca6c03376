"""What a request requires of a model, and which models lack it."""

from collections.abc import Iterator
from dataclasses import dataclass

from p2l.serving.router.chat_request import JSON, ChatRequest
from p2l.serving.router.config.server_config import Capabilities, ModelConfig
from p2l.serving.router.token_estimates import estimate_prompt_tokens, max_output_tokens
from p2l.serving.router.upstream.providers.model_families import claude_has_structured_output

_OUTPUTS = frozenset(("audio_output", "image_output"))
_ANTHROPIC = frozenset(("anthropic_blocks", "anthropic_tools"))
# what a provider's API, or the translation to it, cannot express
PROVIDER_LACKS: dict[str, frozenset[str]] = {
    "anthropic": frozenset(
        (
            *("audio", "json_object", "logprobs", "several_choices", "other_parts", "other_tools", "responses"),
            *("legacy_functions", "web_search", *_OUTPUTS),
        )
    ),
    "gemini": frozenset(
        ("logprobs", "other_parts", "other_tools", "responses", "legacy_functions", "web_search", *_OUTPUTS)
    )
    | _ANTHROPIC,
    "openai": _ANTHROPIC,
    "openai-o1": frozenset(("logprobs", "responses", *_OUTPUTS)) | _ANTHROPIC,
    "openai-reasoning": frozenset(("logprobs", *_OUTPUTS)) | _ANTHROPIC,
    "litellm": frozenset(("responses",)) | _ANTHROPIC,
}

# in the Messages API, parts and tools of other kinds are those of Anthropic
_OF_ANTHROPIC = {"other_parts": "anthropic_blocks", "other_tools": "anthropic_tools"}
_OTHERS = frozenset(_OF_ANTHROPIC)  # and in the Responses API those of OpenAI
_DECLARED_AS = {"json_object": "json_schema", **{ours: name for name, ours in _OF_ANTHROPIC.items()}}
_TEXT_PARTS = ("text", "input_text", "refusal")
_PART_CAPABILITIES = {"image_url": "images", "input_image": "images", "input_audio": "audio", "file": "files"}
_DISPLAY_NAMES = {
    "tools": "tools",
    "images": "images",
    "audio": "audio",
    "files": "files",
    "json_schema": "response_format",
    "json_object": "response_format json_object",
    "audio_output": "spoken answers",
    "image_output": "answers with images",
    "legacy_functions": "functions (use tools)",
    "web_search": "web_search_options",
    "logprobs": "logprobs",
    "several_choices": "n > 1",
    "other_parts": "content parts of other kinds",
    "other_tools": "tools other than functions",
    "anthropic_blocks": "content blocks that only Anthropic has",
    "anthropic_tools": "tools that only Anthropic has",
    "responses": "state, tools or items that only OpenAI's own Responses API has",
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
        lacks = _lacks(model)
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
    if request.api == "responses" and (request.previous_response is not None or names & _OTHERS):
        names.add("responses")
    if request.api == "messages":
        names = {_OF_ANTHROPIC.get(name, name) for name in names}
    num_tokens = estimate_prompt_tokens(request.as_chat) + (max_output_tokens(request.as_chat) or 0)
    return Requirements(frozenset(names), num_tokens)


def _lacks(model: ModelConfig) -> frozenset[str]:
    """Return what the provider, or a model of this family, cannot express."""
    lacks = PROVIDER_LACKS.get(model.type, frozenset())
    if model.type == "anthropic" and not claude_has_structured_output(model.name):
        return lacks | {"json_schema"}
    return lacks


def _has(declared: Capabilities, name: str) -> bool:
    value = getattr(declared, _DECLARED_AS.get(name, name))
    return value is True if name == "responses" else value is not False


def _field_capabilities(as_chat: JSON) -> set[str]:
    names: set[str] = set()
    tools = as_chat.get("tools") or ()
    if as_chat.get("functions"):
        names |= {"tools", "legacy_functions"}
    if tools or any(message.get("tool_calls") for message in as_chat["messages"]):
        names.add("tools")
    if any(not isinstance(tool, dict) or tool.get("type") != "function" for tool in tools):
        names.add("other_tools")
    if (wanted := (as_chat.get("response_format") or {}).get("type")) in ("json_schema", "json_object"):
        names.add(str(wanted))
    if as_chat.get("web_search_options") is not None:
        names.add("web_search")
    names |= _outputs(as_chat)
    if as_chat.get("logprobs") or as_chat.get("top_logprobs"):
        names.add("logprobs")
    if (as_chat.get("n") or 1) > 1:
        names.add("several_choices")
    return names


def _outputs(as_chat: JSON) -> set[str]:
    """Return the kinds of output beside text that the client asks for."""
    modalities = as_chat.get("modalities")
    asked = [kind for kind in modalities if kind != "text"] if isinstance(modalities, list) else []
    return {"audio_output" if kind == "audio" else "image_output" for kind in asked}


def _content_capabilities(messages: list[JSON]) -> Iterator[str]:
    for message in messages:
        content = message.get("content")
        if isinstance(content, list):
            types = (part["type"] for part in content)
            yield from (_PART_CAPABILITIES.get(kind, "other_parts") for kind in types if kind not in _TEXT_PARTS)
