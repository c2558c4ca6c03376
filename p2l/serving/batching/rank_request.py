"""A call of the batcher and its prompts, on their way from an event loop through the threads and back."""

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
class Call:
    """Prompts that are answered together; ``left`` counts those without a row."""

    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[list[Row]]"
    rows: list[Row | None]
    left: int
    given_up: bool = False

    @classmethod
    def of(cls, num_prompts: int) -> "Call":
        """A call of the running event loop."""
        loop = asyncio.get_running_loop()
        return cls(loop, loop.create_future(), [None] * num_prompts, num_prompts)

    def fail(self, error: Exception) -> None:
        """Answer with an error; on the event loop."""
        self.given_up = True
        if not self.future.done():
            self.future.set_exception(error)


@dataclass(eq=False)
class Item:
    """One prompt of a call; ``tokens`` is its size, or the estimate of it before it is encoded."""

    call: Call
    position: int
    prompt: Prompt
    tokens: int
    ids: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int32))

    @property
    def wanted(self) -> bool:
        return not self.call.given_up


def each_or_alone(
    items: list[Item], run: Callable[[list[Item]], None], blame: Callable[[Item, Exception], None]
) -> list[Item]:
    """Run all items together; if that fails, each alone. Returns those that went well, the others are blamed."""
    try:
        run(items)
    except Exception as error:
        if len(items) == 1:
            blame(items[0], error)
            return []
        return [item for one in items for item in each_or_alone([one], run, blame)]
    return items


def answer(items: Sequence[Item]) -> None:
    """Hand over the answers of the calls that have all of theirs, with one wake-up of each event loop."""
    complete: dict[asyncio.AbstractEventLoop, list[Call]] = {}
    for item in items:
        item.call.left -= 1
        if not item.call.left:
            complete.setdefault(item.call.loop, []).append(item.call)
    for loop, calls in complete.items():
        call_soon(loop, _deliver, calls)


def call_soon(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *arguments: object) -> None:
    """Call a function on an event loop; from any thread."""
    # closed: the server was stopped without waiting for its answers
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(function, *arguments)


def ranking_of(rows: Sequence[Row]) -> Ranking:
    """The rows as one ranking."""
    coefs = torch.from_numpy(np.stack([coefs for coefs, _ in rows]))
    eta = [eta for _, eta in rows if eta is not None]
    return Ranking(coefs, torch.tensor(eta, dtype=torch.float32) if eta else None)


def _deliver(calls: list[Call]) -> None:
    for call in calls:
        if not call.future.done():
            call.future.set_result(cast(list[Row], call.rows))
