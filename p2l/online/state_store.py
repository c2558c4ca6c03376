"""What traffic taught a head, in a SQLite file that several processes share."""

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np

from p2l.errors import DataError
from p2l.online.head_feedback import Feedback
from p2l.online.head_filter import HeadFilter, HeadState
from p2l.online.state_bytes import packed, packed_feedback, unpacked, unpacked_feedback
from p2l.sqlite import make_tables, open_sqlite

_SCHEMA = """
CREATE TABLE IF NOT EXISTS lessons (
    version INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, owner TEXT NOT NULL, at REAL NOT NULL,
    feedback BLOB NOT NULL, revoked INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS snapshots (version INTEGER PRIMARY KEY, state BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS rollbacks (
    number INTEGER PRIMARY KEY, version INTEGER NOT NULL, at REAL NOT NULL, lessons INTEGER NOT NULL,
    reason TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS taught (head TEXT NOT NULL);
"""
_ADD = "INSERT INTO lessons (id, owner, at, feedback) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
_NEXT = "SELECT version, feedback FROM lessons WHERE version > ? AND NOT revoked ORDER BY version"
_NEWEST = "SELECT version, state FROM snapshots WHERE version <= ? ORDER BY version DESC"
# none if a rollback came meanwhile: the state may hold what it took back
_KEEP = "INSERT OR IGNORE INTO snapshots SELECT ?, ? WHERE (SELECT COUNT(*) FROM rollbacks) = ?"
_EVERY = 256  # lessons between two snapshots

log = logging.getLogger(__name__)


class AuditLine(NamedTuple):
    """One change of the state.

    Attributes:
        version: after an update; back to which, for a rollback.
        at: time in seconds.
        kind: ``update``, ``revoked`` (an update that a rollback took back) or ``rollback``.
        id: of the feedback; the reason of a rollback.
        owner: key that gave the feedback; empty for a rollback.
    """

    version: int
    at: float
    kind: str
    id: str
    owner: str


class StateStore:
    """The feedback on a head and the state that follows from it.

    Only feedback is stored for good: the state is what ``HeadFilter`` makes of it, piece after piece, so all processes
    have the same one, and a process that is killed has added a piece whole or not at all. A piece counts once, whatever
    is sent again: its id decides. The version of a state is the number of its last piece.

    Args:
        path: file; created if missing.
        chain: of the head that is taught.

    Raises DataError if the file belongs to another head or other options.
    """

    def __init__(self, path: str | Path, chain: HeadFilter) -> None:
        self._chain, self._path = chain, path
        self._connection = open_sqlite(path, "NORMAL")
        make_tables(self._connection, path, _SCHEMA)
        self._check_head()
        self._version, self._rollbacks, self._state = 0, 0, chain.start()
        self.refresh()

    @property
    def version(self) -> int:
        """Number of the last piece of feedback in ``state``; 0: none."""
        return self._version

    @property
    def state(self) -> HeadState:
        """The state at the last ``refresh``."""
        return self._state

    def add(self, lesson: str, feedback: Feedback) -> bool:
        """Store one piece of feedback under its id; return False if the id is known, which changes nothing.

        It is safe on disk when this returns. ``refresh`` applies it.
        """
        if len(feedback) != 1:
            raise DataError(f"one piece of feedback is needed for an id; got {len(feedback)}")
        values = (lesson, feedback.keys[0], time.time(), packed_feedback(feedback))
        return self._connection.execute(_ADD, values).rowcount == 1

    def refresh(self) -> HeadState:
        """Apply what this and other processes have added since, and return the state."""
        (rollbacks,) = self._connection.execute("SELECT COUNT(*) FROM rollbacks").fetchone()
        if self._version == 0 or rollbacks != self._rollbacks:
            self._rollbacks = rollbacks
            self._version, self._state = self._snapshot()
        for version, data in self._connection.execute(_NEXT, (self._version,)).fetchall():
            self._state = self._chain.update(self._state, unpacked_feedback(data))
            self._version = version
            if self._state.count % _EVERY == 0:
                self._connection.execute(_KEEP, (version, packed(self._state), self._rollbacks))
        return self._state

    def rollback(self, version: int, reason: str) -> int:
        """Take back all feedback after a version, in all processes; return how many pieces that are.

        They stay in the audit, and their ids stay known.
        """
        with self._transaction():
            found = "UPDATE lessons SET revoked = 1 WHERE version > ? AND NOT revoked"
            revoked = self._connection.execute(found, (version,)).rowcount
            self._connection.execute("DELETE FROM snapshots WHERE version > ?", (version,))
            row = (version, time.time(), revoked, reason)
            self._connection.execute("INSERT INTO rollbacks (version, at, lessons, reason) VALUES (?, ?, ?, ?)", row)
        self.refresh()
        return revoked

    def audit(self) -> list[AuditLine]:
        """Return a line for each update and rollback, oldest first."""
        updates = self._connection.execute("SELECT version, at, revoked, id, owner FROM lessons").fetchall()
        rollbacks = self._connection.execute("SELECT version, at, reason FROM rollbacks").fetchall()
        lines = [AuditLine(v, at, "revoked" if revoked else "update", i, owner) for v, at, revoked, i, owner in updates]
        lines += [AuditLine(version, at, "rollback", reason, "") for version, at, reason in rollbacks]
        return sorted(lines, key=lambda line: line.at)

    def close(self) -> None:
        self._connection.close()

    def _snapshot(self) -> tuple[int, HeadState]:
        """Return the newest snapshot that can be read; else the start."""
        for version, data in self._connection.execute(_NEWEST, (2**62,)):
            try:
                return version, unpacked(data)
            except DataError as error:
                log.warning("%s: snapshot %d cannot be read (%s); an earlier one is used", self._path, version, error)
        return 0, self._chain.start()

    def _check_head(self) -> None:
        wanted = _digest(self._chain)
        with self._transaction():
            found = self._connection.execute("SELECT head FROM taught").fetchone()
            if found is None:
                self._connection.execute("INSERT INTO taught VALUES (?)", (wanted,))
        if found is not None and found[0] != wanted:
            self.close()
            raise DataError(
                f"{self._path} was learned beside another head, or with other options; give another file, or the "
                "checkpoint and options that it belongs to"
            )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        with self._connection:
            yield


def _digest(chain: HeadFilter) -> str:
    """Return a digest of all that the state depends on beside the feedback."""
    head, digest = chain.head, blake2b(digest_size=16)
    for part in (head.centre, head.directions, head.selected, head.start, head.prior, head.noise):
        digest.update(np.ascontiguousarray(part).tobytes())
    options = chain.options
    limits = [str(options.limits.default), sorted((key, str(one)) for key, one in options.limits.of_keys.items())]
    named = [list(head.models), head.family.name, options.memory, options.dispersion, options.draws, options.seed]
    digest.update(json.dumps([*named, limits]).encode())
    return digest.hexdigest()
