"""One budget for a whole stream of prompts: a price on cost that moves until the mean cost meets the target."""

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64

from p2l.errors import ConfigError, DataError
from p2l.routing.stream_state import StreamFile, StreamState

GAIN = 0.1  # log price for one typical deviation of debt; 0.05 to 0.2 serve the same
_DRIFT = GAIN / 8  # of the resting price, for each request in units of GAIN: slow enough not to swing
_LARGEST_LOG = 50.0


class Spending(NamedTuple):
    """A choice on the stream: the model, the cost that was booked for it, and the price it was chosen at."""

    model: int
    cost: float
    price: float


class StreamBudget:
    """Chooses argmax score - price x cost, with a price that holds the mean cost of all requests at ``target``.

    A budget on each prompt buys little where a prompt is easy and cannot pay where it is hard; one price for all puts
    the money where it brings most, and is the optimum of the linear program over the whole stream (its dual). The price
    is log price = resting price + gain x debt / typical deviation, and the resting price follows the debt slowly: dual
    mirror descent with entropy (Balseiro, Lu and Mirrokni 2020, arXiv:2002.10421) and integral control, which leaves
    debt / requests -> 0. No knowledge of the costs or scores to come is needed; scores should be comparable between
    prompts: win rates (``optimal-lp``), or the probability of a usable answer (``simple-lp`` with grk).

    A model above the target is out of reach while it would overdraw the account by more than ``overdraft`` requests'
    worth, so that at costs as expected the mean is at most target x (1 + overdraft / requests), from the first request
    on; the cheapest model is never out of reach, and a target below its cost is spent on it alone. Not more than
    ``burst`` typical deviations of unspent money are saved up. ``settle`` books the true cost of a choice. Calls are
    atomic. The state is kept in the SQLite file ``path``, which processes may share: the account is then that of all of
    them, one for each target. A new target starts at the price that was last found.
    """

    def __init__(
        self, target: float, path: str | Path | None = None, *, overdraft: float = 10.0, burst: float = 100.0
    ) -> None:
        if not (math.isfinite(target) and target > 0):
            raise ConfigError(f"target: a finite mean cost above 0 is needed; got {target}")
        self.overdraft = overdraft
        self.burst = burst
        self._lock = threading.Lock()
        self._file = None if path is None else StreamFile(path, target)
        self.state = StreamState(target) if self._file is None else self._file.state()

    @property
    def price(self) -> float | None:
        """Score that one unit of cost must bring now; None before the first choice between a better and a cheaper."""
        state = self.state
        if state.log_price is None:
            return None
        return math.exp(min(_LARGEST_LOG, max(-_LARGEST_LOG, state.log_price - GAIN * state.credit / self._scale())))

    def choose(
        self,
        score: Float64[np.ndarray, " models"],
        cost: Float64[np.ndarray, " models"],
        mask: Bool[np.ndarray, " models"] | None = None,
    ) -> Spending:
        """The model of a request (of equal ones the cheapest), booked at its expected ``cost``."""
        models = np.arange(len(score)) if mask is None else mask.nonzero()[0]
        if not len(models):
            raise ConfigError("the mask leaves no model to choose from")
        score, cost = score[models], cost[models]
        if not (np.isfinite(score).all() and np.isfinite(cost).all()):
            raise DataError("finite scores and costs are needed for the models that may be chosen")
        with self._alone():
            if self.state.log_price is None:
                self.state = replace(self.state, log_price=_first_log_price(score, cost))
            price = self.price or 0.0
            value = np.where(self._in_reach(cost), score - price * cost, -np.inf)
            best = (value == value.max()).nonzero()[0]
            at = int(best[cost[best].argmin()])
            self._book(float(cost[at]), stuck=self._is_stuck(score, cost, at))
        return Spending(int(models[at]), float(cost[at]), price)

    def settle(self, spending: Spending, actual: float) -> None:
        """Replace the cost that was booked for a choice by the true one; 0 for a request that failed unbilled."""
        if not math.isfinite(actual):
            raise DataError(f"the cost of a request must be a finite number; got {actual}")
        with self._alone():
            state = self.state
            above, before = (actual - state.target) ** 2, (spending.cost - state.target) ** 2
            self.state = replace(state, square=max(0.0, state.square + above - before))
            self._spend(actual - spending.cost)

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One call at a time, on the state as the last call left it, be that in this process or another."""
        with self._lock:
            if self._file is None:
                yield
                return
            with self._file.alone():
                self.state = self._file.state()
                yield
                self._file.keep(self.state)

    def _in_reach(self, cost: np.ndarray) -> np.ndarray:
        state = self.state
        limit = max(state.credit + (1 + self.overdraft) * state.target, state.target)  # up to the target no debt grows
        return (cost <= limit) | (cost == cost.min())

    def _book(self, cost: float, *, stuck: bool) -> None:
        state = self.state
        square = state.square + (cost - state.target) ** 2
        self.state = replace(state, count=state.count + 1, square=square, credit=state.credit + state.target)
        self._spend(cost)
        if not stuck and state.log_price is not None:
            drift = GAIN * _DRIFT * self.state.credit / self._scale()
            resting = min(_LARGEST_LOG, max(-_LARGEST_LOG, state.log_price - drift))
            self.state = replace(self.state, log_price=resting)

    def _spend(self, cost: float) -> None:
        state = self.state
        credit = min(state.credit - cost, self.burst * self._scale())
        self.state = replace(state, spent=state.spent + float(cost), credit=float(credit))

    def _is_stuck(self, score: np.ndarray, cost: np.ndarray, at: int) -> bool:
        """Whether the choice is already the end that the credit pushes to, so that another price would not help."""
        return bool(score[at] == score.max() if self.state.credit > 0 else cost[at] == cost.min())

    def _scale(self) -> float:
        """A typical deviation of a cost, at least the target."""
        state = self.state
        return max(state.target, math.sqrt(state.square / state.count)) if state.count else state.target


def _first_log_price(score: np.ndarray, cost: np.ndarray) -> float | None:
    """What the step from the cheapest to the best model brings for a unit of cost; None where they are the same."""
    best, cheapest = int(score.argmax()), int(cost.argmin())
    gain, extra = float(score[best] - score[cheapest]), float(cost[best] - cost[cheapest])
    return math.log(gain / extra) if gain > 0 and extra > 0 else None
