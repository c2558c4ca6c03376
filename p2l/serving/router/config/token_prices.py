"""Prices of tokens, and the lengths that a mean cost is computed from."""

from dataclasses import dataclass, fields

from p2l.errors import ConfigError
from p2l.serving.router.config.value_checks import check_not_negative


@dataclass(frozen=True)
class LongPromptPrices:
    """Prices of a request whose prompt has more than ``tokens`` tokens: they hold for all its tokens.

    The other attributes are those of ``Prices``.
    """

    tokens: int
    input: float
    output: float
    cached_input: float | None = None
    cache_write: float | None = None
    cache_write_hour: float | None = None

    def __post_init__(self) -> None:
        _check(self)
        if self.tokens < 1:
            raise ConfigError(f"tokens must be a positive number; got {self.tokens}")


@dataclass(frozen=True)
class Prices:
    """Price of a million tokens, in the unit of ``cost``.

    Attributes:
        cached_input: of tokens read from the provider's cache; None: a tenth of ``input`` for type ``anthropic``, else
            ``input``, since the discount differs between models.
        cache_write: of tokens written to it, for five minutes; None: 1.25 times ``input``.
        cache_write_hour: of tokens written to it for an hour; None: twice ``input``.
        above: prices of long prompts.
        table: provider and model in the price table, if the prices come from there.
    """

    input: float
    output: float
    cached_input: float | None = None
    cache_write: float | None = None
    cache_write_hour: float | None = None
    above: tuple[LongPromptPrices, ...] = ()
    table: str | None = None

    def __post_init__(self) -> None:
        _check(self)
        bounds = [one.tokens for one in self.above]
        if bounds != sorted(set(bounds)):
            raise ConfigError(f"above: tokens must rise from one entry to the next; got {bounds}")

    def of_prompt(self, tokens: int) -> "Prices | LongPromptPrices":
        """Return the prices of a request whose prompt has this many tokens."""
        return next((one for one in reversed(self.above) if tokens > one.tokens), self)


@dataclass(frozen=True)
class PromptCache:
    """What is known of a provider's prompt cache; its prices are in ``Prices``.

    Attributes:
        ttl: seconds that it holds a prompt after its last use. Anthropic: 300, or an hour where a request asks for it.
            OpenAI: 300 to 600 in busy hours.
        min_tokens: of the shortest prompt that it holds.
    """

    ttl: float = 300.0
    min_tokens: int = 1024

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True)
class TypicalTokens:
    """Mean numbers of tokens of a prompt and of an answer, for models whose ``cost`` is left out."""

    input: float
    output: float

    def __post_init__(self) -> None:
        _check(self)

    def cost(self, prices: Prices) -> float:
        """Return the price of an answer of these lengths."""
        found = prices.of_prompt(int(self.input))
        return (self.input * found.input + self.output * found.output) / 1e6


def _check(found: object) -> None:
    """Raise ConfigError for a number below 0."""
    for field in fields(found):  # type: ignore[arg-type]  # each is a dataclass
        if isinstance(value := getattr(found, field.name), (int, float)):
            check_not_negative(value, field.name)
