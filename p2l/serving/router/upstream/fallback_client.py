"""Ask models in turn until one answers: attempts, waits, fallback."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

from p2l.serving.http.api_error import ApiError
from p2l.serving.router.api.chat_request import ChatRequest
from p2l.serving.router.config.server_config import CallConfig, ModelConfig, ServerConfig
from p2l.serving.router.tracing import Tracer
from p2l.serving.router.upstream.circuit_breaker import CircuitBreaker
from p2l.serving.router.upstream.client import UpstreamClient
from p2l.serving.router.upstream.providers import (
    anthropic,
    gemini_request,
    gemini_response,
    litellm,
    openai_chat,
    openai_responses,
)
from p2l.serving.router.upstream.upstream_errors import UpstreamError, malformed
from p2l.serving.router.upstream.upstream_request import JSON, StreamParser, UpstreamRequest


@dataclass(frozen=True)
class Provider:
    """The pure functions of one form of API."""

    request: Callable[[ModelConfig, JSON, bool, bool], UpstreamRequest]  # stream, and its usage wanted
    answer: Callable[[JSON], JSON]
    reader: Callable[[], StreamParser]


_OPENAI = Provider(openai_chat.request, openai_chat.answer, openai_chat.StreamParser)
_CHAT: dict[str, Provider] = {
    "openai": _OPENAI,
    "openai-reasoning": _OPENAI,
    "openai-o1": _OPENAI,
    "anthropic": Provider(anthropic.request, anthropic.answer, anthropic.StreamParser),
    "gemini": Provider(gemini_request.request, gemini_response.answer, gemini_response.StreamParser),
}
_RESPONSES = {"openai": Provider(openai_responses.request, openai_responses.answer, openai_responses.StreamParser)}
PROVIDERS: dict[str, dict[str, Provider]] = {"chat": _CHAT, "responses": _RESPONSES}


@dataclass
class UpstreamResult:
    """Who answered, and how it came to that. One of ``answer`` and ``chunks`` is there."""

    model: str
    attempts: int
    failures: list[tuple[str, str]]
    dropped: tuple[str, ...] = ()
    answer: JSON | None = None
    first: JSON | None = None
    chunks: AsyncIterator[JSON] | None = None


class AllModelsFailedError(Exception):
    """No model answered: the last error, and the failures of all attempts."""

    def __init__(self, error: UpstreamError, attempts: int) -> None:
        super().__init__(error.reason)
        self.error = error
        self.attempts = attempts
        self.failures: list[tuple[str, str]] = []

    def unsuitable(self, model: str, error: ApiError) -> None:
        """This model's form has no word for the request: the client's error where no other's has one."""
        reason = "unsuitable"
        if all(other == reason for _, other in self.failures):
            self.error = UpstreamError(
                reason, error.message, status=error.status, retryable=False, code=error.code, param=error.param
            )
        self.failures.append((model, reason))


