"""The smaller routes: models, embeddings, feedback, health, metrics."""

import time

from starlette.requests import Request
from starlette.responses import Response

from p2l.serving.http.api_error import ApiError, invalid
from p2l.serving.http.disconnect import run_until_disconnect
from p2l.serving.http.request_response import header_text, json_response, read_json
from p2l.serving.router.accounts.ledger import Bill, true_cost
from p2l.serving.router.api.chat_request import refuse_orders
from p2l.serving.router.config.server_config import KeyConfig
from p2l.serving.router.container import Service
from p2l.serving.router.storage.feedback_store import read_vote
from p2l.serving.router.upstream.providers import openai
from p2l.serving.router.upstream.upstream_call import Call, UpstreamError

_STARTED = 1735689600  # 2025-01-01; clients want a number, and a model of ours has no birthday


def enter(request: Request) -> tuple[Service, KeyConfig]:
    """The service and the client's key, one more request of which is counted."""
    service: Service = request.app.state.service
    key = service.snapshot.keys.authenticate_bearer(request.headers)
    service.ledger.count(key)
    return service, key


def refusal(error: UpstreamError) -> ApiError:
    """What the client is told of the one upstream that could answer."""
    return ApiError(error.status, error.message, error.code or error.reason)


async def models(request: Request) -> Response:
    """The router's names, then the models that the key may reach."""
    service: Service = request.app.state.service
    key = service.snapshot.keys.authenticate_bearer(request.headers)
    return json_response({"object": "list", "data": [_model(*entry) for entry in _listed(service, key)]})


async def model(request: Request) -> Response:
    """One of them."""
    service: Service = request.app.state.service
    key = service.snapshot.keys.authenticate_bearer(request.headers)
    wanted = request.path_params["name"]
    for name, owner in _listed(service, key):
        if name == wanted:
            return json_response(_model(name, owner))
    raise ApiError(404, "there is no such model: GET /v1/models", "model_not_found", param="model")


def _listed(service: Service, key: KeyConfig) -> list[tuple[str, str]]:
    config = service.snapshot.config
    aliases = [(alias, "p2l") for alias in config.router.aliases]
    reached = [(name, m.type) for name, m in config.model_configs.items() if key.may_use(name)]
    return [*aliases, *reached, *((name, m.type) for name, m in config.embedding_configs.items())]


def _model(name: str, owner: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": _STARTED, "owned_by": owner}


async def embeddings(request: Request) -> Response:
    """Pass through to the embedding model of that name."""
    service, key = enter(request)
    config = service.snapshot.config
    body = await read_json(request, service.options.max_body)
    refuse_orders(body)
    name = body.get("model")
    embedder = config.embedding_configs.get(name) if isinstance(name, str) else None
    if embedder is None or not isinstance(name, str):
        known = ", ".join(config.embedding_configs) or "none is configured (embedding_configs)"
        raise ApiError(404, f"model must be an embedding model: {known}", "model_not_found", param="model")
    bill = Bill(service.ledger, key)
    if not bill.hold(embedder.cost):
        raise ApiError(429, "this key's budget does not pay for an answer", "insufficient_quota")
    call = Call(openai.base_url(embedder) + "/embeddings", openai.headers(embedder), {**body, "model": embedder.name})
    try:
        answering = service.pool.json(call, config.calls, config.calls.total_timeout, config.secrets)
        answer = await run_until_disconnect(request.receive, answering)
    except UpstreamError as error:
        bill.release()
        raise refusal(error) from None
    except BaseException:
        bill.release()
        raise
    usage = answer.get("usage") if isinstance(answer, dict) else None
    cost = true_cost(embedder, {"completion_tokens": 0, **usage} if isinstance(usage, dict) else None)
    bill.settle(embedder.cost if cost is None else cost)
    return json_response(answer, headers={"x-p2l-model": header_text(name)})


async def feedback(request: Request) -> Response:
    """Store a vote or a rating on a decision."""
    service, key = enter(request)
    if service.feedback is None:
        raise ApiError(404, "this router stores no feedback (--feedback)", "feedback_off")
    vote = read_vote(await read_json(request, service.options.max_body))
    if vote.prompt is not None and sum(map(len, vote.prompt)) > service.options.max_body:
        raise invalid("the prompt is too long", "prompt")
    await service.feedback.vote(vote, key.name, tuple(service.snapshot.config.model_configs))
    return json_response({"object": "vote", "decision": vote.decision, "created": int(time.time())}, 201)


async def health(request: Request) -> Response:
    """The process is alive."""
    return json_response({"status": "ok"})


async def ready(request: Request) -> Response:
    """Prompts can be scored: the P2L model's list is known."""
    service: Service = request.app.state.service
    try:
        await service.chooser(service.snapshot.config)
    except UpstreamError as error:
        default = service.snapshot.config.router.default_model is not None
        return json_response({"status": "no scores", "reason": error.reason}, 200 if default else 503)
    return json_response({"status": "ok"})


async def metrics(request: Request) -> Response:
    """Prometheus's text form."""
    service: Service = request.app.state.service
    return Response(service.metrics.text(), media_type=service.metrics.content_type)
