"""What the batcher reports of its work."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class Observer(Protocol):
    """Counts the work of the batcher, which calls it from its threads and from event loops."""

    def batch_done(self, prompts: int, tokens: int, padded: int, seconds: float) -> None:
        """A batch of prompts has run; ``padded``: tokens with padding."""

    def repeated(self, answered: int, shared: int) -> None:
        """Prompts were answered from the cache, or share a computation that was under way."""

    def answers_cached(self, answers: int, size: int) -> None:
        """The cache of answers holds so many, and bytes."""

    def prefixes_cached(self, blocks: int, size: int, found: int) -> None:
        """The cache of prefixes holds so many blocks and bytes; ``found`` tokens of it have just been used."""

    def dropped(self, prompts: int) -> None: ...
    def refused(self, reason: str) -> None: ...
    def waiting(self, prompts: int, tokens: int) -> None: ...
