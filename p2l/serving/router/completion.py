"""The course of one request, in whichever API: choose a model, pass the request on, answer, bill."""

import logging
import math
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from p2l.serving.http.api_error import ApiError
from p2l.serving.http.disconnect import run_until_disconnect
from p2l.serving.http.request_response import EventStream, header_text, json_response, read_json_object
from p2l.serving.router.accounts.ledger import Reservation, estimated_cost, true_cost
from p2l.serving.router.accounts.output_characters import characters
from p2l.serving.router.api.chat_request import ChatRequest
from p2l.serving.router.config.server_config import KeyConfig, ModelConfig, ServerConfig
from p2l.serving.router.container import RouterContainer
from p2l.serving.router.router_logs import event, log
from p2l.serving.router.selection.capabilities import BYTES_PER_TOKEN, answer_tokens, prompt_tokens
from p2l.serving.router.selection.model_selector import RoutingPlan
from p2l.serving.router.tracing import end, tell
from p2l.serving.router.upstream.fallback_client import AllModelsFailedError, UpstreamResult
from p2l.serving.router.upstream.upstream_errors import UpstreamError
from p2l.serving.router.upstream.upstream_request import JSON


@dataclass
class CompletionContext:
    """One request on its way: what it started with, and what came of it."""

    container: RouterContainer
    config: ServerConfig
    key: KeyConfig
    ask: ChatRequest
    plan: RoutingPlan
    bill: Reservation
    started: float
    span: Any
    status: str = "left"  # of a stream whose client does not stay
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    served: UpstreamResult | None = None
    usage: JSON | None = None
    characters: int = 0  # of the answer, as far as it has come

    def admit(self, name: str) -> bool:
        """Set aside what an answer of this model may cost; False where the key's budget does not have it."""
        model = self.config.model_configs[name]
        return self.bill.hold(estimated_cost(model, prompt_tokens(self.ask.view), self._longest(model)))

    def _longest(self, model: ModelConfig) -> int | None:
        """The most tokens that the choices of an answer may have together; None where nothing says so."""
        longest = answer_tokens(self.ask.view) or model.max_tokens
        return longest and longest * (self.ask.view.get("n") or 1)

    def read(self, form: "ApiAdapter", served: UpstreamResult, part: JSON) -> None:
        """Note what an answer, or a chunk of it, says of its cost; its text only where prices are known."""
        self.usage = form.usage(part) or self.usage
        if self.config.model_configs[served.model].prices is not None:
            self.characters += characters(part)

    def _cost(self, model: ModelConfig) -> float:
        """The true cost; for an answer that broke off before its usage or came without, an estimate by its text.

        Tokens that were thought but not shown are not in it; where the longest answer is known it is at most the hold.
        """
        cost = true_cost(model, self.usage)
        if cost is not None:
            return cost
        tokens, longest = math.ceil(self.characters / BYTES_PER_TOKEN), self._longest(model)
        tokens = tokens if longest is None else min(tokens, longest)
        return estimated_cost(model, prompt_tokens(self.ask.view), tokens)

    def release(self) -> None:
        """Nothing was answered, so nothing is charged."""
        self.bill.release()
        self.plan.settle(0.0)

    def settle(self, served: UpstreamResult) -> None:
        """Charge the true cost, count and log."""
        model, metrics = self.config.model_configs[served.model], self.container.metrics
        cost = self._cost(model)
        self.bill.settle(cost)
        self.plan.settle(cost)
        metrics.cost.labels(served.model).inc(cost)
        metrics.choices.labels(served.model).inc()
        for kind, spoken in (("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens")):
            if self.usage and isinstance(count := self.usage.get(kind), int):
                metrics.tokens.labels(served.model, kind).inc(count)
                tell(self.span, {f"gen_ai.usage.{spoken}": count})
        seconds = time.perf_counter() - self.started
        metrics.latency.labels(self.ask.api).observe(seconds)
        told: dict[str, str | int | float | bool] = {
            "model": served.model,
            "reason": self.plan.reason,
            "attempts": served.attempts,
            "stream": self.ask.stream,
            "status": self.status,
            "cost": cost,
        }
        end(self.span, {f"p2l.{name}": value for name, value in told.items()})
        event(
            "answered",
            {"id": self.id, "key": self.key.name, "failures": served.failures, "seconds": round(seconds, 4), **told},
        )

    async def finish(self) -> None:
        """The stream has ended, in whatever way."""
        if self.served is not None:
            self.settle(self.served)
            await self.leave()

    async def leave(self) -> None:
        """Let go of the model's stream."""
        if self.served is not None and isinstance(self.served.chunks, AsyncGenerator):
            await self.served.chunks.aclose()


