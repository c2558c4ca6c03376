"""What the router knows about one request while it answers it."""

import uuid
from dataclasses import dataclass, field
from typing import Any

from p2l.serving.router.accounts.pricing import actual_cost
from p2l.serving.router.accounts.reservations import Reservation
from p2l.serving.router.chat_request import ChatRequest
from p2l.serving.router.config.key_config import KeyConfig
from p2l.serving.router.config.server_config import ModelConfig, ServerConfig
from p2l.serving.router.selection.routing_plan import RoutingPlan
from p2l.serving.router.upstream.fallback_client import UpstreamResult
from p2l.serving.router.upstream.thoughts import ThoughtRecorder


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
        request_id: the client's, else that of the decision.
        upstream: result of the model that answered; None until then.
        thoughts: of the answer so far.
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
    request_id: str = ""
    upstream: UpstreamResult | None = None
    thoughts: ThoughtRecorder = field(default_factory=ThoughtRecorder)
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

    @property
    def estimated_cost(self) -> float:
        """The cost of an answer of the model that answered: configured, or predicted for this prompt."""
        return self.plan.priced(self.config, self.result.model).fixed_cost

    @property
    def reason(self) -> str:
        """Why this model answered: the plan's reason, or ``key-budget`` if the key cannot pay for a better one."""
        return "key-budget" if self.result.unaffordable else self.plan.reason

    @property
    def certain_cost(self) -> float | None:
        """What the key is charged; None for a stream whose tokens or choices have not all come."""
        if self.request.stream and (self.model.prices is not None or self.request.num_choices > 1):
            return None
        return self.total_cost()

    @property
    def late_cost(self) -> float | None:
        """What the key is charged for a stream that has ended; None if its headers have stated it."""
        return self.total_cost() if self.certain_cost is None else None

    def cost(self, *, whole: bool) -> float:
        """Return what the answer costs; ``whole``: nothing more will come of it."""
        result, as_chat = self.result, self.request.as_chat
        return actual_cost(self.plan.priced(self.config, result.model), as_chat, result.tally, whole=whole)

    def total_cost(self) -> float:
        """Return what the key is charged once the answer is whole, for this and for earlier calls of the request."""
        charged = self.reservation.charged
        return charged if self.result.is_charged or self.reservation.is_over else charged + self.cost(whole=True)
