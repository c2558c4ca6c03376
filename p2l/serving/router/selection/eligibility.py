"""Which models may answer one request."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from p2l.serving.http.api_error import ApiError, invalid
from p2l.serving.router.chat_request import ChatRequest
from p2l.serving.router.config.key_config import KeyConfig
from p2l.serving.router.config.near_names import MAX_SHOWN, suggestion
from p2l.serving.router.config.server_config import ModelConfig, ServerConfig
from p2l.serving.router.selection.capabilities import Requirements, requirements_of
from p2l.serving.router.selection.routing_plan import PredictedCosts


@dataclass(frozen=True)
class Eligibility:
    """The rules for one request: models permitted for the key, with the capabilities, within the budget.

    ``costs``: mean cost of the models whose cost is predicted, which counts where no prompt is scored. A model that is
    missing there cannot answer: its cost is not known yet.
    """

    config: ServerConfig
    request: ChatRequest
    key: KeyConfig
    required: Requirements
    costs: PredictedCosts = field(default_factory=dict)

    @classmethod
    def of(
        cls, config: ServerConfig, request: ChatRequest, key: KeyConfig, costs: PredictedCosts | None = None
    ) -> "Eligibility":
        return cls(config, request, key, requirements_of(request), costs or {})

    def includes(self, name: str) -> bool:
        """Return whether the model may answer."""
        model = self.config.model_configs.get(name)
        if model is None or not self.key.may_use(name) or self.required.missing(model):
            return False
        cost, budget = self._cost(name, model), self.request.budget_per_choice
        return cost is not None and (budget is None or cost <= budget)

    def check(self, name: str, param: str) -> None:
        """Raise ApiError if the model may not answer: 404 if it is unknown to the key, else 400 with the reason.

        ``param``: the field of the request that names it.
        """
        model = self.config.model_configs.get(name)
        if model is None or not self.key.may_use(name):
            raise unknown_model(param, name, usable_models(self.config, self.key))
        if missing := self.required.missing(model):
            raise invalid(f"{name} does not support {', '.join(missing)}", code="unsupported")
        if (cost := self._cost(name, model)) is None:
            message = f"the cost of {name} is not known, since the P2L model cannot be reached; try again"
            raise ApiError(503, message, "scoring_failed", headers={"retry-after": "1"})
        if (budget := self.request.budget_per_choice) is not None and cost > budget:
            raise infeasible_budget(name, cost, self.request)

    def _cost(self, name: str, model: ModelConfig) -> float | None:
        if not model.predicts_cost:
            return model.fixed_cost
        return self.costs[name].expected if name in self.costs else None


def usable_models(config: ServerConfig, key: KeyConfig) -> list[str]:
    """Return the models that the key may use."""
    return [name for name in config.model_configs if key.may_use(name)]


def unknown_model(param: str, name: str, known: Iterable[str]) -> ApiError:
    """Return the error 404 for a name that the key does not know, with near names that it does."""
    message = f"{param}: {name[:MAX_SHOWN]!r} is not one of this router's models{suggestion(name, known)}"
    return ApiError(404, f"{message}: GET /v1/models names all", "model_not_found", param=param)


def infeasible_budget(cheapest: str, cost: float, request: ChatRequest) -> ApiError:
    """Return the error 400 for a budget below the cost of the cheapest model."""
    choices = request.num_choices
    each = f" for {choices} choices" if choices > 1 else ""
    message = (
        f"no model that can answer this costs {request.budget:g} or less; the cheapest is {cheapest}, "
        f"at {cost * choices:g}{each}"
    )
    return invalid(message, "cost", "infeasible_budget")


def no_able_model(missing: Mapping[str, Sequence[str]]) -> ApiError:
    """Return the error if no model can answer; ``missing``: what each that the key may use lacks."""
    if not missing:
        return ApiError(403, "this key has no model that can be routed to", "no_model")
    names = sorted({name for each in missing.values() for name in each})
    return invalid(f"no model can answer this request, which needs {', '.join(names)}", code="unsupported")
