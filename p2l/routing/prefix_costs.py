"""What the beginning of a conversation costs at each model: read from its prompt cache, or entered into it first."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np
from jaxtyping import Bool, Float64

from p2l.errors import ConfigError


class CachePrices(NamedTuple):
    """How a model charges for a token of the beginning of a prompt, in the unit of the costs.

    Attributes:
        plain: sent without a cache.
        entered: sent and kept in the cache, from then on.
        cached: read from the cache.
        least: tokens of the shortest beginning that is cached.
        longer: the same prices for longer prompts: more tokens than the first number, then plain, entered and cached.
    """

    plain: float
    entered: float
    cached: float
    least: int = 1024
    longer: tuple[tuple[int, float, float, float], ...] = ()


class PrefixCosts(NamedTuple):
    """Costs of the beginning of one conversation, by model.

    Attributes:
        read: of each request, once the model's cache holds the beginning.
        enter: once more, for what the cache does not hold yet: the price of a switch to the model.
    """

    read: Float64[np.ndarray, " models"]
    enter: Float64[np.ndarray, " models"]

    def per_request(self, horizon: float) -> Float64[np.ndarray, " models"]:
        """Return what to add to the cost of each of the ``horizon`` requests that a model is chosen for."""
        return self.read + self.enter / horizon


@final
@dataclass(frozen=True, eq=False)
class PrefixPrices:
    """The cache prices of all models. Create it with ``PrefixPrices.of``."""

    prices: Float64[np.ndarray, "3 models"]
    least: Float64[np.ndarray, " models"]
    longer: tuple[tuple[int, int, Sequence[float]], ...]

    @classmethod
    def of(cls, prices: Sequence[CachePrices | None]) -> "PrefixPrices":
        """Create it from the prices of each model; None for a model whose tokens have no price.

        Raises ConfigError if a cached token costs more than one that enters the cache: there is nothing to keep.
        """
        found = [CachePrices(0.0, 0.0, 0.0) if one is None else one for one in prices]
        steps = [*(one[:3] for one in found), *(step[1:] for one in found for step in one.longer)]
        if wrong := [step for step in steps if not 0 <= step[2] <= step[1]]:
            raise ConfigError(f"a cached token must cost 0 or more, and not more than one that enters; got {wrong[0]}")
        columns = np.array([one[:4] for one in found], dtype=np.float64).reshape(-1, 4).T
        longer = [(at, bound, step) for at, one in enumerate(found) for bound, *step in sorted(one.longer)]
        return cls(columns[:3].copy(), columns[3].copy(), tuple(longer))

    def costs(
        self, tokens: int, held: Sequence[tuple[int, int]], uncached: Bool[np.ndarray, " models"] | None = None
    ) -> PrefixCosts:
        """Return the costs of a beginning of ``tokens``.

        read = tokens x cached price; enter = (tokens - held) x (entered - cached price). Where nothing is cached,
        read = tokens x plain price and enter = 0, so that leaving such a model costs nothing.

        Args:
            tokens: of the beginning.
            held: models whose cache holds some of the beginning, with how many tokens.
            uncached: models that do not cache this conversation; None: all cache what is long enough.
        """
        prices = self.prices
        if any(tokens > bound for _, bound, _ in self.longer):
            prices = prices.copy()
            for at, bound, step in self.longer:
                if tokens > bound:
                    prices[:, at] = step
        plain, entered, cached = prices
        lacking = np.full(len(plain), float(tokens))
        for at, own in held:
            lacking[at] = max(0, tokens - own)
        caches = tokens >= self.least if uncached is None else (tokens >= self.least) & ~uncached
        return PrefixCosts(
            tokens * np.where(caches, cached, plain), np.where(caches, lacking * (entered - cached), 0.0)
        )
