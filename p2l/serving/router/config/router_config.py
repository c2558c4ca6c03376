"""The section ``router``: how models are selected."""

import math
from dataclasses import dataclass, field

from p2l.errors import ConfigError
from p2l.options import check_count
from p2l.routing.risk import Risk, check_risk
from p2l.serving.router.config.session_config import SessionConfig
from p2l.serving.router.config.text_config import TextConfig
from p2l.serving.router.config.token_prices import TypicalTokens
from p2l.serving.router.config.value_checks import check_is_file, check_not_negative


@dataclass(frozen=True)
class RouterConfig:
    """How models are selected.

    Attributes:
        aliases: names of the router in ``/v1/models``.
        opponents: how often each model is met, for ``optimal-lp``; None: all alike.
        default_model: answers if prompts cannot be scored; None: an error.
        seed: of random scores and of the optimiser's draws.
        sessions: how long a conversation stays with its model, and what names it.
        session_ttl: seconds that an idle session stays with its model.
        thoughts_ttl: seconds that the thoughts behind tool calls are kept, for turns that need them back; 0: never.
        session_from_user: whether the field ``user`` names the session.
        mean_cost: target of the mean cost over all traffic (a stream budget).
        mean_cost_state: SQLite file that keeps the stream budget across restarts; None: that of ``--state``.
        shrinkage: file of a ``Shrinkage`` that is applied to all scores.
        risk: quantile of the scores to route by, or "expected": needs a P2L model with a posterior in this process.
        erase_tail: characters at the end of a prompt without which it is scored too; the cheaper decision is taken.
        text_from: which text of a request the models are chosen by.
        cost_unit: unit of all costs here, such as "dollars"; needed if some are predicted and some are numbers. It must
            be that of the predictions.
        typical_tokens: mean lengths, from which the cost of a model with prices and without ``cost`` is computed.
        price_table_days: start warns of a price table whose newest dated price is older.
        strict_models: whether a request that names an unknown model gets 404 instead of a routed answer.
    """

    aliases: tuple[str, ...] = ("p2l-router",)
    opponents: dict[str, float] | None = None
    default_model: str | None = None
    seed: int | None = None
    sessions: SessionConfig = field(default_factory=SessionConfig)
    session_ttl: float = 3600.0
    thoughts_ttl: float = 86400.0
    session_from_user: bool = False
    mean_cost: float | None = None
    mean_cost_state: str | None = None
    shrinkage: str | None = None
    risk: Risk | None = None
    erase_tail: int | None = None
    text_from: TextConfig = field(default_factory=TextConfig)
    cost_unit: str | None = None
    strict_models: bool = False
    typical_tokens: TypicalTokens | None = None
    price_table_days: float = 120.0

    def __post_init__(self) -> None:
        if self.mean_cost is not None and not (math.isfinite(self.mean_cost) and self.mean_cost > 0):
            raise ConfigError(f"mean_cost must be a finite number above 0; got {self.mean_cost}")
        if self.risk is not None:
            check_risk(self.risk)
            if self.shrinkage is not None:
                raise ConfigError(
                    "risk goes without shrinkage, which was fitted to the scores of the estimates; leave one out"
                )
        if self.erase_tail is not None:
            check_count("erase_tail", self.erase_tail)
        if not all(alias.strip() for alias in self.aliases) or len(set(self.aliases)) < len(self.aliases):
            raise ConfigError("aliases: every name must differ from the others, and none may be empty")
        if self.mean_cost_state is not None and self.mean_cost is None:
            raise ConfigError("mean_cost_state needs mean_cost")
        if self.mean_cost_state is not None:
            check_is_file(self.mean_cost_state, "mean_cost_state")
        check_not_negative(self.session_ttl, "session_ttl")
        check_not_negative(self.thoughts_ttl, "thoughts_ttl")
        check_not_negative(self.price_table_days, "price_table_days")
        for name, weight in (self.opponents or {}).items():
            check_not_negative(weight, f"opponents.{name}")
        if self.opponents is not None and not any(self.opponents.values()):
            raise ConfigError("opponents: at least one weight above 0 is needed; leave opponents out for all alike")
