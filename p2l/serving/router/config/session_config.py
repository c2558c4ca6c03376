"""The section ``router.sessions``: how long a conversation stays with its model."""

from dataclasses import dataclass
from typing import Literal

from p2l.errors import ConfigError
from p2l.options import check_count, check_number

SessionMode = Literal["sticky", "sticky_tools", "per_turn"]


@dataclass(frozen=True)
class SessionConfig:
    """How long a conversation stays with its model.

    Attributes:
        mode: ``sticky``: while the model can answer. ``sticky_tools``: until the user says something, so through the
            loops of tool calls. ``per_turn``: each request is decided.
        from_text: whether system prompt, tools and first turn of the user name the session if the client does not.
        horizon: requests that a switch is expected to last; its price is spread over them.
        score_per_cost: score that a unit of cost must gain at a switch, for requests that no budget prices; None: the
            best score wins, whatever the switch costs.
        escalate_after: equal errors of one tool in a row after which a better model is chosen; None: never.
    """

    mode: SessionMode = "sticky"
    from_text: bool = False
    horizon: float = 2.0
    score_per_cost: float | None = None
    escalate_after: int | None = None

    def __post_init__(self) -> None:
        check_number("horizon", self.horizon, least=1.0)
        if self.score_per_cost is not None:
            check_number("score_per_cost", self.score_per_cost, above=0)
        if self.escalate_after is not None:
            check_count("escalate_after", self.escalate_after, least=2)
        if self.mode == "sticky" and self.score_per_cost is not None:
            raise ConfigError("score_per_cost has no effect in mode sticky: sessions do not switch there")