class FallbackClient:
    """Calls models. ``admit`` says of each model whether the client can pay for it."""

    def __init__(self, pool: UpstreamClient, health: CircuitBreaker, tracer: Tracer) -> None:
        self._client = pool
        self._circuit_breaker = health
        self._tracer = tracer

    async def serve(
        self,
        config: ServerConfig,
        ask: ChatRequest,
        candidates: tuple[str, ...],
        admit: Callable[[str], bool],
        run: AllModelsFailedError | None = None,
    ) -> UpstreamResult:
        """The answer, or first chunk of one, of the first candidate that gives it.

        ``run``: attempts that were made before, which count.
        """
        run = run or AllModelsFailedError(UpstreamError("unaffordable", "no model", status=429), 0)
        deadline = time.monotonic() + config.calls.total_timeout
        for name in self._awake(candidates):
            if admit(name) and (served := await self._ask(config, ask, name, run, deadline)) is not None:
                served.attempts, served.failures = run.attempts, run.failures
                return served
        raise run

    async def _ask(
        self, config: ServerConfig, ask: ChatRequest, name: str, run: AllModelsFailedError, deadline: float
    ) -> UpstreamResult | None:
        """The model's answer at the first or a later attempt; None where another is to be asked."""
        calls = config.calls
        for repeat in range(calls.attempts_per_model):
            if repeat:
                await asyncio.sleep(_wait(calls, repeat, run.error))
            if run.attempts >= calls.max_attempts or time.monotonic() >= deadline:
                raise run
            run.attempts += 1
            try:
                with self._tracer.span("attempt", _told(config, name, run.attempts), calls=True):
                    served = await self._attempt(config, name, ask, deadline)
            except ApiError as error:  # of the translation to this model's form; another model's may have a word for it
                run.attempts -= 1
                run.unsuitable(name, error)
                return None
            except UpstreamError as error:
                run.error = error
                run.failures.append((name, error.reason))
                if error.client_fault:
                    raise run from None
                self._circuit_breaker.record_failure(name, error, calls)
                if not error.retryable or not self._circuit_breaker.is_available(name):
                    return None
            else:
                self._circuit_breaker.record_success(name)
                return served
        return None

    def _awake(self, candidates: tuple[str, ...]) -> tuple[str, ...]:
        """The candidates without those that rest, unless all do."""
        return tuple(name for name in candidates if self._circuit_breaker.is_available(name)) or candidates

    async def _attempt(self, config: ServerConfig, name: str, ask: ChatRequest, deadline: float) -> UpstreamResult:
        model = config.model_configs[name]
        if not ask.stream or model.type == "openai-o1":
            answer, dropped = await self._complete(config, model, ask, deadline)
            if not ask.stream:
                return UpstreamResult(name, 0, [], dropped, answer=answer)
            chunks = _as_stream(openai_chat.chunks_of(answer, want_usage=True))
        else:
            chunks, dropped = self._open(config, model, ask)
        try:
            first = await asyncio.wait_for(chunks.__anext__(), max(deadline - time.monotonic(), 0.001))
        except StopAsyncIteration:
            raise malformed("an empty stream") from None
        except asyncio.TimeoutError:
            raise UpstreamError("timeout", "the model did not answer in time", status=504) from None
        return UpstreamResult(name, 0, [], dropped, first=first, chunks=chunks)

    async def _complete(
        self, config: ServerConfig, model: ModelConfig, ask: ChatRequest, deadline: float
    ) -> tuple[JSON, tuple[str, ...]]:
        seconds = max(deadline - time.monotonic(), 0.001)
        if model.type == "litellm":
            return await litellm.complete(model, ask.body, seconds), ()
        provider = PROVIDERS[ask.api][model.type]
        call = provider.request(model, ask.body, False, True)
        payload = await self._client.json(call, config.calls, seconds, config.secrets)
        return _checked(provider, payload), call.dropped

    def _open(
        self, config: ServerConfig, model: ModelConfig, ask: ChatRequest
    ) -> tuple[AsyncIterator[JSON], tuple[str, ...]]:
        if model.type == "litellm":
            return litellm.stream(model, ask.body, config.calls.total_timeout), ()
        provider = PROVIDERS[ask.api][model.type]
        want_usage = ask.usage or model.prices is not None
        call = provider.request(model, ask.body, True, want_usage)
        return self._client.stream(call, provider.reader(), config.calls, config.secrets), call.dropped


def _told(config: ServerConfig, name: str, attempt: int) -> dict[str, str | int]:
    model = config.model_configs[name]
    known = {"gen_ai.provider.name": model.type, "gen_ai.request.model": model.name}
    return {"p2l.model": name, "p2l.attempt": attempt, **known}


def _checked(provider: Provider, payload: Any) -> JSON:
    if not isinstance(payload, dict):
        raise malformed("an answer that is not an object")
    try:
        return provider.answer(payload)
    except (KeyError, TypeError, AttributeError):
        raise malformed("an answer that is not in its form") from None


async def _as_stream(chunks: Iterator[JSON]) -> AsyncIterator[JSON]:
    for chunk in chunks:
        yield chunk


def _wait(calls: CallConfig, repeat: int, error: UpstreamError) -> float:
    """Seconds before a model is asked again: doubling, with jitter, and no less than it asks for."""
    doubled = min(calls.backoff * 2 ** (repeat - 1), calls.max_backoff) * random.uniform(0.5, 1.0)
    return max(doubled, min(error.retry_after or 0.0, calls.max_backoff))
