"""Render the rankings of many prompts as named leaderboards."""

import difflib
from typing import Any

import numpy as np
import torch

from p2l.errors import ConfigError
from p2l.ranking.leaderboard_table import compared
from p2l.serving.endpoint.interval_view import LEVEL, IntervalView
from p2l.serving.endpoint.ranking_service import RankedModels
from p2l.serving.endpoint.schemas import LeaderboardsRequest
from p2l.types import Ranking


class UnknownModelError(ConfigError):
    """A request names a model that the checkpoint does not rank."""


class NoCostsError(ConfigError):
    """A request asks for costs that the checkpoint does not predict."""


class NoPosteriorError(ConfigError):
    """A request asks for intervals that the checkpoint does not have."""


class LeaderboardView:
    """Selects the models, the number of entries and the comparisons that one request asks for.

    Raises UnknownModelError, with the nearest names, if the checkpoint does not rank a model, and NoCostsError or
    NoPosteriorError if the request asks for costs or intervals that the checkpoint does not have.
    """

    def __init__(self, request: LeaderboardsRequest, ranked: RankedModels) -> None:
        if request.costs and ranked.cost_facts is None:
            raise NoCostsError("costs: the checkpoint predicts no costs; leave the field out")
        if request.level is not None and ranked.posterior is None:
            raise NoPosteriorError(
                "level: the checkpoint has no intervals; p2l posterior adds them, or leave the field out"
            )
        models, self._family, self._costs = ranked.models, ranked.family, request.costs
        self._warning = ranked.warning
        self._position = {name: i for i, name in enumerate(models)}
        self._names = list(dict.fromkeys(request.models or models))
        self._columns = torch.tensor([self._find(name) for name in self._names])
        self._reference = None if request.reference is None else self._find(request.reference)
        self._pairs = [(self._find(a), self._find(b), a, b) for a, b in request.pairs]
        self._top_k = min(request.top_k or len(self._names), len(self._names))
        self._intervals = self._interval_view(ranked, request.level or LEVEL)

    def _interval_view(self, ranked: RankedModels, level: float) -> IntervalView | None:
        if ranked.posterior is None:
            return None
        return IntervalView(
            ranked.posterior,
            ranked.family,
            level,
            columns=self._columns.numpy(),
            comparable=compared(self._names, ranked.groups),
            reference=self._reference,
            pairs=np.array([pair[:2] for pair in self._pairs], dtype=np.int64).reshape(-1, 2),
        )

    def _find(self, name: str) -> int:
        if name in self._position:
            return self._position[name]
        near = difflib.get_close_matches(name, self._position, n=3, cutoff=0.4)
        hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else "; GET /models names all"
        raise UnknownModelError(f"unknown model {name[:200]!r}{hint}")

    def response(self, rankings: Ranking) -> dict[str, Any]:
        """Return a ``schemas.LeaderboardsResponse`` as plain containers."""
        facts = {"level": self._intervals and self._intervals.level, "warning": self._warning}
        known = {name: value for name, value in facts.items() if value}
        return {"family": self._family.name, "leaderboards": self._show(rankings), **known}

    def _show(self, rankings: Ranking) -> list[dict[str, Any]]:
        """Return one ``schemas.Leaderboard`` for each prompt."""
        coefs = rankings.coefs[:, self._columns]
        best, order = (values[:, : self._top_k] for values in coefs.sort(dim=-1, descending=True, stable=True))
        wins, costs = self._wins(rankings, best), self._costs_of(rankings, order)
        etas = [None] * len(coefs) if rankings.eta is None else rankings.eta.tolist()
        rows = zip(etas, order.tolist(), best.tolist(), wins, costs, self._outcomes(rankings), strict=True)
        shown = [
            {"eta": eta, "ranking": self._entries(places, values, win, cost), "pairs": pairs}
            for eta, places, values, win, cost, pairs in rows
        ]
        if self._intervals is None:
            return shown
        each = (rankings.map(lambda x: x[prompt]) for prompt in range(len(shown)))  # noqa: B023
        return [self._intervals.add(*one) for one in zip(shown, each, order.tolist(), strict=True)]

    def _entries(
        self, places: list[int], coefs: list[float], wins: list[float | None], costs: list[dict[str, float]]
    ) -> list[dict[str, Any]]:
        return [
            {"rank": rank, "model": self._names[place], "coef": coef, "win_probability": win, **cost}
            for rank, (place, coef, win, cost) in enumerate(zip(places, coefs, wins, costs, strict=True), start=1)
        ]

    def _costs_of(self, rankings: Ranking, order: torch.Tensor) -> list[list[dict[str, float]]]:
        """Return the part ``cost`` of each entry; NaN, which is null in JSON, for a model without a prediction."""
        if not self._costs or rankings.costs is None:
            return [[{}] * order.shape[1]] * len(order)
        costs = rankings.costs[:, self._columns].gather(1, order)
        return [[{"cost": cost} for cost in row] for row in costs.tolist()]

    def _wins(self, rankings: Ranking, best: torch.Tensor) -> list[list[float | None]]:
        if self._reference is None:
            return [[None] * best.shape[1]] * len(best)
        eta = None if rankings.eta is None else rankings.eta[:, None]
        reference = rankings.coefs[:, self._reference, None]
        return self._family.log_probs(best, reference, eta)[..., 0].exp().tolist()

    def _outcomes(self, rankings: Ranking) -> list[list[dict[str, Any]]]:
        if not self._pairs:
            return [[]] * len(rankings.coefs)
        a, b = (torch.tensor([pair[side] for pair in self._pairs]) for side in (0, 1))
        eta = None if rankings.eta is None else rankings.eta[:, None]
        probs = self._family.log_probs(rankings.coefs[:, a], rankings.coefs[:, b], eta).exp().tolist()
        return [
            [
                {"model_a": name_a, "model_b": name_b, "outcomes": dict(zip(self._family.outcomes, row, strict=True))}
                for (_, _, name_a, name_b), row in zip(self._pairs, rows, strict=True)
            ]
            for rows in probs
        ]
