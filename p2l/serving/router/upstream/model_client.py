"""Call one model once: over HTTP in its provider's format, or through LiteLLM."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial

from p2l.serving.router.accounts.answer_tally import AnswerTally, ReportUsage
from p2l.serving.router.chat_request import JSON, ChatRequest
from p2l.serving.router.config.server_config import ModelConfig, ServerConfig
from p2l.serving.router.router_logs import event, log
from p2l.serving.router.token_estimates import num_choices
from p2l.serving.router.upstream.chat_answer import chunks_of, has_output, is_filtered
from p2l.serving.router.upstream.client import UpstreamClient
from p2l.serving.router.upstream.parameter_refusals import fit_to_refusal, refused_again
from p2l.serving.router.upstream.providers import litellm, openai_chat, openai_responses
from p2l.serving.router.upstream.providers.client_names import client_name
from p2l.serving.router.upstream.providers.registry import is_native, provider_of
from p2l.serving.router.upstream.providers.tool_results import with_plain_results
from p2l.serving.router.upstream.upstream_request import UpstreamRequest
from p2l.serving.router.upstream_error import UpstreamError, malformed, timed_out, untranslatable


@dataclass(frozen=True)
class ModelAnswer:
    """A completion, or a stream after its first output.

    Attributes:
        completion: the whole answer; None for a stream.
        opening: the chunks that have come; empty without a stream.
        chunks: the rest of the stream; None without one.
        dropped: fields of the client that the provider does not support.
    """

    completion: JSON | None = None
    opening: tuple[JSON, ...] = ()
    chunks: AsyncIterator[JSON] | None = None
    dropped: tuple[str, ...] = ()

    @property
    def is_filtered(self) -> bool:
        """Whether a filter of the provider stopped every choice."""
        return is_filtered((self.completion,) if self.completion is not None else self.opening)

    async def close(self) -> None:
        """End the stream; a whole answer needs no end."""
        if isinstance(self.chunks, AsyncGenerator):
            await self.chunks.aclose()


class ModelClient:
    """Calls models, each call once."""

    def __init__(self, client: UpstreamClient) -> None:
        self._client = client

    async def call(
        self,
        config: ServerConfig,
        name: str,
        request: ChatRequest,
        deadline: float,
        count_refusal: Callable[[UpstreamError], None],
        tally: AnswerTally,
    ) -> ModelAnswer:
        """Return the answer, or the chunks up to its first output, before the deadline (``time.monotonic``).

        A request that is refused for optional parameters is sent once more without them, after ``count_refusal``.
        ``tally`` counts what comes, also of an answer that fails.

        Raises UpstreamError if the model fails, and ApiError if its provider cannot express the request.
        """
        model = config.model_configs[name]
        sent = build_request(model, request)
        try:
            return await self._send(config, model, request, sent, deadline, tally)
        except UpstreamError as error:
            fitted = fit_to_refusal(model, sent, body_for(model, request), error)
            count_refusal(error)
        event("a model refused parameters", {"model": name, "dropped": fitted.dropped}, level=logging.WARNING)
        try:
            return await self._send(config, model, request, fitted, deadline, tally)
        except UpstreamError as error:
            raise refused_again(model, fitted, body_for(model, request), error) from None

    async def _send(
        self,
        config: ServerConfig,
        model: ModelConfig,
        request: ChatRequest,
        sent: UpstreamRequest,
        deadline: float,
        tally: AnswerTally,
    ) -> ModelAnswer:
        count = partial(_count, tally, model, request)
        if request.stream and model.type != "openai-o1":
            chunks = _counted(self._stream(config, model, request, sent, tally.report), count)
            return await _open_stream(chunks, sent.dropped, deadline)
        completion = await self._complete(config, model, request, sent, _seconds_until(deadline))
        count(completion)
        if not request.stream:
            return ModelAnswer(completion, dropped=sent.dropped)
        return await _open_stream(_as_stream(chunks_of(completion)), sent.dropped, deadline)

    def _stream(
        self,
        config: ServerConfig,
        model: ModelConfig,
        request: ChatRequest,
        sent: UpstreamRequest,
        report_usage: ReportUsage,
    ) -> AsyncGenerator[JSON, None]:
        if model.type == "litellm":
            return litellm.stream(sent, config.calls.total_timeout)
        provider = provider_of(request.api, model)
        return self._client.stream(sent, provider, config.calls, report_usage, config.secrets)

    async def _complete(
        self, config: ServerConfig, model: ModelConfig, request: ChatRequest, sent: UpstreamRequest, seconds: float
    ) -> JSON:
        if model.type == "litellm":
            return await litellm.complete(sent, seconds)
        provider = provider_of(request.api, model)
        return await self._client.complete(sent, provider, config.calls, seconds, config.secrets)


def build_request(model: ModelConfig, request: ChatRequest) -> UpstreamRequest:
    """Return the provider's request, without the parameters that the configuration drops for this model.

    Raises ApiError 400 if the provider cannot express it, and UpstreamError if the translation itself fails.
    """
    is_litellm = model.type == "litellm"
    build = litellm.build_request if is_litellm else provider_of(request.api, model).build_request
    given = body_for(model, request)
    gone = {*model.drop_params, *(client_name(request.api, name) for name in model.drop_params)}
    body = {name: value for name, value in given.items() if name not in gone}
    streams = request.stream and model.type != "openai-o1"
    want_usage = request.include_usage or model.prices is not None
    try:
        sent = build(model, body, streams, want_usage, request.thoughts)
    except (KeyError, TypeError, AttributeError, ValueError):
        log.exception("a request could not be translated for %s: a fault of the router or of extra_fields", model.name)
        raise untranslatable() from None
    dropped = {*sent.dropped, *(name for name in gone if given.get(name) is not None)}
    headers = sent.headers
    if is_native(request.api, model):
        headers = {**request.headers, **headers}
    else:
        dropped = {client_name(request.api, name) for name in dropped} | request.untranslated
    return replace(sent, headers=headers, dropped=tuple(sorted(dropped)), num_choices=num_choices(body))


def body_for(model: ModelConfig, request: ChatRequest) -> JSON:
    """Return the request in the form in which the model's provider is asked: the client's own, or a chat."""
    if is_native(request.api, model):
        return request.body
    if model.type in ("gemini", "anthropic"):  # their results hold images, and say that a tool failed
        return request.as_chat
    return {**request.as_chat, "messages": with_plain_results(request.messages)}


async def _open_stream(chunks: AsyncIterator[JSON], dropped: tuple[str, ...], deadline: float) -> ModelAnswer:
    """Return a stream after its first output."""
    try:
        opening = await asyncio.wait_for(_opening(chunks), _seconds_until(deadline))
    except asyncio.TimeoutError:
        raise timed_out() from None
    return ModelAnswer(opening=opening, chunks=chunks, dropped=dropped)


async def _opening(chunks: AsyncIterator[JSON]) -> tuple[JSON, ...]:
    """Return the chunks up to the first output, and all of them if a filter stopped that choice.

    Until then another model can still answer: a provider that sends the role at once may filter the answer later.
    """
    opening: list[JSON] = []
    async for chunk in chunks:
        opening.append(chunk)
        if has_output(chunk) and not is_filtered(opening):
            break
    if not any(chunk.get("choices", True) for chunk in opening):
        raise malformed("an empty stream")
    return tuple(opening)


async def _counted(chunks: AsyncGenerator[JSON, None], count: Callable[[JSON], None]) -> AsyncGenerator[JSON, None]:
    """Yield the chunks, each counted."""
    async with aclosing(chunks):
        async for chunk in chunks:
            count(chunk)
            yield chunk


def _count(tally: AnswerTally, model: ModelConfig, request: ChatRequest, part: JSON) -> None:
    """Count a part; the length of the output only if the model has prices, which need it when usage is missing."""
    is_response = request.api == "responses" and is_native(request.api, model)
    usage_of = openai_responses.usage_of if is_response else openai_chat.usage_of
    tally.add(part, usage_of(part), characters=model.prices is not None)


async def _as_stream(chunks: Iterator[JSON]) -> AsyncIterator[JSON]:
    for chunk in chunks:
        yield chunk


def _seconds_until(deadline: float) -> float:
    return max(deadline - time.monotonic(), 0.001)
