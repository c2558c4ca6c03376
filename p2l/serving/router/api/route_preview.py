"""``/v1/route``: the decision that a chat request would get, without a call of a model."""

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from p2l.serving.http.request_response import json_response, read_json_object
from p2l.serving.router.api.authentication import authenticate
from p2l.serving.router.api.parse_chat import parse_chat_request
from p2l.serving.router.config.server_config import ServerConfig
from p2l.serving.router.selection.routing_plan import RoutingPlan


async def preview_route(request: Request) -> Response:
    """Return the models that would be called, with scores and costs."""
    container, config, key = authenticate(request, count=True)
    body = await read_json_object(request)
    chat_request = parse_chat_request(body, request.headers, config.router.session_from_user)
    plan = await container.selector.select(config, chat_request, key)
    plan.settle(config.router.mean_cost or 0.0)  # a preview must not change the running mean
    return json_response(_render(config, plan))


def _render(config: ServerConfig, plan: RoutingPlan) -> dict[str, Any]:
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
