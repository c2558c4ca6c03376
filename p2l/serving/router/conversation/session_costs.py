"""What a request's conversation adds to the cost of each model: the price of its beginning, read or entered."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from jaxtyping import Bool, Float64

from p2l.routing.prefix_costs import CachePrices, PrefixCosts, PrefixPrices
from p2l.serving.router.accounts.pricing import cached_price, write_price
from p2l.serving.router.chat_request import JSON, ChatRequest
from p2l.serving.router.config.server_config import ModelConfig, ServerConfig
from p2l.serving.router.config.token_prices import LongPromptPrices, Prices
from p2l.serving.router.conversation.prompt_caches import CachedPrompt
from p2l.serving.router.token_estimates import estimate_prompt_tokens


@dataclass(frozen=True)
class Conversation:
    """What is known of a request's conversation.

    Attributes:
        before: the model that answered last.
        tokens: of its beginning, which the next model reads or enters: the last prompt.
        held: tokens of it that the provider's cache of each model holds.
        is_marked: whether the client marks what Anthropic is to cache.
    """

    before: str
    tokens: int
    held: dict[str, int]
    is_marked: bool

    @classmethod
    def of(cls, known: Sequence[CachedPrompt], request: ChatRequest) -> "Conversation | None":
        """Create it from what is known, the last answer first; None for a new conversation.

        A conversation whose estimated length has become shorter has been summarised by the agent.
        """
        if not known:
            return None
        last = known[0]
        estimate = estimate_prompt_tokens(request.as_chat)
        share = min(1.0, estimate / last.estimate) if last.estimate else 1.0
        tokens = int(last.prompt * share)
        held = {one.model: min(one.cached, tokens) for one in known if one.cached}
        return cls(last.model, tokens, held, has_cache_marks(request))


@dataclass(frozen=True, eq=False)
class SessionCosts:
    """Costs of a conversation at the models that are ranked.

    Attributes:
        conversation: the costs are those of.
        prefix: costs of its beginning.
        horizon: requests that a switch is expected to last.
        score_per_cost: score that a unit of cost must gain if no budget prices it; None: none.
    """

    conversation: Conversation
    prefix: PrefixCosts
    horizon: float
    score_per_cost: float | None

    def is_priced(self, budget: float | None) -> bool:
        """Return whether something says what a cost is worth, so that these costs can count."""
        return budget is not None or self.score_per_cost is not None

    @property
    def added(self) -> Float64[np.ndarray, " models"]:
        """What to add to the cost of a request."""
        return self.prefix.per_request(self.horizon)


class SessionPrices:
    """The cache prices of the models that are ranked, in the order of ``names``."""

    def __init__(self, config: ServerConfig, names: tuple[str, ...]) -> None:
        models = [config.model_configs.get(name) for name in names]
        self._prices = PrefixPrices.of([None if model is None else _cache_prices(model) for model in models])
        self._needs_marks: Bool[np.ndarray, " models"] = np.array(
            [model is not None and model.type == "anthropic" for model in models], dtype=bool
        )
        self._index = {name: at for at, name in enumerate(names)}
        self._sessions = config.router.sessions

    def costs(self, conversation: Conversation) -> SessionCosts:
        """Return the costs of a conversation at each model."""
        held = [(self._index[name], tokens) for name, tokens in conversation.held.items() if name in self._index]
        uncached = None if conversation.is_marked else self._needs_marks
        prefix = self._prices.costs(conversation.tokens, held, uncached)
        return SessionCosts(conversation, prefix, self._sessions.horizon, self._sessions.score_per_cost)


def _cache_prices(model: ModelConfig) -> CachePrices | None:
    """Return the prices of a token; None for a model without prices, whose cost does not depend on tokens."""
    if model.prices is None:
        return None
    above = [(one.tokens, *_steps(model, one)) for one in model.prices.above]
    return CachePrices(*_steps(model, model.prices), model.prompt_cache.min_tokens, tuple(above))


def _steps(model: ModelConfig, prices: Prices | LongPromptPrices) -> tuple[float, float, float]:
    entered = write_price(prices) if model.type == "anthropic" else prices.input
    cached = min(cached_price(model, prices), entered)
    return prices.input / 1e6, entered / 1e6, cached / 1e6


def has_cache_marks(request: ChatRequest) -> bool:
    """Return whether the client marks what is to be cached, as Anthropic's API wants it."""
    if "cache_control" in request.body:
        return True
    tools = [tool for tool in request.as_chat.get("tools") or () if isinstance(tool, dict)]
    parts = (part for message in request.messages for part in (message, *_parts(message)))
    return any("cache_control" in part for part in chain(tools, parts))


def _parts(message: JSON) -> list[JSON]:
    content = message.get("content")
    return [*(content if isinstance(content, list) else ()), *(message.get("tool_calls") or ())]
