"""Why the batcher does not rank a prompt."""

from p2l.errors import P2LError


class OverloadedError(P2LError):
    """The queue is full; ``retry_after`` estimates the seconds until it has room again."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"the queue is full; retry in {retry_after} s")
        self.retry_after = retry_after


class TimedOutError(P2LError):
    """No result came within ``QueueLimits.seconds``."""


class ForwardError(P2LError):
    """The network cannot rank this prompt."""
