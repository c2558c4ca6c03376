"""The provider of each model type, by API."""

from p2l.serving.router.upstream.providers import (
    anthropic,
    gemini_request,
    gemini_response,
    openai_chat,
    openai_responses,
)
from p2l.serving.router.upstream.upstream_request import Provider

_OPENAI = Provider(openai_chat.build_request, openai_chat.parse_completion, openai_chat.StreamParser)

PROVIDERS: dict[str, dict[str, Provider]] = {
    "chat": {
        "openai": _OPENAI,
        "openai-reasoning": _OPENAI,
        "openai-o1": _OPENAI,
        "anthropic": Provider(anthropic.build_request, anthropic.parse_completion, anthropic.StreamParser),
        "gemini": Provider(
            gemini_request.build_request, gemini_response.parse_completion, gemini_response.StreamParser
        ),
    },
    "responses": {
        "openai": Provider(
            openai_responses.build_request, openai_responses.parse_completion, openai_responses.StreamParser
        )
    },
}
