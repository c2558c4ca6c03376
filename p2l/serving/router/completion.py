"""Answer a request for a completion: parse, select models, call them, account for the cost, render."""

import time
from collections.abc import AsyncGenerator
from dataclasses import replace
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from p2l.serving.http.api_error import ApiError
from p2l.serving.http.disconnect import run_until_disconnect
from p2l.serving.http.request_id import request_id_of
from p2l.serving.http.request_response import EventStream, json_response, read_json_object
from p2l.serving.router.accounts.answer_tally import AnswerTally
from p2l.serving.router.accounts.pricing import actual_cost, cost_to_reserve
from p2l.serving.router.accounts.reservations import Reservation
from p2l.serving.router.api_adapter import ApiAdapter
from p2l.serving.router.chat_request import JSON
from p2l.serving.router.completion_context import CompletionContext
from p2l.serving.router.completion_report import (
    all_models_failed,
    decision_headers,
    report_answer,
    report_attempts,
    report_cost,
    report_failure,
)
from p2l.serving.router.container import RouterContainer
from p2l.serving.router.conversation.read_text import read_text
from p2l.serving.router.conversation.session_name import named_session
from p2l.serving.router.router_logs import log
from p2l.serving.router.storage.locked_files import when_unlocked
from p2l.serving.router.token_estimates import estimate_prompt_tokens
from p2l.serving.router.upstream.fallback_client import AllModelsFailedError, UpstreamResult
from p2l.serving.router.upstream.thoughts import call_ids
from p2l.serving.router.upstream_error import UpstreamError

STORED_RESPONSE_SECONDS = 30 * 86400.0  # as long as OpenAI stores responses


async def handle_request(request: Request, adapter: ApiAdapter) -> Response:
    """Answer one request in the API of the adapter."""
    started = time.perf_counter()
    container: RouterContainer = request.app.state.container
    snapshot = container.snapshot
    key = container.authenticate(snapshot, request)
    await when_unlocked(partial(container.ledger.count_request, key))
    with container.tracer.request(adapter.name, request.headers) as span:
        body = await read_json_object(request)
        chat_request = adapter.parse(body, request.headers, snapshot.config.router.session_from_user)
        known = container.thoughts.find(key.name, call_ids(chat_request.messages))
        chat_request = replace(chat_request, thoughts=known) if known else chat_request
        chat_request = named_session(snapshot.config.router, chat_request)
        plan = await container.selector.select(snapshot.config, chat_request, key)
        container.metrics.routing.observe(time.perf_counter() - started)
        if plan.read is not None:
            container.metrics.count_read(plan.read)
        reservation = Reservation(container.ledger, key)
        context = CompletionContext(snapshot.config, key, chat_request, plan, reservation, started, span)
        context.request_id = request_id_of(request.headers.raw) or context.id
        return await run_until_disconnect(request.receive, _answer(container, context, adapter))


async def _answer(container: RouterContainer, context: CompletionContext, adapter: ApiAdapter) -> Response:
    try:
        context.upstream = await _complete(container, context)
        await _remember(container, context)
    except BaseException as error:
        await _give_up(container, context)
        if isinstance(error, AllModelsFailedError):
            report_failure(container.metrics, context, error)
            raise all_models_failed(context, error) from None
        raise
    completion = context.result.answer.completion
    if completion is None:
        finish = partial(_finish_stream, container, context)
        return EventStream(_stream(container, context, adapter), finish, decision_headers(context))
    context.status = "ok"
    _settle(container, context)
    _keep_thoughts(container, context, completion)
    _keep_response(container, context, adapter, completion)
    return json_response(adapter.render(context, completion), headers=decision_headers(context))


async def _give_up(container: RouterContainer, context: CompletionContext) -> None:
    """Settle a request without an answer, or one whose client left just before it."""
    if context.upstream is not None:
        await _finish_stream(container, context)
        return
    context.reservation.release()
    container.stream_budgets.settle(context.plan, context.reservation.charged)


async def _complete(container: RouterContainer, context: CompletionContext) -> UpstreamResult:
    """Call the planned models; if the model of a session, or one better than it, fails, select again without it."""
    config, request, client = context.config, context.request, container.fallback_client

    async def reserve(name: str) -> bool:
        cost = cost_to_reserve(context.plan.priced(config, name, hold=True), request.as_chat)
        return await when_unlocked(partial(context.reservation.reserve, cost))

    charge = partial(_charge, container, context)
    failed: AllModelsFailedError | None = None
    while True:
        try:
            return await client.complete(config, request, context.plan.candidates, reserve, charge, failed)
        except AllModelsFailedError as error:
            if context.plan.reason not in ("session", "escalated") or error.error.client_fault:
                if error.filtered is None:
                    raise
                return error.filtered  # no other model gave an answer
            failed = error
            context.plan = await container.selector.select(config, request, context.key, use_session=False)


