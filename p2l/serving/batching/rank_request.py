"""A request to the batcher and its prompts, on their way from an event loop through the threads and back."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, cast

import numpy as np
import torch

from p2l.data.prompt_encoder import Prompt
from p2l.types import Ranking


class Row(NamedTuple):
    """The ranking of one prompt: its coefficients, eta, costs and state, as in ``Ranking``."""

    coefs: np.ndarray
    eta: float | None
    costs: np.ndarray | None = None
    state: np.ndarray | None = None

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in (self.coefs, self.costs, self.state) if array is not None)

    def own(self) -> "Row":
        """Return a row with arrays of its own that cannot be changed, instead of views of a batch."""
        return Row(_own(self.coefs), self.eta, *(None if x is None else _own(x) for x in (self.costs, self.state)))


def _own(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flags.writeable = False
    return array


@dataclass(eq=False)
class RankRequest:
    """Prompts that are answered together; ``num_pending`` counts those without a row, on the event loop only."""

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

    def answer(self, position: int, row: Row) -> None:
        """Set the row of one prompt whose answer is known. Use it on the event loop only."""
        self.rows[position] = row
        self.num_pending -= 1

    def fail(self, error: Exception) -> None:
        """Answer with an error. Use it on the event loop only."""
        self.is_abandoned = True
        if not self.future.done():
            self.future.set_exception(error)


@dataclass(eq=False)
class PendingPrompt:
    """One prompt that waits or runs, for one request or more.

    Attributes:
        prompt: the user turns.
        tokens: its cost in tokens: those that the network has to compute, or an estimate until it is encoded.
        spelling: digest of the turns, by which requests for the same prompt find this one.
        ids: its token ids, once it is encoded.
        row: its answer.
    """

    prompt: Prompt
    tokens: int
    spelling: bytes = b""
    ids: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int32))
    row: Row = field(default_factory=lambda: Row(np.zeros(0, dtype=np.float32), None))
    _waiters: list[tuple[RankRequest, int]] = field(default_factory=list)
    _is_open: bool = True
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def join(self, request: RankRequest, position: int) -> bool:
        """Answer this place of a request too; False if the prompt has been answered, failed or dropped."""
        with self._lock:
            if self._is_open:
                self._waiters.append((request, position))
            return self._is_open

    @property
    def wanted(self) -> bool:
        """Whether a request still waits; once none does, none can join: the prompt is dropped."""
        with self._lock:
            self._is_open = self._is_open and not all(request.is_abandoned for request, _ in self._waiters)
            return self._is_open

    def end(self) -> list[tuple[RankRequest, int]]:
        """Return the requests that wait, and the place of the prompt in each; none can join any more."""
        with self._lock:
            self._is_open = False
            return self._waiters


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
    """Give the rows of these prompts to their requests; answer those that are complete, each on its event loop.

    Lanes finish prompts of one request at the same time, so that only the event loop may count.
    """
    by_loop: dict[asyncio.AbstractEventLoop, list[RankRequest]] = {}
    for item in items:
        for request, position in item.end():
            request.rows[position] = item.row
            by_loop.setdefault(request.loop, []).append(request)
    for loop, requests in by_loop.items():
        call_soon(loop, _count_rows, requests)


def call_soon(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *arguments: object) -> None:
    """Run a function on an event loop, from any thread."""
    # a closed loop: the server was stopped without waiting for its responses
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(function, *arguments)


def ranking_of(rows: Sequence[Row]) -> Ranking:
    """Stack the rows into one ranking."""
    coefs = torch.from_numpy(np.stack([row.coefs for row in rows]))
    eta = [row.eta for row in rows if row.eta is not None]
    costs = [row.costs for row in rows if row.costs is not None]
    states = [row.state for row in rows if row.state is not None]
    return Ranking(
        coefs,
        torch.tensor(eta, dtype=torch.float32) if eta else None,
        *(torch.from_numpy(np.stack(parts)) if parts else None for parts in (costs, states)),
    )


def _count_rows(requests: list[RankRequest]) -> None:
    for request in requests:
        request.num_pending -= 1
        if not request.num_pending and not request.future.done():
            request.future.set_result(cast(list[Row], request.rows))
