"""Keep the rankings that an endpoint has given, as long as it serves the same model."""

import time
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import NamedTuple

import orjson

from p2l.recent_values import RecentValues
from p2l.types import Ranking

# An endpoint that has been silent for longer is asked for its model before a kept ranking is used.
CHECK_SECONDS = 1.0
# What a ranking takes beside its coefficients and costs, and one of these.
_RANKING_BYTES, _COEF_BYTES = 1024, 4


class _Kept(NamedTuple):
    ranking: Ranking
    identity: str | None
    since: float


class ScoreCache:
    """The most recently used rankings of prompts, in bounded memory; for one event loop.

    An endpoint of ours names its model in each answer. A ranking is used if its model is the one that was named last,
    at most CHECK_SECONDS ago. An endpoint that does not name its model may change it at any time: its rankings are used
    for ``unnamed_seconds``.

    Args:
        max_bytes: 0 keeps nothing.
        unnamed_seconds: how long to keep the rankings of an endpoint that does not name its model; 0: not at all.
        count: called with where the scores of a prompt come from: "cache", "shared" (a request under way), "endpoint".
        clock: a time in seconds.
    """

    def __init__(
        self,
        max_bytes: int,
        unnamed_seconds: float = 0.0,
        count: Callable[[str], None] = lambda source: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.max_bytes, self._unnamed_seconds, self._clock = max_bytes, unnamed_seconds, clock
        self.count = count
        self._kept: RecentValues[_Kept] = RecentValues()
        self._identity: str | None = None
        self._named_at = -CHECK_SECONDS

    @property
    def size(self) -> tuple[int, int]:
        """The number of rankings, and their bytes."""
        return len(self._kept), self._kept.num_bytes

    def note(self, identity: str | None) -> None:
        """Note the model that an answer names."""
        self._identity, self._named_at = identity, self._clock()

    def needs_check(self, key: bytes) -> bool:
        """Return whether a ranking of the model that was named last is kept, but that was too long ago."""
        kept = self._kept.get(key)
        is_silent = self._clock() - self._named_at > CHECK_SECONDS
        return is_silent and kept is not None and kept.identity is not None and kept.identity == self._identity

    def find(self, key: bytes) -> Ranking | None:
        """Return a kept ranking if the endpoint still serves its model."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        limit = self._unnamed_seconds if kept.identity is None else CHECK_SECONDS
        since = kept.since if kept.identity is None else self._named_at
        if kept.identity != self._identity or self._clock() - since > limit:
            return None
        self._kept.touch(key)
        return kept.ranking

    def keep(self, key: bytes, ranking: Ranking, identity: str | None) -> None:
        """Keep a ranking of the model of this name; None: not named."""
        if identity is None and not self._unnamed_seconds:
            return
        numbers = ranking.coefs.shape[-1] * (1 if ranking.costs is None else 2)
        size = _RANKING_BYTES + _COEF_BYTES * numbers
        self._kept.put(key, _Kept(ranking, identity, self._clock()), size)
        self._kept.shrink(self.max_bytes)


def prompt_key(turns: Sequence[str], names: Sequence[str]) -> bytes:
    """Return the key of a prompt's ranking of these models: a digest, so that no text is kept."""
    return blake2b(orjson.dumps([turns, names]), digest_size=32).digest()
