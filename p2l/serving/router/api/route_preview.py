"""``/v1/route``: the decision that a chat request would get, without a call of a model."""

from dataclasses import asdict
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from p2l.serving.http.request_response import json_response, read_json_object
from p2l.serving.router.api.authentication import authenticate
from p2l.serving.router.api.parse_chat import parse_chat_request
from p2l.serving.router.chat_request import ChatRequest
from p2l.serving.router.config.server_config import ServerConfig
from p2l.serving.router.conversation.read_text import ReadText
from p2l.serving.router.conversation.session_name import named_session
from p2l.serving.router.selection.routing_plan import RoutingPlan


async def preview_route(request: Request) -> Response:
    """Return the models that would be called, with scores and costs."""
    container, config, key = await authenticate(request, count=True)
    body = await read_json_object(request)
    chat_request = parse_chat_request(body, request.headers, config.router.session_from_user)
    chat_request = named_session(config.router, chat_request)
    plan = await container.selector.select(config, chat_request, key)
    container.stream_budgets.settle(plan, config.router.mean_cost or 0.0)  # a preview must not change the running mean
    return json_response(_render(config, plan, chat_request))


def _render(config: ServerConfig, plan: RoutingPlan, request: ChatRequest) -> dict[str, Any]:
    num_choices = request.num_choices
    costs = {name: plan.priced(config, name).fixed_cost * num_choices for name in plan.candidates}
    preview: dict[str, Any] = {
        "object": "route",
        "model": plan.chosen,
        "reason": plan.reason,
        "cost": costs[plan.chosen],
        "candidates": [{"model": name, "cost": cost} for name, cost in costs.items()],
        "router_outputs": plan.scores,
    }
    if plan.tail_erased:
        preview["tail_erased"] = True
    if plan.read is not None:
        preview["read"] = _rendered(plan.read)
    if plan.risk is not None:
        preview["risk"] = plan.risk
    if request.session is not None:
        preview["session"] = {"name": request.session, "mode": config.router.sessions.mode}
    if plan.switch is not None:
        preview["session"] |= {**asdict(plan.switch), "cost": plan.switch_cost(plan.chosen)}
    if (decision := plan.decision) is not None:
        preview |= {
            "expected_cost": decision.expected_cost * num_choices,
            "expected_score": decision.expected_score,
            "shadow_price": decision.shadow_price,
            "strength": decision.strength,
        }
    return orjson.loads(orjson.dumps(preview, option=orjson.OPT_SERIALIZE_NUMPY))


def _rendered(read: ReadText) -> dict[str, Any]:
    """Return the text that the decision rests on, and the characters of the rest by what left them out."""
    return {
        "turns": read.turns,
        "characters": read.characters,
        "left_out": read.left_out,
        "instead": read.instead,
    }
