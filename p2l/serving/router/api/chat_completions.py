"""``/v1/chat/completions`` and ``/v1/route``."""

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from p2l.serving.http.api_error import ApiError
from p2l.serving.http.request_response import json_response, read_json
from p2l.serving.router.api.chat_request import read_ask
from p2l.serving.router.api.openai_error import openai_error
from p2l.serving.router.completion import Form, Turn, answer
from p2l.serving.router.config.server_config import ServerConfig
from p2l.serving.router.container import Service
from p2l.serving.router.selection.model_selector import Plan
from p2l.serving.router.upstream.fallback_client import Served
from p2l.serving.router.upstream.sse import DONE, frame
from p2l.serving.router.upstream.upstream_call import JSON


async def chat(request: Request) -> Response:
    """Answer by the best model."""
    return await answer(request, CHAT)


def _told(turn: Turn, served: Served, completion: JSON) -> JSON:
    """The answer with who gave it and the scores, where published clients look for them."""
    for choice in completion["choices"]:
        choice["message"]["model"] = served.model
    completion["router_outputs"] = turn.plan.scores
    return completion


def _event(turn: Turn, served: Served, chunk: JSON) -> bytes:
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


CHAT = Form("chat", read_ask, _told, _event, _failed, DONE, _usage)


async def route(request: Request) -> Response:
    """The decision that a chat request would get, without a call."""
    service: Service = request.app.state.service
    snapshot = service.snapshot
    key = snapshot.keys.authenticate_bearer(request.headers)
    service.ledger.count(key)
    body = await read_json(request, service.options.max_body)
    ask = read_ask(body, request.headers, snapshot.config.router.session_from_user)
    plan = await service.plan(snapshot.config, ask, key)
    # a look takes part in the stream without a say in its mean
    plan.settle(snapshot.config.router.mean_cost or 0.0)
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
