"""What metrics, traces, logs and response headers say about a completion."""

import logging
import time
from typing import Any

from p2l.serving.http.api_error import ApiError
from p2l.serving.http.request_response import header_text
from p2l.serving.router.accounts.token_usage import TokenUsage
from p2l.serving.router.completion_context import CompletionContext
from p2l.serving.router.router_logs import event
from p2l.serving.router.router_metrics import RouterMetrics
from p2l.serving.router.tracing import end_span, set_attributes
from p2l.serving.router.upstream.fallback_client import AllModelsFailedError

_MAX_DROPPED = 500  # characters of the header x-p2l-dropped


def report_attempts(metrics: RouterMetrics, context: CompletionContext) -> None:
    """Count the failed attempts before an answer, and whether a fallback gave it."""
    for model, reason in context.result.failures:
        metrics.attempts.labels(model, reason).inc()
    if context.result.model != context.plan.chosen:
        metrics.fallbacks.labels(context.result.model).inc()


def report_cost(metrics: RouterMetrics, model: str, usage: TokenUsage | None, cost: float) -> None:
    """Count the cost and tokens of a call."""
    metrics.cost.labels(model).inc(cost)
    if usage is not None:
        metrics.tokens.labels(model, "prompt_tokens").inc(usage.prompt)
        metrics.tokens.labels(model, "completion_tokens").inc(usage.completion)


def report_answer(metrics: RouterMetrics, context: CompletionContext) -> None:
    """Count an answer and its time; end its span; log it, with what the key was charged."""
    result, usage = context.result, context.result.tally.usage
    metrics.choices.labels(result.model).inc()
    if usage is not None:
        tokens = {"gen_ai.usage.input_tokens": usage.prompt, "gen_ai.usage.output_tokens": usage.completion}
        set_attributes(context.span, tokens)
    seconds = time.perf_counter() - context.started
    metrics.latency.labels(context.request.api).observe(seconds)
    fields: dict[str, str | int | float | bool] = {
        "model": result.model,
        "reason": context.reason,
        "attempts": result.num_attempts,
        "stream": context.request.stream,
        "status": context.status,
        "cost": context.reservation.charged,
    }
    if context.plan.tail_erased:
        fields["tail_erased"] = True
    if (read := context.plan.read) is not None and read.instead is not None:
        fields["read_instead"] = read.instead
    if context.plan.risk is not None:
        fields["risk"] = context.plan.risk
    if (price := context.plan.switch_cost(result.model)) is not None:
        fields["switch_cost"] = price
        metrics.count_switch(result.model, price)
    end_span(context.span, {f"p2l.{name}": value for name, value in fields.items()})
    request = {**_ids(context), "failures": result.failures, "seconds": round(seconds, 4)}
    if result.unaffordable:
        request["unaffordable"] = result.unaffordable
    event("answered", {**request, **fields})


def report_failure(metrics: RouterMetrics, context: CompletionContext, failed: AllModelsFailedError) -> None:
    """Count and log the attempts of a request that no model answered."""
    for model, reason in failed.failures:
        metrics.attempts.labels(model, reason).inc()
    event(
        "not answered",
        {
            **_ids(context),
            "attempts": failed.num_attempts,
            "failures": failed.failures,
            "unaffordable": failed.unaffordable,
            "cost": context.reservation.charged,
        },
        level=logging.WARNING,
    )


def _ids(context: CompletionContext) -> dict[str, Any]:
    ids = {"id": context.id, "key": context.key.name}
    return ids if context.request_id == context.id else {**ids, "request_id": context.request_id}


def all_models_failed(context: CompletionContext, failed: AllModelsFailedError) -> ApiError:
    """Return the error for the client if no model answered."""
    error = failed.error
    headers = {"x-p2l-attempts": str(failed.num_attempts), "x-p2l-decision": context.id}
    if context.reservation.charged:
        headers["x-p2l-cost"] = f"{context.reservation.charged:.10g}"
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
        "x-request-id": context.request_id,
        "x-p2l-decision": context.id,
        "x-p2l-model": header_text(result.model),
        "x-p2l-estimated-cost": f"{context.estimated_cost * context.request.num_choices:.6g}",
        "x-p2l-attempts": str(result.num_attempts),
        "x-p2l-reason": context.reason,
    }
    if context.request.api == "messages":
        headers["request-id"] = context.request_id  # where Anthropic's clients look for it
    if (cost := context.certain_cost) is not None:
        headers["x-p2l-cost"] = f"{cost:.10g}"
    if plan.scores is not None and result.model in plan.scores:
        headers["x-p2l-score"] = f"{plan.scores[result.model]:.6g}"
    if plan.decision is not None:
        headers["x-p2l-shadow-price"] = f"{plan.decision.shadow_price:.6g}"
        headers["x-p2l-expected-cost"] = f"{plan.decision.expected_cost * context.request.num_choices:.6g}"
        if plan.decision.strength is not None:
            headers["x-p2l-strength"] = f"{plan.decision.strength:.6g}"
    if plan.tail_erased:
        headers["x-p2l-tail-erased"] = "true"
    if plan.read is not None and plan.read.instead is not None:
        headers["x-p2l-read-instead"] = plan.read.instead
    if plan.risk is not None:
        headers["x-p2l-risk"] = str(plan.risk)
    if plan.switch is not None and (price := plan.switch_cost(result.model)) is not None:
        headers |= {"x-p2l-switch-from": header_text(plan.switch.before), "x-p2l-switch-cost": f"{price:.6g}"}
    if result.model != plan.chosen:
        headers["x-p2l-fallback-from"] = header_text(plan.chosen)
    if result.answer.dropped:
        headers["x-p2l-dropped"] = header_text(", ".join(result.answer.dropped)[:_MAX_DROPPED])
    return headers
