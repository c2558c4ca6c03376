"""The smaller routes: models, embeddings, feedback, health, metrics."""

import time

from starlette.requests import Request
from starlette.responses import Response

from p2l.serving.http.api_error import ApiError, invalid
from p2l.serving.http.disconnect import run_until_disconnect
from p2l.serving.http.prometheus import CONTENT_TYPE
from p2l.serving.http.request_response import header_text, json_response, read_json_object
from p2l.serving.router.accounts.ledger import Reservation, true_cost
from p2l.serving.router.api.chat_request import reject_forbidden_fields
from p2l.serving.router.config.server_config import KeyConfig
from p2l.serving.router.container import RouterContainer
from p2l.serving.router.storage.feedback_store import read_vote
from p2l.serving.router.upstream.providers import openai_chat
from p2l.serving.router.upstream.upstream_errors import UpstreamError
from p2l.serving.router.upstream.upstream_request import UpstreamRequest

_STARTED = 1735689600  # 2025-01-01; clients want a number, and a model of ours has no birthday


def enter(request: Request) -> tuple[RouterContainer, KeyConfig]:
    """The service and the client's key, one more request of which is counted."""
    container: RouterContainer = request.app.state.container
    key = container.snapshot.keys.authenticate_bearer(request.headers)
    container.ledger.count(key)
    return container, key


def refusal(error: UpstreamError) -> ApiError:
    """What the client is told of the one upstream that could answer."""
    return ApiError(error.status, error.message, error.code or error.reason)


async def models(request: Request) -> Response:
    """The router's names, then the models that the key may reach."""
    container: RouterContainer = request.app.state.container
    key = container.snapshot.keys.authenticate_bearer(request.headers)
    return json_response({"object": "list", "data": [_model(*entry) for entry in _listed(container, key)]})


async def model(request: Request) -> Response:
    """One of them."""
    container: RouterContainer = request.app.state.container
    key = container.snapshot.keys.authenticate_bearer(request.headers)
    wanted = request.path_params["name"]
    for name, owner in _listed(container, key):
        if name == wanted:
            return json_response(_model(name, owner))
    raise ApiError(404, "there is no such model: GET /v1/models", "model_not_found", param="model")


def _listed(container: RouterContainer, key: KeyConfig) -> list[tuple[str, str]]:
    config = container.snapshot.config
    aliases = [(alias, "p2l") for alias in config.router.aliases]
    reached = [(name, m.type) for name, m in config.model_configs.items() if key.may_use(name)]
    return [*aliases, *reached, *((name, m.type) for name, m in config.embedding_configs.items())]


def _model(name: str, owner: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": _STARTED, "owned_by": owner}


async def embeddings(request: Request) -> Response:
    """Pass through to the embedding model of that name."""
    container, key = enter(request)
    config = container.snapshot.config
    body = await read_json_object(request)
    reject_forbidden_fields(body)
    name = body.get("model")
    embedder = config.embedding_configs.get(name) if isinstance(name, str) else None
    if embedder is None or not isinstance(name, str):
        known = ", ".join(config.embedding_configs) or "none is configured (embedding_configs)"
        raise ApiError(404, f"model must be an embedding model: {known}", "model_not_found", param="model")
    bill = Reservation(container.ledger, key)
    if not bill.hold(embedder.cost):
        raise ApiError(429, "this key's budget does not pay for an answer", "insufficient_quota")
    call = UpstreamRequest(
        openai_chat.base_url(embedder) + "/embeddings", openai_chat.headers(embedder), {**body, "model": embedder.name}
    )
    try:
        answering = container.upstream_client.json(call, config.calls, config.calls.total_timeout, config.secrets)
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
    container, key = enter(request)
    if container.feedback is None:
        raise ApiError(404, "this router stores no feedback (--feedback)", "feedback_off")
    vote = read_vote(await read_json_object(request))
    if vote.prompt is not None and sum(map(len, vote.prompt)) > container.options.max_body:
        raise invalid("the prompt is too long", "prompt")
    await container.feedback.vote(vote, key.name, tuple(container.snapshot.config.model_configs))
    return json_response({"object": "vote", "decision": vote.decision, "created": int(time.time())}, 201)


async def health(request: Request) -> Response:
    """The process is alive."""
    return json_response({"status": "ok"})


async def ready(request: Request) -> Response:
    """Prompts can be scored: the P2L model's list is known."""
    container: RouterContainer = request.app.state.container
    try:
        await container.chooser(container.snapshot.config)
    except UpstreamError as error:
        default = container.snapshot.config.router.default_model is not None
        return json_response({"status": "no scores", "reason": error.reason}, 200 if default else 503)
    return json_response({"status": "ok"})


async def metrics(request: Request) -> Response:
    """Prometheus's text form."""
    container: RouterContainer = request.app.state.container
    return Response(container.metrics.exposition(), media_type=CONTENT_TYPE)
