"""``/v1/embeddings``: passed through to the embedding model that the client names."""

from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from p2l.serving.http.api_error import ApiError
from p2l.serving.http.disconnect import run_until_disconnect
from p2l.serving.http.request_response import header_text, json_response, read_json_object
from p2l.serving.router.accounts.pricing import price_of
from p2l.serving.router.accounts.reservations import Reservation
from p2l.serving.router.accounts.token_usage import TokenUsage
from p2l.serving.router.api.authentication import authenticate
from p2l.serving.router.chat_request import JSON, reject_forbidden_fields
from p2l.serving.router.completion_report import report_cost
from p2l.serving.router.config.near_names import suggestion
from p2l.serving.router.config.server_config import ModelConfig, ServerConfig
from p2l.serving.router.router_logs import event
from p2l.serving.router.storage.locked_files import when_unlocked
from p2l.serving.router.token_estimates import estimate_input_tokens
from p2l.serving.router.upstream.providers import openai_chat
from p2l.serving.router.upstream.upstream_request import UpstreamRequest
from p2l.serving.router.upstream_error import UpstreamError, malformed


async def create_embeddings(request: Request) -> Response:
    """Return the embeddings of the named model."""
    container, config, key = await authenticate(request, count=True)
    body = await read_json_object(request)
    reject_forbidden_fields(body)
    name, model = _embedding_model(config, body)
    reservation, estimate = Reservation(container.ledger, key), _estimate(model, body)
    if not await when_unlocked(partial(reservation.reserve, estimate)):
        raise ApiError(429, "this key's budget does not pay for an answer", "insufficient_quota")
    upstream_request = UpstreamRequest(
        openai_chat.endpoint(model, "/embeddings"), openai_chat.headers(model), {**body, "model": model.name}
    )
    call = container.upstream_client.post(upstream_request, config.calls, config.calls.total_timeout, config.secrets)
    try:
        answer = _check(await run_until_disconnect(request.receive, call))
    except BaseException as error:
        reservation.release()
        if isinstance(error, UpstreamError):
            raise error.to_api_error() from None
        raise
    usage = _usage(answer)
    cost = estimate if usage is None else price_of(model, usage)
    reservation.settle(cost)
    report_cost(container.metrics, name, usage, cost)
    event("embedded", {"key": key.name, "model": name, "cost": cost})
    return json_response(answer, headers={"x-p2l-model": header_text(name), "x-p2l-cost": f"{cost:.10g}"})


def _embedding_model(config: ServerConfig, body: JSON) -> tuple[str, ModelConfig]:
    name = body.get("model")
    model = config.embedding_configs.get(name) if isinstance(name, str) else None
    if model is None or not isinstance(name, str):
        hint = suggestion(name, config.embedding_configs) if isinstance(name, str) else ""
        known = ", ".join(config.embedding_configs) or "none is configured (embedding_configs)"
        raise ApiError(404, f"model must be an embedding model: {known}{hint}", "model_not_found", param="model")
    return name, model


def _check(answer: Any) -> JSON:
    """Return the answer; UpstreamError if it has no embeddings."""
    if not isinstance(answer, dict) or not isinstance(answer.get("data"), list) or not answer["data"]:
        raise malformed("an answer without embeddings")
    return answer


def _estimate(model: ModelConfig, body: JSON) -> float:
    """Return the configured cost, or the price of the input if that is higher."""
    return max(model.fixed_cost, price_of(model, TokenUsage(estimate_input_tokens(body.get("input")), 0)))


def _usage(answer: JSON) -> TokenUsage | None:
    """Return the tokens of the input; None if they are not reported."""
    usage = answer.get("usage")
    if not isinstance(usage, dict):
        return None
    prompt = usage.get("prompt_tokens", usage.get("total_tokens"))
    tokens = TokenUsage.parse({"prompt_tokens": prompt, "completion_tokens": 0})  # an embedding writes nothing
    return tokens if tokens is not None and tokens.prompt else None
