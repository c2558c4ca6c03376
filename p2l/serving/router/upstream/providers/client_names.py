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


def client_name(api: Api, name: str) -> str:
    """Return the client's name for a field of a chat."""
    return _MESSAGES.get(name, name) if api == "messages" else name
