"""The cost of a prompt with each LLM, from a price list."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64

from p2l.data.prompt_encoder import Prompt, turns_of
from p2l.errors import ConfigError
from p2l.routing.evaluation.measured_scores import CHARACTERS_PER_TOKEN

PER = 1000  # costs are shown for this many requests
_MILLION = 1e6


@dataclass(frozen=True)
class Prices:
    """Dollars per million input and output tokens of some LLMs; LLMs without a price are not chosen.

    cost = ``PER`` x (input tokens x input price + output tokens x output price) / 10^6 dollars. An input token counts
    four characters. Raises ``ConfigError`` if a price is not two finite numbers of 0 or more.

    Attributes:
        dollars: LLM -> (input, output).
        output_tokens: tokens of an answer, the same for all LLMs.
    """

    dollars: Mapping[Any, Any]  # as in a file; checked here
    output_tokens: float = 500.0

    def __post_init__(self) -> None:
        if not 0 <= self.output_tokens < np.inf:
            raise ConfigError(f"output_tokens must be a finite number of 0 or more; got {self.output_tokens}")
        for name, price in self.dollars.items():
            if not isinstance(name, str):
                raise ConfigError(f"prices: {name!r} is a number to YAML; quote the name, as in '0613': [1, 2]")
            if not _is_price(price):
                raise ConfigError(
                    f"prices: dollars per million tokens are needed, [input, output], each 0 or more; "
                    f"{name} has {price!r}"
                )

    def costs(self, models: Sequence[str], prompt: Prompt) -> Float64[np.ndarray, " models"]:
        """Return dollars for ``PER`` requests with this prompt; NaN for an LLM without a price.

        Raises ``ConfigError`` if no LLM has a price.
        """
        if not any(name in self.dollars for name in models):
            raise ConfigError(
                f"prices: none of the checkpoint's LLMs ({', '.join(models[:3])}, ...) is in the list "
                f"({', '.join(list(self.dollars)[:3]) or 'which is empty'}, ...)"
            )
        dollars = np.array([self.dollars.get(name, (np.nan, np.nan)) for name in models], dtype=np.float64)
        tokens = np.array([sum(map(len, turns_of(prompt))) / CHARACTERS_PER_TOKEN, self.output_tokens])
        return dollars @ tokens * (PER / _MILLION)


def _is_price(price: object) -> bool:
    """Return whether a price is two finite numbers of 0 or more."""
    if isinstance(price, str) or not isinstance(price, Sequence) or len(price) != 2:
        return False
    return all(isinstance(dollars, (int, float)) and 0 <= dollars < np.inf for dollars in price)
