"""The cost of a prompt with each LLM, from a price list."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64

from p2l.data.measured_scores import CHARACTERS_PER_TOKEN
from p2l.data.prompt_encoder import Prompt, turns_of
from p2l.errors import ConfigError
from p2l.options import check_number, check_prices

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
        check_number("output_tokens", self.output_tokens, least=0)
        check_prices(self.dollars)

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
