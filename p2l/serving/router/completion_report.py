"""What metrics, traces, logs and response headers say about a completion."""

import logging
import time

from p2l.serving.http.api_error import ApiError
from p2l.serving.http.request_response import header_text
from p2l.serving.router.completion_context import CompletionContext
from p2l.serving.router.router_logs import event
from p2l.serving.router.router_metrics import RouterMetrics
from p2l.serving.router.tracing import end_span, set_attributes
from p2l.serving.router.upstream.fallback_client import AllModelsFailedError

_MAX_DROPPED = 500  # characters of the header x-p2l-dropped
_TOKEN_KINDS = (("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens"))  # metric label, span name


def report_attempts(metrics: RouterMetrics, context: CompletionContext) -> None:
    """Count the failed attempts before an answer, and whether a fallback gave it."""
    for model, reason in context.result.failures:
        metrics.attempts.labels(model, reason).inc()
    if context.result.model != context.plan.chosen:
        metrics.fallbacks.labels(context.result.model).inc()


def report_answer(metrics: RouterMetrics, context: CompletionContext, cost: float) -> None:
    """Count an answer with its cost, tokens and time; end its span; log it."""
    result, usage = context.result, context.usage or {}
    metrics.cost.labels(result.model).inc(cost)
    metrics.choices.labels(result.model).inc()
    for kind, attribute in _TOKEN_KINDS:
        if isinstance(count := usage.get(kind), int):
            metrics.tokens.labels(result.model, kind).inc(count)
            set_attributes(context.span, {f"gen_ai.usage.{attribute}": count})
    seconds = time.perf_counter() - context.started
    metrics.latency.labels(context.request.api).observe(seconds)
    fields: dict[str, str | int | float | bool] = {
        "model": result.model,
        "reason": context.plan.reason,
        "attempts": result.num_attempts,
        "stream": context.request.stream,
        "status": context.status,
        "cost": cost,
    }
    end_span(context.span, {f"p2l.{name}": value for name, value in fields.items()})
    request = {"id": context.id, "key": context.key.name, "failures": result.failures, "seconds": round(seconds, 4)}
    event("answered", {**request, **fields})


def report_failure(metrics: RouterMetrics, context: CompletionContext, failed: AllModelsFailedError) -> None:
    """Count and log the attempts of a request that no model answered."""
    for model, reason in failed.failures:
        metrics.attempts.labels(model, reason).inc()
    event(
        "not answered",
        {"id": context.id, "key": context.key.name, "attempts": failed.num_attempts, "failures": failed.failures},
        level=logging.WARNING,
    )


def all_models_failed(context: CompletionContext, failed: AllModelsFailedError) -> ApiError:
    """Return the error for the client if no model answered."""
    error = failed.error
    headers = {"x-p2l-attempts": str(failed.num_attempts), "x-p2l-decision": context.id}
    if error.reason == "unaffordable":
        headers["x-should-retry"] = "false"
        return ApiError(429, "this key's budget does not pay for an answer", "insufficient_quota", headers=headers)
    if error.status == 429:
        headers["retry-after"] = str(max(1, round(error.retry_after or 1)))
    return ApiError(error.status, error.message, error.code or error.reason, param=error.param, headers=headers)


def decision_headers(context: CompletionContext) -> dict[str, str]:
    """Return the headers that describe the decision."""
    plan, result = context.plan, context.result
    headers = {
        "x-request-id": context.id,
        "x-p2l-decision": context.id,
        "x-p2l-model": header_text(result.model),
        "x-p2l-cost": f"{context.model.cost:g}",
        "x-p2l-attempts": str(result.num_attempts),
        "x-p2l-reason": plan.reason,
    }
    if plan.scores is not None and result.model in plan.scores:
        headers["x-p2l-score"] = f"{plan.scores[result.model]:.6g}"
    if plan.decision is not None:
        headers["x-p2l-shadow-price"] = f"{plan.decision.shadow_price:.6g}"
        headers["x-p2l-expected-cost"] = f"{plan.decision.expected_cost:.6g}"
        if plan.decision.strength is not None:
            headers["x-p2l-strength"] = f"{plan.decision.strength:.6g}"
    if result.model != plan.chosen:
        headers["x-p2l-fallback-from"] = header_text(plan.chosen)
    if result.answer.dropped:
        headers["x-p2l-dropped"] = header_text(", ".join(result.answer.dropped)[:_MAX_DROPPED])
    return headers
