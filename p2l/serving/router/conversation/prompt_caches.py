"""What the providers' prompt caches hold of each conversation, as far as their answers have told."""

import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from p2l.serving.router.accounts.token_usage import TokenUsage
from p2l.serving.router.config.server_config import ModelConfig
from p2l.serving.router.storage.locked_files import DeferredWrites

_HOUR = 3600.0
_SWEEP_EVERY = 1000  # writes
_FIND = """
SELECT model, cached, prompt, estimate, warm_until FROM prompt_caches
WHERE owner = ? AND session = ? AND expires > ? ORDER BY used DESC
"""
_KEEP = "INSERT OR REPLACE INTO prompt_caches VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"


@dataclass(frozen=True)
class CachedPrompt:
    """What one model knows of a conversation.

    Attributes:
        cached: tokens that its provider's cache holds; 0 once they have expired.
        prompt: tokens of its last prompt.
        estimate: the router's own estimate of the same, from which the growth since then is seen.
    """

    model: str
    cached: int
    prompt: int
    estimate: int


class PromptCaches:
    """Prompts by key, session and model in the shared state. A store that fails forgets, and fails no request.

    ``writes`` runs the writes, later if the state is locked; None: a queue of its own.
    """

    def __init__(
        self, state: sqlite3.Connection, now: Callable[[], float] = time.time, writes: DeferredWrites | None = None
    ) -> None:
        self._state, self._now = state, now
        self._writes = writes or DeferredWrites("state")
        self._num_writes = 0

    def find(self, owner: str, session: str) -> Sequence[CachedPrompt]:
        """Return what is known of a session, the model that answered last first; nothing if it cannot be read."""
        now = self._now()
        try:
            rows = self._state.execute(_FIND, (owner, session, now)).fetchall()
        except sqlite3.OperationalError:
            return ()
        return [CachedPrompt(name, cached if until > now else 0, *rest) for name, cached, *rest, until in rows]

    def keep(
        self, entry: tuple[str, str, str], model: ModelConfig, usage: TokenUsage | None, estimate: int, ttl: float
    ) -> None:
        """Remember the prompt of an answer for ``ttl`` seconds, and how long the provider's cache holds it.

        ``entry``: key, session and the model's name.
        """
        now = self._now()
        prompt = estimate if usage is None or usage.is_zero else usage.prompt
        cached = cached_tokens(model, usage, prompt)
        lasts = _HOUR if usage is not None and usage.cache_written_hour else model.prompt_cache.ttl
        row = (*entry, cached, prompt, estimate, now + lasts, now, now + ttl)
        self._writes.add(partial(self._state.execute, _KEEP, row))
        self._num_writes += 1
        if self._num_writes % _SWEEP_EVERY == 0:
            self._writes.add(partial(self._state.execute, "DELETE FROM prompt_caches WHERE expires <= ?", (now,)))


def cached_tokens(model: ModelConfig, usage: TokenUsage | None, prompt: int) -> int:
    """Return the tokens that a provider's cache holds after an answer.

    Anthropic caches what the client marks, and reports it. The others cache each long prompt by themselves.
    """
    if model.type == "anthropic":
        return 0 if usage is None else usage.cached + usage.cache_written
    return prompt if prompt >= model.prompt_cache.min_tokens else 0
