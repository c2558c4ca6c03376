"""Votes from traffic: decisions, and what people said of them; read back as a table of votes."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from p2l.files import write_whole
from p2l.serving.http.api_error import ApiError, invalid
from p2l.serving.router.router_logs import event
from p2l.serving.router.storage.databases import DatabaseError, Row, Store
from p2l.serving.router.storage.decision_writer import DecisionWriter
from p2l.types import OUTCOMES

SCHEMA = """
CREATE TABLE IF NOT EXISTS decisions (
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, model TEXT NOT NULL, cost REAL NOT NULL, at REAL NOT NULL, prompt TEXT);
CREATE TABLE IF NOT EXISTS votes (
    id integer key, owner TEXT NOT NULL, decision TEXT NOT NULL, model_a TEXT NOT NULL, model_b TEXT,
    winner TEXT, rating REAL, prompt TEXT, at REAL NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS votes_once ON votes (owner, decision, COALESCE(model_b, ''));
"""
_DECIDED = "INSERT INTO decisions VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"  # an attempt may be repeated
_VOTED = """
INSERT INTO votes (owner, decision, model_a, model_b, winner, rating, prompt, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING
"""
_WINNERS = tuple(outcome.value for outcome in OUTCOMES)


@dataclass(frozen=True)
class Vote:
    """What was said of the decision: it against another model (``model_b``, ``winner``), or a rating alone."""

    decision: str
    other_decision: str | None
    model_b: str | None
    winner: str | None
    rating: float | None
    prompt: tuple[str, ...] | None


def read_vote(body: dict[str, Any]) -> Vote:
    """The vote of a request; ``ApiError`` 400 that names the field which is wrong.

    ``decision`` (the header x-p2l-decision of an answer) and either ``winner`` with ``other_decision`` or
    ``model_b``, the decision's model being ``model_a``; or ``rating`` in [-1, 1]. ``prompt``: text or user turns.
    """
    decision = _text(body, "decision")
    if decision is None:
        raise invalid("decision is needed: the header x-p2l-decision of an answer", "decision")
    vote = Vote(
        decision,
        _text(body, "other_decision"),
        _text(body, "model_b"),
        _text(body, "winner"),
        _rating(body),
        _prompt(body),
    )
    if vote.winner is not None and vote.winner not in _WINNERS:
        raise invalid(f"winner must be one of {', '.join(_WINNERS)}", "winner")
    if vote.winner is not None and (vote.other_decision is None) == (vote.model_b is None):
        raise invalid("a winner needs other_decision or model_b: one of them", "winner")
    if (vote.winner is None) == (vote.rating is None):
        raise invalid("either a winner or a rating is needed", "winner")
    return vote


class FeedbackStore:
    """Keeps decisions and votes. Prompts are kept only where ``store_prompts`` says so, or a vote brings its own.

    A decision is written in the background where the store is slow or down; a vote is stored when ``vote`` returns.
    """

    def __init__(self, store: Store, store_prompts: bool = False) -> None:
        self._store = store
        self._store_prompts = store_prompts
        self._decisions = DecisionWriter(store, _DECIDED)

    async def start(self) -> None:
        """Make the tables; where the store cannot be reached, that is said, and done later."""
        await self._store.open(SCHEMA)
        try:
            await self._store.rows("SELECT 1")
        except DatabaseError as error:
            event("the store of --feedback cannot be reached", {"reason": error.reason}, level=logging.ERROR)
        self._decisions.start()

    async def close(self) -> None:
        await self._decisions.close()
        await self._store.close()

    async def decided(self, decision: str, owner: str, model: str, cost: float, turns: Sequence[str]) -> None:
        """Remember who answered whom."""
        prompt = orjson.dumps(list(turns)).decode() if self._store_prompts else None
        await self._decisions.add((decision, owner, model, cost, time.time(), prompt))

    async def vote(self, vote: Vote, owner: str, models: Sequence[str]) -> None:
        """Store a vote; ``ApiError`` 404 for a decision that this key did not get, 409 for a second vote on it.

        503 where the store does not answer: the vote may be sent again.
        """
        try:
            await self._decisions.settled()
            stored = await self._store.write(_VOTED, [await self._row(vote, owner, models)])
        except DatabaseError as error:
            event("a vote could not be stored", {"reason": error.reason}, level=logging.ERROR)
            told = "the vote could not be stored; try again"
            raise ApiError(503, told, "feedback_unavailable", headers={"retry-after": "1"}) from None
        if not stored:
            raise _already_voted()

    async def export(self, path: str | Path) -> tuple[int, int]:
        """Write the votes that have a prompt as JSON lines that ``scripts/train.py`` reads, oldest first.

        Returns how many were written, and how many were left out because no prompt is known. Ratings of a single
        answer are not votes and stay in the store.
        """
        found = "SELECT prompt, model_a, model_b, winner, at FROM votes WHERE winner IS NOT NULL ORDER BY id"
        rows = await self._store.rows(found)
        kept = [row for row in rows if row[0] is not None]
        with write_whole(path) as file:
            for prompt, model_a, model_b, winner, at in kept:
                row = {"prompt": orjson.loads(prompt), "model_a": model_a, "model_b": model_b, "winner": winner}
                file.write(orjson.dumps({**row, "timestamp": at}).decode() + "\n")
        return len(kept), len(rows) - len(kept)

    async def _row(self, vote: Vote, owner: str, models: Sequence[str]) -> Row:
        model_a, prompt = await self._decision(vote.decision, owner)
        model_b = vote.model_b
        if vote.other_decision is not None:
            model_b, other_prompt = await self._decision(vote.other_decision, owner)
            prompt = prompt or other_prompt
            await self._refuse_turned(owner, vote.other_decision, model_a)
        elif model_b is not None and model_b not in models:
            raise invalid("model_b is not one of this router's models", "model_b")
        if model_b == model_a:
            raise invalid(f"both answers are of {model_a}: a vote needs two models", "winner")
        if vote.prompt is not None:
            prompt = orjson.dumps(list(vote.prompt)).decode()
        return owner, vote.decision, model_a, model_b, vote.winner, vote.rating, prompt, time.time()

    async def _refuse_turned(self, owner: str, decision: str, model: str) -> None:
        """``ApiError`` 409 where that decision was voted on against this model: the pair, the other way round."""
        found = "SELECT 1 FROM votes WHERE owner = ? AND decision = ? AND model_b = ?"
        if await self._store.rows(found, (owner, decision, model)):
            raise _already_voted()

    async def _decision(self, decision: str, owner: str) -> tuple[str, str | None]:
        found = await self._store.rows(
            "SELECT model, prompt FROM decisions WHERE id = ? AND owner = ?", (decision, owner)
        )
        if not found:
            raise ApiError(404, "this key got no such decision", "decision_not_found", param="decision")
        return found[0][0], found[0][1]


def _already_voted() -> ApiError:
    return ApiError(409, "this was voted on before", "already_voted")


def _text(body: dict[str, Any], name: str) -> str | None:
    value = body.get(name)
    if value is not None and (not isinstance(value, str) or not value or "\0" in value):
        raise invalid(f"{name} must be text", name)
    return value


def _rating(body: dict[str, Any]) -> float | None:
    value = body.get("rating")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -1 <= value <= 1:
        raise invalid("rating must be a number from -1 to 1", "rating")
    return float(value)


def _prompt(body: dict[str, Any]) -> tuple[str, ...] | None:
    value = body.get("prompt")
    if value is None:
        return None
    turns = [value] if isinstance(value, str) else value
    if not isinstance(turns, list) or not turns or not all(isinstance(turn, str) and turn.strip() for turn in turns):
        raise invalid("prompt must be text or a list of user turns, none of them empty", "prompt")
    return tuple(turns)