def _charge(container: RouterContainer, context: CompletionContext, name: str, tally: AnswerTally, whole: bool) -> bool:
    """Charge a call that gave the client no answer if its provider reports tokens; return whether it does."""
    if tally.usage is None or tally.usage.is_zero:
        return False
    cost = actual_cost(context.plan.priced(context.config, name), context.request.as_chat, tally, whole=whole)
    context.reservation.charge(cost)
    report_cost(container.metrics, name, tally.usage, cost)
    return True


async def _remember(container: RouterContainer, context: CompletionContext) -> None:
    """Count the attempts; keep the session's model, and the decision for feedback. A failure keeps the answer."""
    name, request, key = context.result.model, context.request, context.key
    report_attempts(container.metrics, context)
    if request.session is not None:
        container.sessions.keep(key.name, request.session, name, context.config.router.session_ttl)
    if container.feedback is not None:
        try:
            read = context.plan.read or read_text(context.config.router.text_from, request.turns)
            await container.feedback.add_decision(context.id, key.name, name, context.estimated_cost, read.turns)
        except Exception:
            log.exception("a decision could not be stored")


async def _stream(
    container: RouterContainer, context: CompletionContext, adapter: ApiAdapter
) -> AsyncGenerator[bytes, None]:
    """Yield the chunks as they come, then their end; an error if the stream breaks."""
    answer, metrics = context.result.answer, container.metrics
    assert answer.chunks is not None
    chunk = answer.opening[0]
    metrics.streams.inc()
    metrics.first_chunk.labels(context.result.model).observe(time.perf_counter() - context.started)
    try:
        for chunk in answer.opening:
            if data := _render_chunk(container, context, adapter, chunk):
                yield data
        async for chunk in answer.chunks:
            if data := _render_chunk(container, context, adapter, chunk):
                yield data
        end = adapter.render_end(context)
        context.status = "ok"
        if end:
            yield end
    except Exception as error:
        yield adapter.render_error(_record_broken_stream(container, context, error), chunk)
    finally:
        metrics.streams.dec()


def _render_chunk(container: RouterContainer, context: CompletionContext, adapter: ApiAdapter, chunk: JSON) -> bytes:
    _keep_thoughts(container, context, chunk)
    _keep_response(container, context, adapter, chunk)
    return adapter.render_chunk(context, chunk)


def _keep_response(container: RouterContainer, context: CompletionContext, adapter: ApiAdapter, part: JSON) -> None:
    """Remember which model's provider stores a response."""
    response = adapter.stored_response(context, part)
    if response is not None:
        container.responses.keep(context.key.name, response, context.result.model, STORED_RESPONSE_SECONDS)


def _keep_thoughts(container: RouterContainer, context: CompletionContext, part: JSON) -> None:
    """Collect the thoughts of an answer; remember them before the client can send the results of its calls.

    A failure keeps the answer.
    """
    try:
        ends = "choices" in part and context.thoughts.observe(part)
        contents, ttl = context.thoughts.contents() if ends else {}, context.config.router.thoughts_ttl
        if contents and ttl > 0:
            container.thoughts.keep(context.key.name, context.model.name, contents, ttl)
    except Exception:
        log.exception("thoughts could not be kept")


def _record_broken_stream(container: RouterContainer, context: CompletionContext, error: Exception) -> ApiError:
    """Count the failure of the model; return the error for the client."""
    if not isinstance(error, UpstreamError):
        log.exception("a stream failed inside the router")
        error = UpstreamError("internal", "the stream failed")
    context.status = error.reason
    container.circuit_breaker.record_failure(context.result.model, error, context.config.calls)
    container.metrics.attempts.labels(context.result.model, error.reason).inc()
    return ApiError(error.status, error.message, error.code or "stream_failed")


async def _finish_stream(container: RouterContainer, context: CompletionContext) -> None:
    """Settle the cost at the end of a stream, whether it ended, broke or lost its client."""
    try:
        await _close_stream(context)  # its last event may report usage
    finally:
        _settle(container, context)


async def _close_stream(context: CompletionContext) -> None:
    if context.upstream is not None:
        await context.upstream.answer.close()


def _settle(container: RouterContainer, context: CompletionContext) -> None:
    """Charge the actual cost; count and log the answer."""
    result = context.result
    if not result.is_charged:
        cost = context.cost(whole=context.status == "ok" or result.answer.completion is not None)
        context.reservation.settle(cost)
        report_cost(container.metrics, result.model, result.tally.usage, cost)
    context.reservation.release()
    container.stream_budgets.settle(context.plan, context.reservation.charged)
    _keep_cached(container, context)
    report_answer(container.metrics, context)


def _keep_cached(container: RouterContainer, context: CompletionContext) -> None:
    """Remember what the provider's prompt cache now holds of the conversation."""
    request, config = context.request, context.config.router
    if request.session is not None and config.sessions.mode != "sticky":
        container.caches.keep(
            (context.key.name, request.session, context.result.model),
            context.model,
            context.result.tally.usage,
            estimate_prompt_tokens(request.as_chat),
            config.session_ttl,
        )
