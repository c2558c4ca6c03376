"""What the router knows about one request while it answers it."""

import uuid
from dataclasses import dataclass, field
from typing import Any

from p2l.serving.router.accounts.reservations import Reservation
from p2l.serving.router.chat_request import JSON, ChatRequest
from p2l.serving.router.config.server_config import KeyConfig, ModelConfig, ServerConfig
from p2l.serving.router.selection.routing_plan import RoutingPlan
from p2l.serving.router.upstream.fallback_client import UpstreamResult


@dataclass
class CompletionContext:
    """The data of one request; ``completion`` fills it in.

    Attributes:
        config: configuration at the start of the request; a reload does not change it.
        key: client key.
        request: as parsed by the API.
        plan: models to call, in order.
        reservation: amount held in the key's budget.
        started: ``time.perf_counter`` at the start.
        span: trace span of the request; None without tracing.
        id: of the decision; feedback names it.
        upstream: result of the model that answered; None until then.
        usage: tokens reported by the model, with the field names of chat completions.
        output_characters: length of the output so far, if the model has prices.
        status: ``ok``, the reason of a broken stream, or ``left`` if the client left before the end.
    """

    config: ServerConfig
    key: KeyConfig
    request: ChatRequest
    plan: RoutingPlan
    reservation: Reservation
    started: float
    span: Any
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    upstream: UpstreamResult | None = None
    usage: JSON | None = None
    output_characters: int = 0
    status: str = "left"

    @property
    def result(self) -> UpstreamResult:
        """The result of the model that answered."""
        assert self.upstream is not None, "no model has answered yet"
        return self.upstream

    @property
    def model(self) -> ModelConfig:
        """The configuration of the model that answered."""
        return self.config.model_configs[self.result.model]
