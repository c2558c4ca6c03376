"""Remember the answers to prompts, by their token ids."""

import threading
from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

import numpy as np

from p2l.recent_values import RecentValues
from p2l.serving.batching.rank_request import Row

# What an answer takes beside its arrays, and each further spelling of its prompt, estimated.
ANSWER_BYTES, SPELLING_BYTES = 512, 256
SPELLINGS = 4  # remembered for an answer, the newest


class _Answer(NamedTuple):
    row: Row
    spellings: list[bytes]

    @property
    def nbytes(self) -> int:
        return ANSWER_BYTES + self.row.nbytes + SPELLING_BYTES * len(self.spellings)


class AnswerCache:
    """The most recently used answers of one model, in bounded memory.

    An answer is named by a digest of the token ids of its prompt. The turns of the prompt have a digest too (a
    spelling), by which an answer is found before the prompt is encoded; several spellings may have the same ids, as if
    they differ only in what is cut on the left. No text and no ids are kept.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._answers: RecentValues[_Answer] = RecentValues()
        self._ids_of: dict[bytes, bytes] = {}
        self._lock = threading.Lock()

    @property
    def size(self) -> tuple[int, int]:
        """The number of answers, and their bytes."""
        return len(self._answers), self._answers.num_bytes

    def find(self, spelling: bytes) -> Row | None:
        """Return the answer to a prompt that came before in this spelling."""
        with self._lock:
            return self._find(self._ids_of.get(spelling))

    def find_encoded(self, ids: np.ndarray, spelling: bytes) -> Row | None:
        """Return the answer to a prompt of these token ids, and remember its new spelling."""
        with self._lock:
            name = digest_ids(ids)
            row = self._find(name)
            if row is not None:
                self._insert(name, row, spelling)
            return row

    def keep(self, ids: np.ndarray, spelling: bytes, row: Row) -> None:
        """Remember the answer to a prompt."""
        row = row.own()  # else it would hold the whole batch
        with self._lock:
            self._insert(digest_ids(ids), row, spelling)

    def _find(self, ids: bytes | None) -> Row | None:
        answer = None if ids is None else self._answers.get(ids)
        if ids is None or answer is None:
            return None
        self._answers.touch(ids)
        return answer.row

    def _insert(self, ids: bytes, row: Row, spelling: bytes) -> None:
        before = self._answers.get(ids)
        known = [] if before is None else before.spellings
        answer = _Answer(row, list(dict.fromkeys([*known, spelling]))[-SPELLINGS:])
        self._answers.put(ids, answer, answer.nbytes)
        self._forget(known)
        self._ids_of |= dict.fromkeys(answer.spellings, ids)
        for dropped in self._answers.shrink(self._max_bytes):
            self._forget(dropped.spellings)

    def _forget(self, spellings: Sequence[bytes]) -> None:
        for spelling in spellings:
            del self._ids_of[spelling]


def digest_ids(ids: np.ndarray) -> bytes:
    """Return the name of a prompt by its token ids."""
    return blake2b(ids.astype(np.int32).tobytes(), digest_size=32).digest()


def digest_turns(turns: Sequence[str]) -> bytes:
    """Return the name of a prompt by its turns."""
    digest = blake2b(digest_size=32)
    for turn in turns:
        text = turn.encode("utf-8", "surrogatepass")
        digest.update(len(text).to_bytes(8, "little"))
        digest.update(text)
    return digest.digest()
