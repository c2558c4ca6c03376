"""A stream budget: one price on cost for all prompts, adapted until the mean cost meets the target."""

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64

from p2l.errors import ConfigError, DataError
from p2l.options import check_number
from p2l.routing.stream_budget_state import StreamBudgetFile, StreamBudgetState

GAIN = 0.1  # change of log price for a debt of one typical deviation; 0.05 to 0.2 perform alike from a cold start
_DRIFT = 1 / 8  # gain of the resting price, for each request, over that of the price; slow enough not to oscillate
_LARGEST_LOG = 50.0


# price and models that may be chosen -> probability of each model
DrawnPolicy = Callable[[float, Bool[np.ndarray, " models"]], Float64[np.ndarray, " models"]]


class Spending(NamedTuple):
    """One choice: the model, the cost booked for it, the price at that moment, and the reading that chose it."""

    model: int
    cost: float
    price: float
    reading: int = 0


class StreamBudget:
    """Chooses argmax score - price x cost, with a price that holds the mean cost of all requests at ``target``.

    A budget on each prompt gains little on easy prompts and cannot pay for hard ones. One price for all prompts spends
    where the gain is largest: it is the dual optimum of the linear program over the whole stream. log price = resting
    price + gain x debt / typical deviation; the resting price follows the debt slowly. This is dual mirror descent with
    entropy (Balseiro, Lu and Mirrokni 2020, arXiv:2002.10421) and integral control, so debt / requests -> 0. It needs
    no knowledge of future costs or scores. Scores should be comparable between prompts: win rates (``optimal-lp``), or
    the probability of a usable answer (``simple-lp`` with grk).

    A model above the target is not chosen while it would overdraw the account by more than ``overdraft`` requests. If
    costs are as expected, the mean is therefore at most target x (1 + overdraft / requests), from the first request.
    The cheapest model can always be chosen. At most ``burst`` typical deviations of unspent money are saved.

    Calls are atomic. Processes may share the SQLite file ``path``: it has one account for each target. A new target
    starts at the last price.

    Args:
        target: mean cost of a request.
        path: file of the state; None keeps it in memory.
        overdraft, burst: limits of debt and of savings, see above.
        gain: change of log price for a debt of one typical deviation. If the state brings a price that is known from
            similar traffic, a smaller one wastes less on swings of the price; from a cold start it is slow.
    """

    def __init__(
        self,
        target: float,
        path: str | Path | None = None,
        *,
        overdraft: float = 10.0,
        burst: float = 100.0,
        gain: float = GAIN,
    ) -> None:
        if not (math.isfinite(target) and target > 0):
            raise ConfigError(f"target: a finite mean cost above 0 is needed; got {target}")
        check_number("gain", gain, above=0)
        self.gain = gain
        self.overdraft = overdraft
        self.burst = burst
        self._lock = threading.Lock()
        self._file = None if path is None else StreamBudgetFile(path, target)
        self.state = StreamBudgetState(target) if self._file is None else self._file.load()

    @property
    def price(self) -> float | None:
        """Score that one unit of cost must gain; None before the first choice between a better and a cheaper model."""
        state = self.state
        if state.log_price is None:
            return None
        log_price = state.log_price - self.gain * state.credit / self._scale()
        return math.exp(min(_LARGEST_LOG, max(-_LARGEST_LOG, log_price)))

    def choose(
        self,
        score: Float64[np.ndarray, "*readings models"],
        cost: Float64[np.ndarray, " models"],
        mask: Bool[np.ndarray, " models"] | None = None,
    ) -> Spending:
        """Return the model of a request (among equals the cheapest), and book its expected ``cost``.

        With several rows of scores, one for each reading of the prompt (``p2l.routing.erased_tail``), the cheapest of
        the models that they choose.
        """
        models = np.arange(len(cost)) if mask is None else mask.nonzero()[0]
        if not len(models):
            raise ConfigError("the mask leaves no model to choose from")
        rows, cost = np.atleast_2d(score)[:, models], cost[models]
        if not (np.isfinite(rows).all() and np.isfinite(cost).all()):
            raise DataError("finite scores and costs are needed for the models that may be chosen")
        with self._exclusive():
            if self.state.log_price is None:
                self.state = replace(self.state, log_price=_first_log_price(rows[0], cost))
            price = self.price or 0.0
            chosen = [self._best(row, cost, price) for row in rows]
            reading = min(range(len(rows)), key=lambda one: cost[chosen[one]])
            at = chosen[reading]
            self._book(float(cost[at]), stuck=self._is_stuck(rows[reading], cost, at))
        return Spending(int(models[at]), float(cost[at]), price, reading)

    def _best(self, score: np.ndarray, cost: np.ndarray, price: float) -> int:
        value = np.where(self._affordable(cost), score - price * cost, -np.inf)
        best = (value == value.max()).nonzero()[0]
        return int(best[cost[best].argmin()])

    def draw(
        self,
        score: Float64[np.ndarray, " models"],
        cost: Float64[np.ndarray, " models"],
        able: Bool[np.ndarray, " models"],
        policy: DrawnPolicy,
        rng: np.random.Generator,
    ) -> tuple[Spending, Float64[np.ndarray, " models"]]:
        """Draw the model of a request as a policy says, book its cost, and return the probabilities too.

        The policy gets the price, and the models that the account can afford.
        """
        if not (np.isfinite(score[able]).all() and np.isfinite(cost[able]).all() and able.any()):
            raise DataError("a model that may be chosen is needed, with a finite score and cost for each of them")
        with self._exclusive():
            if self.state.log_price is None:
                self.state = replace(self.state, log_price=_first_log_price(score[able], cost[able]))
            price, affordable = self.price or 0.0, able.copy()
            affordable[able] = self._affordable(cost[able])
            probabilities = policy(price, affordable)
            at = int(rng.choice(len(probabilities), p=probabilities))
            models = able.nonzero()[0]
            stuck = self._is_stuck(score[models], cost[models], int(np.flatnonzero(models == at)[0]))
            self._book(float(cost[at]), stuck=stuck)
        return Spending(at, float(cost[at]), price), probabilities

    def settle(self, spending: Spending, actual: float) -> None:
        """Replace the booked cost of a choice by the actual cost; 0 for a failed request without charge."""
        if not math.isfinite(actual):
            raise DataError(f"the cost of a request must be a finite number; got {actual}")
        with self._exclusive():
            state = self.state
            above, before = (actual - state.target) ** 2, (spending.cost - state.target) ** 2
            self.state = replace(state, square=max(0.0, state.square + above - before))
            self._spend(actual - spending.cost)

    def fail_if_locked(self) -> None:
        """From now on, raise sqlite3.OperationalError at once if another process locks the file, and change nothing."""
        if self._file is not None:
            self._file.fail_if_locked()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Run one call at a time, on the state that the last call left, in this or another process."""
        with self._lock:
            if self._file is None:
                yield
                return
            with self._file.transaction():
                self.state = self._file.load()
                yield
                self._file.save(self.state)

    def _affordable(self, cost: np.ndarray) -> np.ndarray:
        state = self.state
        limit = max(state.credit + (1 + self.overdraft) * state.target, state.target)  # up to it no debt
        return (cost <= limit) | (cost == cost.min())

    def _book(self, cost: float, *, stuck: bool) -> None:
        state = self.state
        square = state.square + (cost - state.target) ** 2
        self.state = replace(state, count=state.count + 1, square=square, credit=state.credit + state.target)
        self._spend(cost)
        if not stuck and state.log_price is not None:
            drift = self.gain * (self.gain * _DRIFT) * self.state.credit / self._scale()
            resting = min(_LARGEST_LOG, max(-_LARGEST_LOG, state.log_price - drift))
            self.state = replace(self.state, log_price=resting)

    def _spend(self, cost: float) -> None:
        state = self.state
        credit = min(state.credit - cost, self.burst * self._scale())
        self.state = replace(state, spent=state.spent + float(cost), credit=float(credit))

    def _is_stuck(self, score: np.ndarray, cost: np.ndarray, at: int) -> bool:
        """Return whether the choice is already the extreme that the credit pushes to, so no price could change it."""
        return bool(score[at] == score.max() if self.state.credit > 0 else cost[at] == cost.min())

    def _scale(self) -> float:
        """Return a typical deviation of a cost, at least the target."""
        state = self.state
        return max(state.target, math.sqrt(state.square / state.count)) if state.count else state.target


def _first_log_price(score: np.ndarray, cost: np.ndarray) -> float | None:
    """Return the log gain in score per unit of cost from the cheapest to the best model; None if they are the same."""
    best, cheapest = int(score.argmax()), int(cost.argmin())
    gain, extra = float(score[best] - score[cheapest]), float(cost[best] - cost[cheapest])
    return math.log(gain / extra) if gain > 0 and extra > 0 else None
