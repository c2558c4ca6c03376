"""A request to the batcher and its prompts, on their way from an event loop through the threads and back."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch

from p2l.data.prompt_encoder import Prompt
from p2l.types import Ranking

# The coefficients of one prompt, and its eta.
Row = tuple[np.ndarray, float | None]


@dataclass(eq=False)
class RankRequest:
    """Prompts that are answered together; ``left`` counts those without a row."""

    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[list[Row]]"
    rows: list[Row | None]
    num_pending: int
    is_abandoned: bool = False

    @classmethod
    def of(cls, num_prompts: int) -> "RankRequest":
        """Return a request of the running event loop."""
        loop = asyncio.get_running_loop()
        return cls(loop, loop.create_future(), [None] * num_prompts, num_prompts)

    def fail(self, error: Exception) -> None:
        """Answer with an error. Use it on the event loop only."""
        self.is_abandoned = True
        if not self.future.done():
            self.future.set_exception(error)


@dataclass(eq=False)
class PendingPrompt:
    """One prompt of a request; ``tokens`` is its size, or an estimate until it is encoded."""

    request: RankRequest
    position: int
    prompt: Prompt
    tokens: int
    ids: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int32))

    @property
    def wanted(self) -> bool:
        return not self.request.is_abandoned


def run_batch_or_each(
    items: list[PendingPrompt],
    run: Callable[[list[PendingPrompt]], None],
    on_error: Callable[[PendingPrompt, Exception], None],
) -> list[PendingPrompt]:
    """Run all prompts together, or each alone if that fails; return those that succeed. ``on_error`` gets the rest."""
    try:
        run(items)
    except Exception as error:
        if len(items) == 1:
            on_error(items[0], error)
            return []
        return [item for one in items for item in run_batch_or_each([one], run, on_error)]
    return items


def deliver(items: Sequence[PendingPrompt]) -> None:
    """Deliver the requests that are complete, with one wake-up of each event loop."""
    complete: dict[asyncio.AbstractEventLoop, list[RankRequest]] = {}
    for item in items:
        item.request.num_pending -= 1
        if not item.request.num_pending:
            complete.setdefault(item.request.loop, []).append(item.request)
    for loop, requests in complete.items():
        call_soon(loop, _set_results, requests)


def call_soon(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *arguments: object) -> None:
    """Run a function on an event loop, from any thread."""
    # a closed loop: the server was stopped without waiting for its responses
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(function, *arguments)


def ranking_of(rows: Sequence[Row]) -> Ranking:
    """Stack the rows into one ranking."""
    coefs = torch.from_numpy(np.stack([coefs for coefs, _ in rows]))
    eta = [eta for _, eta in rows if eta is not None]
    return Ranking(coefs, torch.tensor(eta, dtype=torch.float32) if eta else None)


def _set_results(requests: list[RankRequest]) -> None:
    for request in requests:
        if not request.future.done():
            request.future.set_result(cast(list[Row], request.rows))
