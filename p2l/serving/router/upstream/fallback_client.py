"""Call the candidates in turn until one answers: retries with backoff, fallback, cooldown."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

from p2l.serving.http.api_error import ApiError
from p2l.serving.router.accounts.answer_tally import AnswerTally
from p2l.serving.router.chat_request import ChatRequest
from p2l.serving.router.config.server_config import CallConfig, ServerConfig
from p2l.serving.router.tracing import Tracer
from p2l.serving.router.upstream.circuit_breaker import CircuitBreaker
from p2l.serving.router.upstream.model_client import ModelAnswer, ModelClient
from p2l.serving.router.upstream_error import FILTERED, UpstreamError

Failures = list[tuple[str, str]]
"""(model, reason) of each failed attempt, in order."""

_UNSUITABLE = "unsuitable"

Charge = Callable[[str, AnswerTally, bool], bool]
"""(model, tally, whole) -> whether the key was charged, for a call that gave the client no answer."""


@dataclass(frozen=True)
class UpstreamResult:
    """The answer of one model, and the attempts that led to it.

    Attributes:
        tally: what the answer has delivered so far.
        unaffordable: the models before it that the budget of the key does not pay for.
        is_charged: whether its cost has been charged already.
    """

    model: str
    answer: ModelAnswer
    tally: AnswerTally
    num_attempts: int
    failures: Failures = field(default_factory=list)
    unaffordable: tuple[str, ...] = ()
    is_charged: bool = False


class AllModelsFailedError(Exception):
    """No candidate answered. Holds the last error and the attempts so far; later attempts continue the count.

    ``filtered``: the first answer that a filter of its provider stopped.
    """

    def __init__(self, error: UpstreamError) -> None:
        super().__init__(error.reason)
        self.error = error
        self.num_attempts = 0
        self.failures: Failures = []
        self.unaffordable: tuple[str, ...] = ()
        self.filtered: UpstreamResult | None = None

    def add(self, model: str, error: UpstreamError) -> None:
        self.error = error
        self.failures.append((model, error.reason))

    def add_refusal(self, model: str, error: UpstreamError) -> None:
        """Count a request that is sent once more without the parameters that the model refused."""
        self.failures.append((model, error.reason))
        self.num_attempts += 1

    def add_filtered(self, model: str, answer: ModelAnswer, tally: AnswerTally, *, is_charged: bool) -> None:
        self.failures.append((model, FILTERED))
        if self.filtered is None:
            attempts, failures = self.num_attempts, self.failures
            self.filtered = UpstreamResult(model, answer, tally, attempts, failures, self.unaffordable, is_charged)

    def add_unsuitable(self, model: str, error: ApiError) -> None:
        """Note a provider that cannot express the request. The client sees this error if all providers fail so."""
        if all(reason == _UNSUITABLE for _, reason in self.failures):
            self.error = UpstreamError(
                _UNSUITABLE,
                error.message,
                status=error.status,
                retryable=False,
                code=error.code,
                param=error.param,
            )
        self.failures.append((model, _UNSUITABLE))


class FallbackClient:
    """Calls models with retry and fallback.

    Args:
        client: calls one model once.
        circuit_breaker: learns of successes and failures; skips models in cooldown.
        tracer: gets a span ``attempt`` for each call.
    """

    def __init__(self, client: ModelClient, circuit_breaker: CircuitBreaker, tracer: Tracer) -> None:
        self._client = client
        self._circuit_breaker = circuit_breaker
        self._tracer = tracer

    async def complete(
        self,
        config: ServerConfig,
        request: ChatRequest,
        candidates: tuple[str, ...],
        reserve: Callable[[str], Awaitable[bool]],
        charge: Charge,
        failed: AllModelsFailedError | None = None,
    ) -> UpstreamResult:
        """Return the answer, or a stream after its first output, of the first candidate that answers.

        Args:
            config: limits of attempts and times, and the models.
            request: what the client asked.
            candidates: models in the order of the calls.
            reserve: holds the cost of a model; False if the budget of the key is too small.
            charge: called for each call that fails, is left by its client, or whose answer a filter stopped.
            failed: earlier attempts of the same request, which count toward the limits.

        Raises AllModelsFailedError if no candidate answers.
        """
        failed = failed or AllModelsFailedError(UpstreamError("unaffordable", "no model", status=429))
        deadline = time.monotonic() + config.calls.total_timeout
        for name in self._available(candidates):
            if not await reserve(name):
                failed.unaffordable += (name,)
            elif (answered := await self._call(config, request, name, charge, failed, deadline)) is not None:
                return UpstreamResult(name, *answered, failed.num_attempts, failed.failures, failed.unaffordable)
        raise failed

    async def _call(
        self,
        config: ServerConfig,
        request: ChatRequest,
        name: str,
        charge: Charge,
        failed: AllModelsFailedError,
        deadline: float,
    ) -> tuple[ModelAnswer, AnswerTally] | None:
        """Return the answer of a model, after retries; None if the next candidate is to be called."""
        calls = config.calls
        for retry in range(calls.attempts_per_model):
            if retry:
                await asyncio.sleep(_backoff(calls, retry, failed.error))
            if failed.num_attempts >= calls.max_attempts or time.monotonic() >= deadline:
                raise failed
            failed.num_attempts += 1
            try:
                answer, tally = await self._attempt(config, request, name, charge, failed, deadline)
            except ApiError as error:  # this provider cannot express the request; another may
                failed.num_attempts -= 1
                failed.add_unsuitable(name, error)
                return None
            except UpstreamError as error:
                failed.add(name, error)
                if error.client_fault:
                    raise failed from None
                if error.model_fault:
                    self._circuit_breaker.record_failure(name, error, calls)
                if not error.retryable or not self._circuit_breaker.is_available(name):
                    return None
            else:
                self._circuit_breaker.record_success(name)
                if not answer.is_filtered:
                    return answer, tally
                failed.add_filtered(name, answer, tally, is_charged=charge(name, tally, True))
                return None
        return None

    async def _attempt(
        self,
        config: ServerConfig,
        request: ChatRequest,
        name: str,
        charge: Charge,
        failed: AllModelsFailedError,
        deadline: float,
    ) -> tuple[ModelAnswer, AnswerTally]:
        """Call a model once; charge a call that fails, or whose client leaves before it answers."""
        tally, refused = AnswerTally(), partial(failed.add_refusal, name)
        try:
            with self._tracer.span("attempt", _span_attributes(config, name, failed.num_attempts), calls=True):
                return await self._client.call(config, name, request, deadline, refused, tally), tally
        except BaseException as error:
            if isinstance(error, UpstreamError):
                tally.report(error.usage, "all")
            charge(name, tally, False)
            raise

    def _available(self, candidates: tuple[str, ...]) -> tuple[str, ...]:
        """Return the candidates that are not in cooldown; all of them if every one is."""
        return tuple(name for name in candidates if self._circuit_breaker.is_available(name)) or candidates


def _span_attributes(config: ServerConfig, name: str, attempt: int) -> dict[str, str | int]:
    model = config.model_configs[name]
    provider = {"gen_ai.provider.name": model.type, "gen_ai.request.model": model.name}
    return {"p2l.model": name, "p2l.attempt": attempt, **provider}


def _backoff(calls: CallConfig, retry: int, error: UpstreamError) -> float:
    """Return the seconds before a retry: doubling, with jitter, and at least the Retry-After up to ``max_backoff``."""
    doubled = min(calls.backoff * 2 ** (retry - 1), calls.max_backoff) * random.uniform(0.5, 1.0)
    return max(doubled, min(error.retry_after or 0.0, calls.max_backoff))
