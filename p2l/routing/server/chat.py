"""``/v1/chat/completions`` and ``/v1/route``."""

import logging
import time
import uuid
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from p2l.routing.server.ask import Ask, read_ask
from p2l.routing.server.calling import ExhaustedError, Served
from p2l.routing.server.capabilities import answer_tokens, prompt_tokens
from p2l.routing.server.choice import Plan
from p2l.routing.server.config import KeyConfig, ServerConfig
from p2l.routing.server.errors import ApiError
from p2l.routing.server.keys import Bill, estimated_cost, true_cost
from p2l.routing.server.logs import event, log
from p2l.routing.server.providers.call import JSON, UpstreamError
from p2l.routing.server.service import Service, Snapshot
from p2l.routing.server.sse import DONE, frame
from p2l.routing.server.tracing import end, tell
from p2l.routing.server.web import EventStream, header_text, json_response, read_json


@dataclass
class _Turn:
    """One request on its way: what it started with, and what came of it."""

    service: Service
    config: ServerConfig
    key: KeyConfig
    ask: Ask
    plan: Plan
    bill: Bill
    started: float
    span: Any
    status: str = "left"  # of a stream whose client does not stay
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    served: Served | None = None
    usage: JSON | None = None

    def admit(self, name: str) -> bool:
        """Set aside what an answer of this model may cost; False where the key's budget does not have it."""
        body, model = self.ask.body, self.config.model_configs[name]
        longest = answer_tokens(body)
        choices = body.get("n") or 1
        return self.bill.hold(estimated_cost(model, prompt_tokens(body), longest and longest * choices))

    def release(self) -> None:
        """Nothing was answered, so nothing is charged."""
        self.bill.release()
        self.service.settle_stream(self.plan.spending, 0.0)

    def settle(self, served: Served) -> None:
        """Charge the true cost, count and log."""
        model, metrics = self.config.model_configs[served.model], self.service.metrics
        cost = true_cost(model, self.usage)
        self.bill.settle(cost)
        self.service.settle_stream(self.plan.spending, cost)
        metrics.cost.labels(served.model).inc(cost)
        metrics.choices.labels(served.model).inc()
        for kind, spoken in (("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens")):
            if self.usage and isinstance(count := self.usage.get(kind), int):
                metrics.tokens.labels(served.model, kind).inc(count)
                tell(self.span, {f"gen_ai.usage.{spoken}": count})
        seconds = time.perf_counter() - self.started
        metrics.latency.labels("chat").observe(seconds)
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
        served = self.served
        if served is not None:
            self.settle(served)
            if isinstance(served.chunks, AsyncGenerator):
                await served.chunks.aclose()


async def chat(request: Request) -> Response:
    """Choose a model and pass the request on to it."""
    started = time.perf_counter()
    service: Service = request.app.state.service
    snapshot = service.snapshot
    key = snapshot.keyring.authenticate(request.headers)
    service.ledger.count(key)
    with service.tracer.request("chat", request.headers) as span:
        return await _answer(request, service, snapshot, key, span, started)


async def _answer(
    request: Request, service: Service, snapshot: Snapshot, key: KeyConfig, span: Any, started: float
) -> Response:
    body = await read_json(request, service.options.max_body)
    ask = read_ask(body, request.headers, snapshot.config.router.session_from_user)
    plan = await service.plan(snapshot.config, ask, key)
    service.metrics.routing.observe(time.perf_counter() - started)
    turn = _Turn(service, snapshot.config, key, ask, plan, Bill(service.ledger, key), started, span)
    try:
        served = turn.served = await _serve(turn)
    except BaseException as error:
        turn.release()
        if isinstance(error, ExhaustedError):
            raise _given_up(turn, error) from None
        raise
    await _remember(turn, served)
    if served.answer is None:
        return EventStream(_frames(turn, served), turn.finish, _headers(turn, served))
    usage = served.answer.get("usage")
    turn.usage = usage if isinstance(usage, dict) else None
    turn.status = "ok"
    turn.settle(served)
    return json_response(_told(served.answer, served.model, turn.plan), headers=_headers(turn, served))


async def _serve(turn: _Turn) -> Served:
    """The first answer of a candidate; where a session's model fails, the request is routed after all."""
    caller = turn.service.caller
    try:
        return await caller.serve(turn.config, turn.ask, turn.plan.candidates, turn.admit)
    except ExhaustedError as run:
        if turn.plan.reason != "session" or run.error.ours:
            raise
        turn.plan = await turn.service.plan(turn.config, turn.ask, turn.key, sticky=False)
        return await caller.serve(turn.config, turn.ask, turn.plan.candidates, turn.admit, run)


