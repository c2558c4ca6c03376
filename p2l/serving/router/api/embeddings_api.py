"""``/v1/embeddings``: passed through to the embedding model that the client names."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from p2l.serving.http.api_error import ApiError
from p2l.serving.http.disconnect import run_until_disconnect
from p2l.serving.http.request_response import header_text, json_response, read_json_object
from p2l.serving.router.accounts.pricing import cost_from_usage
from p2l.serving.router.accounts.reservations import Reservation
from p2l.serving.router.api.authentication import authenticate
from p2l.serving.router.chat_request import JSON, reject_forbidden_fields
from p2l.serving.router.config.server_config import ModelConfig, ServerConfig
from p2l.serving.router.upstream.providers import openai_chat
from p2l.serving.router.upstream.upstream_request import UpstreamRequest
from p2l.serving.router.upstream_error import UpstreamError


async def create_embeddings(request: Request) -> Response:
    """Return the embeddings of the named model."""
    container, config, key = authenticate(request, count=True)
    body = await read_json_object(request)
    reject_forbidden_fields(body)
    name, model = _embedding_model(config, body)
    reservation = Reservation(container.ledger, key)
    if not reservation.reserve(model.cost):
        raise ApiError(429, "this key's budget does not pay for an answer", "insufficient_quota")
    upstream_request = UpstreamRequest(
        openai_chat.base_url(model) + "/embeddings", openai_chat.headers(model), {**body, "model": model.name}
    )
    call = container.upstream_client.post(upstream_request, config.calls, config.calls.total_timeout, config.secrets)
    try:
        answer = await run_until_disconnect(request.receive, call)
    except BaseException as error:
        reservation.release()
        if isinstance(error, UpstreamError):
            raise error.to_api_error() from None
        raise
    reservation.settle(_cost(model, answer))
    return json_response(answer, headers={"x-p2l-model": header_text(name)})


def _embedding_model(config: ServerConfig, body: JSON) -> tuple[str, ModelConfig]:
    name = body.get("model")
    model = config.embedding_configs.get(name) if isinstance(name, str) else None
    if model is None or not isinstance(name, str):
        known = ", ".join(config.embedding_configs) or "none is configured (embedding_configs)"
        raise ApiError(404, f"model must be an embedding model: {known}", "model_not_found", param="model")
    return name, model


def _cost(model: ModelConfig, answer: Any) -> float:
    usage = answer.get("usage") if isinstance(answer, dict) else None
    cost = cost_from_usage(model, {"completion_tokens": 0, **usage} if isinstance(usage, dict) else None)
    return model.cost if cost is None else cost
