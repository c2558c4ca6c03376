"""Which models may answer one request."""

from dataclasses import dataclass

from p2l.serving.http.api_error import ApiError, invalid
from p2l.serving.router.chat_request import ChatRequest
from p2l.serving.router.config.server_config import KeyConfig, ServerConfig
from p2l.serving.router.selection.capabilities import Requirements, requirements_of


@dataclass(frozen=True)
class Eligibility:
    """The rules for one request: models permitted for the key, with the capabilities, within the budget."""

    config: ServerConfig
    request: ChatRequest
    key: KeyConfig
    required: Requirements

    @classmethod
    def of(cls, config: ServerConfig, request: ChatRequest, key: KeyConfig) -> "Eligibility":
        return cls(config, request, key, requirements_of(request))

    def includes(self, name: str) -> bool:
        """Return whether the model may answer."""
        model = self.config.model_configs.get(name)
        if model is None or not self.key.may_use(name) or self.required.missing(model):
            return False
        return self.request.budget is None or model.cost <= self.request.budget

    def check(self, name: str) -> None:
        """Raise ApiError if the model may not answer: 404 if it is unknown to the key, else 400 with the reason."""
        model = self.config.model_configs.get(name)
        if model is None or not self.key.may_use(name):
            raise ApiError(404, "direct_model is not one of this router's models: GET /v1/models", "model_not_found")
        if missing := self.required.missing(model):
            raise invalid(f"{name} does not support {', '.join(missing)}", code="unsupported")
        if self.request.budget is not None and model.cost > self.request.budget:
            raise infeasible_budget(name, model.cost, self.request.budget)


def infeasible_budget(cheapest: str, cost: float, budget: float) -> ApiError:
    message = f"no model that can answer this costs {budget:g} or less; the cheapest is {cheapest}, at {cost:g}"
    return invalid(message, "cost", "infeasible_budget")
