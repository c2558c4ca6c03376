"""What a checkpoint says about the costs that it predicts."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from p2l.errors import DataError
from p2l.options import check_number


@dataclass(frozen=True)
class CostFacts:
    """The costs that a checkpoint predicts, apart from any prompt. An endpoint sends them with its models.

    Attributes:
        unit: of the costs, such as "dollars".
        mean: model -> mean cost of an answer in the table that the predictions were fitted to. It has all models with
            a prediction, and only those.
        bound: model -> multiple of the predicted cost, at least 1, that 95 % of the answers in that table stayed below.
    """

    unit: str
    mean: Mapping[str, float]
    bound: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, values: object) -> "CostFacts":
        """Read them from parsed JSON; DataError if they have another form."""
        unit, mean, bound = (
            values.get(name) if isinstance(values, dict) else None for name in ("unit", "mean", "bound")
        )
        if not isinstance(unit, str) or not isinstance(mean, dict) or not isinstance(bound, dict):
            raise DataError("expected the unit, the means and the bounds of predicted costs")
        if mean.keys() != bound.keys():
            raise DataError("the means and the bounds of predicted costs are not of the same models")
        for model, cost in mean.items():
            check_number(f"mean cost of {model}", cost, above=0)
            check_number(f"bound of the cost of {model}", bound[model], least=1)
        return cls(unit, mean, bound)
