"""The provider of each model type, by API."""

from collections.abc import Callable

from p2l.serving.router.chat_request import JSON, Api
from p2l.serving.router.config.server_config import ModelConfig
from p2l.serving.router.upstream.chat_answer import ChatStreamParser, Translator, check_completion, chunks_of
from p2l.serving.router.upstream.providers import (
    anthropic_messages,
    anthropic_request,
    anthropic_response,
    gemini_request,
    gemini_response,
    openai_chat,
    openai_responses,
)
from p2l.serving.router.upstream.upstream_request import Provider, RequestBuilder


def _chat(
    build_request: RequestBuilder,
    parse_completion: Callable[[JSON], JSON],
    translator: Callable[[], Translator],
    usage_of: Callable[[JSON], object],
) -> Provider:
    """Return a provider whose answers are checked, whatever its format."""
    return Provider(
        build_request,
        lambda payload: check_completion(parse_completion(payload)),
        lambda: ChatStreamParser(translator()),
        usage_of,
        chunks_of,
    )


_RESPONSES = Provider(
    openai_responses.build_request,
    openai_responses.parse_completion,
    openai_responses.StreamParser,
    openai_responses.usage_of,
)
_MESSAGES = Provider(
    anthropic_messages.build_request,
    anthropic_messages.parse_completion,
    anthropic_messages.StreamParser,
    anthropic_response.usage_of,
)
_OPENAI = _chat(openai_chat.build_request, dict, openai_chat.Translator, openai_chat.usage_of)

PROVIDERS: dict[Api, dict[str, Provider]] = {
    "chat": {
        "openai": _OPENAI,
        "openai-reasoning": _OPENAI,
        "openai-o1": _OPENAI,
        "anthropic": _chat(
            anthropic_request.build_request,
            anthropic_response.parse_completion,
            anthropic_response.Translator,
            anthropic_response.usage_of,
        ),
        "gemini": _chat(
            gemini_request.build_request,
            gemini_response.parse_completion,
            gemini_response.Translator,
            gemini_response.usage_of,
        ),
    },
    "responses": {"openai": _RESPONSES, "openai-reasoning": _RESPONSES},
    "messages": {"anthropic": _MESSAGES},
}


def is_native(api: Api, model: ModelConfig) -> bool:
    """Return whether a model is asked in the API of the client; every other one is asked as for a chat."""
    if api == "responses" and not model.capabilities.responses:
        return False
    return api == "chat" or model.type in PROVIDERS[api]


def provider_of(api: Api, model: ModelConfig) -> Provider:
    """Return the provider of a model for requests that came in this API."""
    return PROVIDERS[api if is_native(api, model) else "chat"][model.type]