@dataclass(frozen=True)
class ApiAdapter:
    """How an API is spoken with the client.

    Attributes:
        name: of the API, for metrics and traces.
        read: the request of a parsed body; its headers; whether the field ``user`` names the session.
        told: the whole answer as the client gets it.
        event: one chunk of a stream as the client gets it; empty to leave it out.
        failed: the last event of a stream that broke, after this chunk.
        done: what ends a stream.
        usage: of an answer or chunk, in the words of chat completions.
    """

    name: str
    read: Callable[[JSON, Mapping[str, str], bool], ChatRequest]
    told: Callable[[CompletionContext, UpstreamResult, JSON], JSON]
    event: Callable[[CompletionContext, UpstreamResult, JSON], bytes]
    failed: Callable[[ApiError, JSON], bytes]
    done: bytes
    usage: Callable[[JSON], JSON | None]


async def answer(request: Request, form: ApiAdapter) -> Response:
    """Choose a model and pass the request on to it."""
    started = time.perf_counter()
    container: RouterContainer = request.app.state.container
    snapshot = container.snapshot
    key = snapshot.keys.authenticate_bearer(request.headers)
    container.ledger.count(key)
    with container.tracer.request(form.name, request.headers) as span:
        body = await read_json_object(request)
        ask = form.read(body, request.headers, snapshot.config.router.session_from_user)
        plan = await container.plan(snapshot.config, ask, key)
        container.metrics.routing.observe(time.perf_counter() - started)
        turn = CompletionContext(
            container, snapshot.config, key, ask, plan, Reservation(container.ledger, key), started, span
        )
        return await run_until_disconnect(request.receive, _respond(turn, form))


async def _respond(turn: CompletionContext, form: ApiAdapter) -> Response:
    try:
        served = turn.served = await _serve(turn)
        await _remember(turn, served)
    except BaseException as error:
        turn.release()
        await turn.leave()
        if isinstance(error, AllModelsFailedError):
            raise _given_up(turn, error) from None
        raise
    if served.answer is None:
        return EventStream(_frames(turn, served, form), turn.finish, _headers(turn, served))
    turn.read(form, served, served.answer)
    turn.status = "ok"
    turn.settle(served)
    return json_response(form.told(turn, served, served.answer), headers=_headers(turn, served))


async def _serve(turn: CompletionContext) -> UpstreamResult:
    """The first answer of a candidate; where a session's model fails, the request is routed after all."""
    caller = turn.container.fallback_client
    try:
        return await caller.serve(turn.config, turn.ask, turn.plan.candidates, turn.admit)
    except AllModelsFailedError as run:
        if turn.plan.reason != "session" or run.error.client_fault:
            raise
        turn.plan = await turn.container.plan(turn.config, turn.ask, turn.key, sticky=False)
        return await caller.serve(turn.config, turn.ask, turn.plan.candidates, turn.admit, run)


