"""Call one model once: over HTTP in its provider's format, or through LiteLLM."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

from p2l.serving.router.chat_request import JSON, ChatRequest
from p2l.serving.router.config.server_config import ModelConfig, ServerConfig
from p2l.serving.router.upstream.client import UpstreamClient
from p2l.serving.router.upstream.providers import litellm, openai_chat
from p2l.serving.router.upstream.providers.registry import PROVIDERS
from p2l.serving.router.upstream.upstream_request import Provider
from p2l.serving.router.upstream_error import malformed, timed_out


@dataclass(frozen=True)
class ModelAnswer:
    """A completion, or a stream after its first chunk.

    Attributes:
        completion: the whole answer; None for a stream.
        first_chunk: of the stream; None without one.
        chunks: the rest of the stream; None without one.
        dropped: fields of the client that the provider does not support.
    """

    completion: JSON | None = None
    first_chunk: JSON | None = None
    chunks: AsyncIterator[JSON] | None = None
    dropped: tuple[str, ...] = ()


class ModelClient:
    """Calls models, each call once."""

    def __init__(self, client: UpstreamClient) -> None:
        self._client = client

    async def call(self, config: ServerConfig, name: str, request: ChatRequest, deadline: float) -> ModelAnswer:
        """Return the answer, or its first chunk, before the deadline (``time.monotonic``).

        Raises UpstreamError if the model fails, and ApiError if its provider cannot express the request.
        """
        model = config.model_configs[name]
        if not request.stream or model.type == "openai-o1":
            completion, dropped = await self._complete(config, model, request, deadline)
            if not request.stream:
                return ModelAnswer(completion, dropped=dropped)
            chunks = _as_stream(openai_chat.chunks_of(completion, want_usage=True))
        else:
            chunks, dropped = self._open_stream(config, model, request)
        try:
            first = await asyncio.wait_for(chunks.__anext__(), _seconds_until(deadline))
        except StopAsyncIteration:
            raise malformed("an empty stream") from None
        except asyncio.TimeoutError:
            raise timed_out() from None
        return ModelAnswer(first_chunk=first, chunks=chunks, dropped=dropped)

    async def _complete(
        self, config: ServerConfig, model: ModelConfig, request: ChatRequest, deadline: float
    ) -> tuple[JSON, tuple[str, ...]]:
        seconds = _seconds_until(deadline)
        if model.type == "litellm":
            return await litellm.complete(model, request.body, seconds), ()
        provider = PROVIDERS[request.api][model.type]
        upstream_request = provider.build_request(model, request.body, False, True)
        payload = await self._client.post(upstream_request, config.calls, seconds, config.secrets)
        return _parse_completion(provider, payload), upstream_request.dropped

    def _open_stream(
        self, config: ServerConfig, model: ModelConfig, request: ChatRequest
    ) -> tuple[AsyncIterator[JSON], tuple[str, ...]]:
        if model.type == "litellm":
            return litellm.stream(model, request.body, config.calls.total_timeout), ()
        provider = PROVIDERS[request.api][model.type]
        want_usage = request.include_usage or model.prices is not None
        upstream_request = provider.build_request(model, request.body, True, want_usage)
        chunks = self._client.stream(upstream_request, provider.stream_parser(), config.calls, config.secrets)
        return chunks, upstream_request.dropped


def _parse_completion(provider: Provider, payload: Any) -> JSON:
    if not isinstance(payload, dict):
        raise malformed("an answer that is not an object")
    try:
        return provider.parse_completion(payload)
    except (KeyError, TypeError, AttributeError):
        raise malformed("an answer that is not in its form") from None


async def _as_stream(chunks: Iterator[JSON]) -> AsyncIterator[JSON]:
    for chunk in chunks:
        yield chunk


def _seconds_until(deadline: float) -> float:
    return max(deadline - time.monotonic(), 0.001)
