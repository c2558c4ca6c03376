"""``/v1/chat/completions`` and ``/v1/route``."""

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from p2l.serving.http.api_error import ApiError
from p2l.serving.http.request_response import json_response, read_json_object
from p2l.serving.router.api.chat_request import parse_chat_request
from p2l.serving.router.api.openai_error import openai_error
from p2l.serving.router.completion import ApiAdapter, CompletionContext, answer
from p2l.serving.router.config.server_config import ServerConfig
from p2l.serving.router.container import RouterContainer
from p2l.serving.router.selection.model_selector import RoutingPlan
from p2l.serving.router.upstream.fallback_client import UpstreamResult
from p2l.serving.router.upstream.sse import DONE, frame
from p2l.serving.router.upstream.upstream_request import JSON


async def chat(request: Request) -> Response:
    """Answer by the best model."""
    return await answer(request, CHAT)


def _told(turn: CompletionContext, served: UpstreamResult, completion: JSON) -> JSON:
    """The answer with who gave it and the scores, where published clients look for them."""
    for choice in completion["choices"]:
        choice["message"]["model"] = served.model
    completion["router_outputs"] = turn.plan.scores
    return completion


def _event(turn: CompletionContext, served: UpstreamResult, chunk: JSON) -> bytes:
    """One event; empty for the usage that only the bill needs."""
    if chunk is served.first:
        chunk["router_outputs"] = turn.plan.scores
    elif isinstance(chunk.get("usage"), dict) and not turn.ask.usage and not chunk.get("choices"):
        return b""
    for choice in chunk.get("choices") or ():
        if isinstance(delta := choice.get("delta"), dict):
            delta["model"] = served.model
    return frame(chunk)


def _failed(error: ApiError, last: JSON) -> bytes:
    return b"data: " + openai_error(error) + b"\n\n"


def _usage(chunk: JSON) -> JSON | None:
    usage = chunk.get("usage")
    return usage if isinstance(usage, dict) else None


CHAT = ApiAdapter("chat", parse_chat_request, _told, _event, _failed, DONE, _usage)


async def route(request: Request) -> Response:
    """The decision that a chat request would get, without a call."""
    container: RouterContainer = request.app.state.container
    snapshot = container.snapshot
    key = snapshot.keys.authenticate_bearer(request.headers)
    container.ledger.count(key)
    body = await read_json_object(request)
    ask = parse_chat_request(body, request.headers, snapshot.config.router.session_from_user)
    plan = await container.plan(snapshot.config, ask, key)
    # a look takes part in the stream without a say in its mean
    plan.settle(snapshot.config.router.mean_cost or 0.0)
    return json_response(_preview(snapshot.config, plan))


def _preview(config: ServerConfig, plan: RoutingPlan) -> dict[str, Any]:
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
