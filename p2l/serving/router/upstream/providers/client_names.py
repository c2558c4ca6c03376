"""The client's names for the fields of a chat, for ``x-p2l-dropped`` and ``drop_params``."""

from p2l.serving.router.chat_request import Api

# paths of fields in a chat -> in Anthropic's Messages API; others are the same
_MESSAGES = {
    "messages.cache_control": "messages.content.cache_control",
    "messages.content.file.filename": "messages.content.title",
    "messages.is_error": "messages.content.is_error",
    "messages.reasoning_content": "messages.content.thinking",
    "messages.thinking_blocks": "messages.content.thinking",
    "messages.tool_calls.cache_control": "messages.content.cache_control",
    "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
    "reasoning_effort": "output_config.effort",
    "response_format": "output_config.format",
    "stop": "stop_sequences",
    "tools.function.strict": "tools.strict",
    "user": "metadata",
}


# beginnings of such paths -> in the Responses API, the first that fits; others are the same
_RESPONSES = {
    "max_completion_tokens": "max_output_tokens",
    "max_tokens": "max_output_tokens",
    "messages.cache_control": "input.content.prompt_cache_breakpoint",
    "messages.content.cache_control": "input.content.prompt_cache_breakpoint",
    "messages.content.file": "input.content",
    "messages.content.image_url": "input.content",
    "messages.reasoning_content": "input.summary",
    "messages.thinking_blocks": "input.encrypted_content",
    "messages.tool_calls": "input",
    "messages": "input",
    "reasoning_effort": "reasoning.effort",
    "response_format.json_schema": "text.format",
    "response_format": "text.format",
    "thinking": "reasoning.effort",
    "tools.function": "tools",
    "verbosity": "text.verbosity",
}


def client_name(api: Api, name: str) -> str:
    """Return the client's name for a field of a chat."""
    if api != "responses":
        return _MESSAGES.get(name, name) if api == "messages" else name
    begun = next((path for path in _RESPONSES if f"{name}.".startswith(f"{path}.")), None)
    return name if begun is None else _RESPONSES[begun] + name.removeprefix(begun)
