"""``/v1/feedback``: votes and ratings on decisions."""

import time
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from p2l.serving.http.api_error import ApiError, invalid
from p2l.serving.http.request_response import json_response, read_json_object
from p2l.serving.router.api.authentication import authenticate
from p2l.serving.router.chat_request import JSON
from p2l.serving.router.config.near_names import MAX_SHOWN, suggestion
from p2l.serving.router.selection.eligibility import usable_models
from p2l.serving.router.storage.feedback_store import Vote
from p2l.types import OUTCOMES

_FIELDS = ("decision", "other_decision", "model_b", "winner", "rating", "prompt")
_WINNERS = tuple(outcome.value for outcome in OUTCOMES)


async def create_vote(request: Request) -> Response:
    """Store a vote or a rating on a decision."""
    container, config, key = await authenticate(request, count=True)
    if container.feedback is None:
        raise ApiError(404, "this router stores no feedback (--feedback)", "feedback_off")
    vote = parse_vote(await read_json_object(request))
    if vote.model_b is not None and vote.model_b not in config.model_configs:
        hint = suggestion(vote.model_b, usable_models(config, key))
        raise invalid(f"model_b: {vote.model_b[:MAX_SHOWN]!r} is not one of this router's models{hint}", "model_b")
    if vote.prompt is not None and sum(map(len, vote.prompt)) > container.options.max_body:
        raise invalid("the prompt is too long", "prompt")
    await container.feedback.add_vote(vote, key.name)
    return json_response({"object": "vote", "decision": vote.decision, "created": int(time.time())}, 201)


def parse_vote(body: dict[str, Any]) -> Vote:
    """Return the vote in a JSON body; ApiError 400 names the field that is wrong.

    ``decision`` is the header x-p2l-decision of an answer; its model is ``model_a``. A vote needs ``winner`` with
    either ``other_decision`` or ``model_b``, or a ``rating`` in [-1, 1]. ``prompt``: text or a list of user turns.
    """
    for name in body:
        if name not in _FIELDS:
            hint = suggestion(name, _FIELDS) or f"; a vote has {', '.join(_FIELDS)}"
            raise invalid(f"unknown field {name[:MAX_SHOWN]!r}{hint}", name[:MAX_SHOWN])
    decision = _text(body, "decision")
    if decision is None:
        raise invalid("decision is needed: the header x-p2l-decision of an answer", "decision")
    other_decision, model_b, winner = (_text(body, name) for name in ("other_decision", "model_b", "winner"))
    vote = Vote(decision, other_decision, model_b, winner, _rating(body), _prompt(body))
    if vote.winner is not None and vote.winner not in _WINNERS:
        raise invalid(f"winner must be one of {', '.join(_WINNERS)}", "winner")
    if vote.winner is not None and (vote.other_decision is None) == (vote.model_b is None):
        raise invalid("a winner needs other_decision or model_b: one of them", "winner")
    if (vote.winner is None) == (vote.rating is None):
        raise invalid("either a winner or a rating is needed", "winner")
    return vote


def _text(body: JSON, name: str) -> str | None:
    value = body.get(name)
    if value is not None and (not isinstance(value, str) or not value or "\0" in value):
        raise invalid(f"{name} must be text", name)
    return value


def _rating(body: JSON) -> float | None:
    value = body.get("rating")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -1 <= value <= 1:
        raise invalid("rating must be a number from -1 to 1", "rating")
    return float(value)


def _prompt(body: JSON) -> tuple[str, ...] | None:
    value = body.get("prompt")
    if value is None:
        return None
    turns = [value] if isinstance(value, str) else value
    if not isinstance(turns, list) or not turns or not all(isinstance(turn, str) and turn.strip() for turn in turns):
        raise invalid("prompt must be text or a list of user turns, none of them empty", "prompt")
    return tuple(turns)