async def _remember(turn: _Turn, served: Served) -> None:
    service, ask = turn.service, turn.ask
    for model, reason in served.failures:
        service.metrics.attempts.labels(model, reason).inc()
    if served.model != turn.plan.chosen:
        service.metrics.fallbacks.labels(served.model).inc()
    if ask.session is not None:
        service.sessions.keep(turn.key.name, ask.session, served.model, turn.config.router.session_ttl)
    if service.feedback is not None:
        cost = turn.config.model_configs[served.model].cost
        await service.feedback.decided(turn.id, turn.key.name, served.model, cost, ask.turns)


def _told(answer: JSON, model: str, plan: Plan) -> JSON:
    """The answer with who gave it and the scores, where published clients look for them."""
    for choice in answer["choices"]:
        choice["message"]["model"] = model
    answer["router_outputs"] = plan.scores
    return answer


async def _frames(turn: _Turn, served: Served) -> AsyncGenerator[bytes, None]:
    """The events of a stream: chunks as they come, an error if it breaks, [DONE]."""
    metrics = turn.service.metrics
    chunks, chunk = served.chunks, served.first
    metrics.streams.inc()
    metrics.first_chunk.labels(served.model).observe(time.perf_counter() - turn.started)
    try:
        assert chunks is not None
        assert chunk is not None
        chunk["router_outputs"] = turn.plan.scores
        yield _chunk(turn, chunk, served.model)
        async for chunk in chunks:
            if data := _chunk(turn, chunk, served.model):
                yield data
        turn.status = "ok"
        yield DONE
    except Exception as failed:
        error = failed if isinstance(failed, UpstreamError) else UpstreamError("internal", "the stream failed")
        if error is not failed:
            log.exception("a stream failed inside the router")
        turn.status = error.reason
        turn.service.health.failed(served.model, error, turn.config.calls)
        metrics.attempts.labels(served.model, error.reason).inc()
        yield b"data: " + ApiError(error.status, error.message, error.code or "stream_failed").body() + b"\n\n"
        yield DONE
    finally:
        metrics.streams.dec()


def _chunk(turn: _Turn, chunk: JSON, model: str) -> bytes:
    """One event; empty for the usage that only the bill needs."""
    usage = chunk.get("usage")
    if isinstance(usage, dict):
        turn.usage = usage
        if not turn.ask.usage and not chunk.get("choices"):
            return b""
    for choice in chunk.get("choices") or ():
        if isinstance(delta := choice.get("delta"), dict):
            delta["model"] = model
    return frame(chunk)


def _given_up(turn: _Turn, run: ExhaustedError) -> ApiError:
    """The one error of a request that no model answered."""
    error = run.error
    for model, reason in run.failures:
        turn.service.metrics.attempts.labels(model, reason).inc()
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
    return ApiError(error.status, error.message, error.code or error.reason, headers=headers)


def _headers(turn: _Turn, served: Served) -> dict[str, str]:
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


async def route(request: Request) -> Response:
    """The decision that a chat request would get, without a call."""
    service: Service = request.app.state.service
    snapshot = service.snapshot
    key = snapshot.keyring.authenticate(request.headers)
    service.ledger.count(key)
    body = await read_json(request, service.options.max_body)
    ask = read_ask(body, request.headers, snapshot.config.router.session_from_user)
    plan = await service.plan(snapshot.config, ask, key)
    # a look takes part in the stream without a say in its mean
    service.settle_stream(plan.spending, snapshot.config.router.mean_cost or 0.0)
    return json_response(_preview(snapshot.config, plan))


def _preview(config: ServerConfig, plan: Plan) -> dict[str, Any]:
    preview: dict[str, Any] = {
        "object": "route",
        "model": plan.chosen,
        "reason": plan.reason,
        "cost": config.model_configs[plan.chosen].cost,
        "candidates": [{"model": name, "cost": config.model_configs[name].cost} for name in plan.candidates],
        "router_outputs": plan.scores,
    }
    if (decision := plan.decision) is not None:
        preview |= {
            "expected_cost": decision.expected_cost,
            "expected_score": decision.expected_score,
            "shadow_price": decision.shadow_price,
            "strength": decision.strength,
        }
    return orjson.loads(orjson.dumps(preview, option=orjson.OPT_SERIALIZE_NUMPY))
