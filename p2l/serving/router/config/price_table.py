"""Look up list prices of models in the table of the package genai-prices, in dollars for a million tokens."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from p2l.errors import ConfigError
from p2l.extras import check_modules
from p2l.serving.router.config.near_names import suggestion

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, Provider

_VENDORS = {"openai": "openai", "openai-reasoning": "openai", "openai-o1": "openai"}
_VENDORS |= {"anthropic": "anthropic", "gemini": "google"}
# names of prices here and there
_TOKEN_PRICES = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cached_input": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "cache_write_hour": "cache_write_1h_mtok",
}


@dataclass(frozen=True)
class ListedPrices:
    """What the table says of a model today.

    Attributes:
        name: provider and model, as the table calls them.
        values: of ``Prices``, by name.
        not_used: prices that the router does not know, such as those of audio.
        changes: the next day from which the table has other prices; None if it names none.
    """

    name: str
    values: Mapping[str, Any]
    not_used: tuple[str, ...] = ()
    changes: date | None = None

    @property
    def notes(self) -> list[str]:
        """What the prices do not say."""
        other = f"the router does not charge {', '.join(self.not_used)}" if self.not_used else None
        later = f"its prices change on {self.changes}: reload the configuration then" if self.changes else None
        return [note for note in (other, later) if note]


class PriceTable:
    """The table that is installed; it is part of the package, so that nothing is downloaded.

    Args:
        today: what the prices hold for, UTC; None: now.

    Raises ConfigError if the package is not installed.
    """

    def __init__(self, today: datetime | None = None) -> None:
        check_modules(("genai_prices",), "a price table", "prices")
        from genai_prices.data import providers  # 30 MB: only where it is used

        self.today = today or datetime.now(timezone.utc)
        self._providers: Mapping[str, Provider] = {provider.id: provider for provider in providers}

    def find(self, kind: str, name: str, base_url: str | None) -> ListedPrices:
        """Return the prices of what a model's configuration calls.

        Args:
            kind: its ``type``; names of ``litellm`` begin with the provider.
            name: what the provider calls it.
            base_url: of the provider; None: the vendor's.

        Raises ConfigError if the provider or the model is unknown.
        """
        if kind == "litellm":
            return self.listed(name)
        if base_url is None:
            if kind not in _VENDORS:
                raise ConfigError(f"type {kind!r} has no vendor in the price table")
            return self._listed(self._providers[_VENDORS[kind]], name)
        known = [one for one in self._providers.values() if re.match(one.api_pattern, base_url)]
        if not known:
            raise ConfigError("the price table knows no provider at this base_url; give table: <provider>/<model>")
        return self._listed(known[0], name)

    def listed(self, reference: str) -> ListedPrices:
        """Return the prices of ``provider/model``; ConfigError if either is unknown."""
        provider, separator, name = reference.partition("/")
        if not separator or not name:
            raise ConfigError(f"expected <provider>/<model>, such as openai/gpt-4o; got {reference!r}")
        if provider not in self._providers:
            hint = suggestion(provider, self._providers) or f"; it knows {', '.join(self._providers)}"
            raise ConfigError(f"the price table has no provider {provider!r}{hint}")
        return self._listed(self._providers[provider], name)

    def search(self, text: str) -> list[ListedPrices]:
        """Return the models of all providers whose name holds the text."""
        found = []
        for provider in self._providers.values():
            for model in provider.models:
                if text.lower() in f"{provider.id}/{model.id}".lower() and (prices := self._priced(provider, model)):
                    found.append(prices)
        return found

    @property
    def newest(self) -> date:
        """The latest day, not after today, from which a price of the table holds: the table is not older than that."""
        days = [
            day
            for provider in self._providers.values()
            for model in provider.models
            for day in _start_days(model)
            if day <= self.today.date()
        ]
        return max(days)

    def _listed(self, provider: "Provider", name: str) -> ListedPrices:
        model = provider.find_model(name, all_providers=list(self._providers.values()))
        if model is None:
            known = {one.id: one for one in provider.models}
            raise ConfigError(
                f"the price table has no model {name!r} of {provider.id}{suggestion(name, known)}; p2l prices --search "
                "lists names. Give prices, or table: <provider>/<model>"
            )
        if _depends_on_hour(model):
            raise ConfigError(f"the prices of {provider.id}/{model.id} depend on the hour of the day; give prices")
        if (found := self._priced(provider, model)) is None:
            raise ConfigError(f"the price table has no price of a text token of {provider.id}/{model.id}; give prices")
        return found

    def _priced(self, provider: "Provider", model: "ModelInfo") -> ListedPrices | None:
        """Return the prices of a model; None if it has none for tokens of text, or they depend on the hour."""
        if _depends_on_hour(model):
            return None
        prices = {name: price for name, price in vars(model.get_prices(self.today)).items() if price is not None}
        if "input_mtok" not in prices or "output_mtok" not in prices:
            return None
        other = sorted(set(prices) - set(_TOKEN_PRICES.values()))
        changes = min((day for day in _start_days(model) if day > self.today.date()), default=None)
        return ListedPrices(f"{provider.id}/{model.id}", _values(prices), tuple(other), changes)


def _values(prices: Mapping[str, Any]) -> dict[str, Any]:
    """Return the prices by their names here, with those of long prompts under ``above``."""
    own = {ours: prices[theirs] for ours, theirs in _TOKEN_PRICES.items() if theirs in prices}
    bounds = sorted({tier.start for price in own.values() for tier in getattr(price, "tiers", ())})
    found: dict[str, Any] = {name: _at(price, 0) for name, price in own.items()}
    if bounds:
        found["above"] = [
            {"tokens": bound, **{name: _at(price, bound + 1) for name, price in own.items()}} for bound in bounds
        ]
    return found


def _at(price: Any, tokens: int) -> float:
    """Return the price of a prompt of this many tokens."""
    if isinstance(price, Decimal):
        return float(price)
    passed = [tier.price for tier in price.tiers if tokens > tier.start]
    return float(passed[-1] if passed else price.base)


def _start_days(model: "ModelInfo") -> list[date]:
    """Return the days from which the prices of a model that have a day hold."""
    return [one.constraint.start_date for one in _conditional(model) if hasattr(one.constraint, "start_date")]


def _depends_on_hour(model: "ModelInfo") -> bool:
    constraints = [one.constraint for one in _conditional(model)]
    return any(one is not None and not hasattr(one, "start_date") for one in constraints)


def _conditional(model: "ModelInfo") -> list[Any]:
    return [*(model.prices if isinstance(model.prices, list) else []), *(model.price_variants or ())]
