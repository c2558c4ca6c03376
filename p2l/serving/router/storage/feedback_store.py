"""Decisions of the router and the votes on them; exported as a vote table."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from p2l.files import write_whole
from p2l.serving.http.api_error import ApiError, invalid
from p2l.serving.router.router_logs import event
from p2l.serving.router.storage.databases import Database, DatabaseError, Row
from p2l.serving.router.storage.decision_writer import DecisionWriter

SCHEMA = """
CREATE TABLE IF NOT EXISTS decisions (
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, model TEXT NOT NULL, cost REAL NOT NULL, at REAL NOT NULL, prompt TEXT);
CREATE TABLE IF NOT EXISTS votes (
    id integer key, owner TEXT NOT NULL, decision TEXT NOT NULL, model_a TEXT NOT NULL, model_b TEXT,
    winner TEXT, rating REAL, prompt TEXT, at REAL NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS votes_once ON votes (owner, decision, COALESCE(model_b, ''));
"""
_INSERT_DECISION = "INSERT INTO decisions VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"  # a write may be retried
_INSERT_VOTE = """
INSERT INTO votes (owner, decision, model_a, model_b, winner, rating, prompt, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True)
class Vote:
    """A judgement of a decision: against another model, or a rating alone.

    Attributes:
        decision: id of the decision; its model is model_a.
        other_decision, model_b: the other side; one of them if there is a winner.
        winner: value of an ``Outcome``.
        rating: in [-1, 1].
        prompt: user turns; None: those of the decision.
    """

    decision: str
    other_decision: str | None
    model_b: str | None
    winner: str | None
    rating: float | None
    prompt: tuple[str, ...] | None


class FeedbackStore:
    """Stores decisions and votes.

    Prompts are stored if ``store_prompts`` is set, or if a vote includes one. Decisions are written in the background
    if the database is slow or down; a vote is stored when ``add_vote`` returns.
    """

    def __init__(self, database: Database, store_prompts: bool = False) -> None:
        self._database = database
        self._store_prompts = store_prompts
        self._decisions = DecisionWriter(database, _INSERT_DECISION)

    async def start(self) -> None:
        """Create the tables; if the database cannot be reached, log it and create them later."""
        await self._database.open(SCHEMA)
        try:
            await self._database.rows("SELECT 1")
        except DatabaseError as error:
            event("the database of --feedback cannot be reached", {"reason": error.reason}, level=logging.ERROR)
        self._decisions.start()

    async def close(self) -> None:
        await self._decisions.close()
        await self._database.close()

    async def add_decision(self, decision: str, owner: str, model: str, cost: float, turns: Sequence[str]) -> None:
        """Store which model answered a key."""
        prompt = orjson.dumps(list(turns)).decode() if self._store_prompts else None
        await self._decisions.add((decision, owner, model, cost, time.time(), prompt))

    async def add_vote(self, vote: Vote, owner: str) -> None:
        """Store a vote.

        Raises ApiError 404 for a decision that this key did not get, 409 for a second vote on it, and 503 if the
        database does not answer; the client may then retry.
        """
        try:
            await self._decisions.flush()
            stored = await self._database.write(_INSERT_VOTE, [await self._row(vote, owner)])
        except DatabaseError as error:
            event("a vote could not be stored", {"reason": error.reason}, level=logging.ERROR)
            message = "the vote could not be stored; try again"
            raise ApiError(503, message, "feedback_unavailable", headers={"retry-after": "1"}) from None
        if not stored:
            raise _already_voted()

    async def export(self, path: str | Path) -> tuple[int, int]:
        """Write the votes that have a prompt as JSON lines for training, oldest first; mode 0600.

        Returns the number of votes written, and of votes skipped because their prompt is unknown. Ratings are not
        votes and are not exported.
        """
        query = "SELECT prompt, model_a, model_b, winner, at FROM votes WHERE winner IS NOT NULL ORDER BY id"
        rows = await self._database.rows(query)
        kept = [row for row in rows if row[0] is not None]
        with write_whole(path, private=True) as file:
            for prompt, model_a, model_b, winner, at in kept:
                row = {"prompt": orjson.loads(prompt), "model_a": model_a, "model_b": model_b, "winner": winner}
                file.write(orjson.dumps({**row, "timestamp": at}).decode() + "\n")
        return len(kept), len(rows) - len(kept)

    async def _row(self, vote: Vote, owner: str) -> Row:
        model_a, prompt = await self._decision(vote.decision, owner)
        model_b = vote.model_b
        if vote.other_decision is not None:
            model_b, other_prompt = await self._decision(vote.other_decision, owner)
            prompt = prompt or other_prompt
            await self._reject_reversed(owner, vote.other_decision, model_a)
        if model_b == model_a:
            raise invalid(f"both answers are of {model_a}: a vote needs two models", "winner")
        if vote.prompt is not None:
            prompt = orjson.dumps(list(vote.prompt)).decode()
        return owner, vote.decision, model_a, model_b, vote.winner, vote.rating, prompt, time.time()

    async def _reject_reversed(self, owner: str, decision: str, model: str) -> None:
        """Raise ApiError 409 if there is a vote on the other decision against this model: the same pair, reversed."""
        query = "SELECT 1 FROM votes WHERE owner = ? AND decision = ? AND model_b = ?"
        if await self._database.rows(query, (owner, decision, model)):
            raise _already_voted()

    async def _decision(self, decision: str, owner: str) -> tuple[str, str | None]:
        found = await self._database.rows(
            "SELECT model, prompt FROM decisions WHERE id = ? AND owner = ?", (decision, owner)
        )
        if not found:
            raise ApiError(404, "this key got no such decision", "decision_not_found", param="decision")
        return found[0][0], found[0][1]


def _already_voted() -> ApiError:
    return ApiError(409, "this was voted on before", "already_voted")