async def _remember(turn: CompletionContext, served: UpstreamResult) -> None:
    container, ask = turn.container, turn.ask
    for model, reason in served.failures:
        container.metrics.attempts.labels(model, reason).inc()
    if served.model != turn.plan.chosen:
        container.metrics.fallbacks.labels(served.model).inc()
    if ask.session is not None:
        container.sessions.keep(turn.key.name, ask.session, served.model, turn.config.router.session_ttl)
    if container.feedback is not None:
        cost = turn.config.model_configs[served.model].cost
        await container.feedback.decided(turn.id, turn.key.name, served.model, cost, ask.turns)


async def _frames(turn: CompletionContext, served: UpstreamResult, form: ApiAdapter) -> AsyncGenerator[bytes, None]:
    """The events of a stream: chunks as they come, an error if it breaks, the end."""
    metrics = turn.container.metrics
    assert served.chunks is not None
    assert served.first is not None
    chunk = served.first
    metrics.streams.inc()
    metrics.first_chunk.labels(served.model).observe(time.perf_counter() - turn.started)
    try:
        yield _event(turn, served, form, chunk)
        async for chunk in served.chunks:
            if data := _event(turn, served, form, chunk):
                yield data
        turn.status = "ok"
        if form.done:
            yield form.done
    except Exception as failed:
        error = failed if isinstance(failed, UpstreamError) else UpstreamError("internal", "the stream failed")
        if error is not failed:
            log.exception("a stream failed inside the router")
        turn.status = error.reason
        turn.container.circuit_breaker.record_failure(served.model, error, turn.config.calls)
        metrics.attempts.labels(served.model, error.reason).inc()
        yield form.failed(ApiError(error.status, error.message, error.code or "stream_failed"), chunk)
        if form.done:
            yield form.done
    finally:
        metrics.streams.dec()


def _event(turn: CompletionContext, served: UpstreamResult, form: ApiAdapter, chunk: JSON) -> bytes:
    turn.read(form, served, chunk)
    return form.event(turn, served, chunk)


def _given_up(turn: CompletionContext, run: AllModelsFailedError) -> ApiError:
    """The one error of a request that no model answered."""
    error = run.error
    for model, reason in run.failures:
        turn.container.metrics.attempts.labels(model, reason).inc()
    event(
        "not answered",
        {"id": turn.id, "key": turn.key.name, "attempts": run.attempts, "failures": run.failures},
        level=logging.WARNING,
    )
    headers = {"x-p2l-attempts": str(run.attempts), "x-p2l-decision": turn.id}
    if error.reason == "unaffordable":
        headers["x-should-retry"] = "false"
        return ApiError(429, "this key's budget does not pay for an answer", "insufficient_quota", headers=headers)
    if error.status == 429:
        headers["retry-after"] = str(max(1, round(error.retry_after or 1)))
    return ApiError(error.status, error.message, error.code or error.reason, param=error.param, headers=headers)


def _headers(turn: CompletionContext, served: UpstreamResult) -> dict[str, str]:
    """The decision, for clients that look."""
    plan, model = turn.plan, turn.config.model_configs[served.model]
    headers = {
        "x-request-id": turn.id,
        "x-p2l-decision": turn.id,
        "x-p2l-model": header_text(served.model),
        "x-p2l-cost": f"{model.cost:g}",
        "x-p2l-attempts": str(served.attempts),
        "x-p2l-reason": plan.reason,
    }
    if plan.scores is not None and served.model in plan.scores:
        headers["x-p2l-score"] = f"{plan.scores[served.model]:.6g}"
    if plan.decision is not None:
        headers["x-p2l-shadow-price"] = f"{plan.decision.shadow_price:.6g}"
        headers["x-p2l-expected-cost"] = f"{plan.decision.expected_cost:.6g}"
        if plan.decision.strength is not None:
            headers["x-p2l-strength"] = f"{plan.decision.strength:.6g}"
    if served.model != plan.chosen:
        headers["x-p2l-fallback-from"] = header_text(plan.chosen)
    if served.dropped:
        headers["x-p2l-dropped"] = header_text(", ".join(served.dropped)[:500])
    return headers
