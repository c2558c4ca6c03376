"""What the endpoint's app needs of the engine behind it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar, runtime_checkable

from p2l.cost_facts import CostFacts
from p2l.data.prompt_encoder import Prompt
from p2l.errors import P2LError
from p2l.head_posterior import HeadPosterior
from p2l.outcomes import OutcomeFamily
from p2l.ranking.leaderboard_table import Groups
from p2l.serving.endpoint.endpoint_metrics import EndpointMetrics
from p2l.types import Ranking


class NotReadyError(P2LError):
    """The model is still being loaded."""


@runtime_checkable
class RankedModels(Protocol):
    """What the app needs to know of a checkpoint, as in ``p2l.models.Checkpoint``."""

    @property
    def models(self) -> Sequence[str]: ...
    @property
    def family(self) -> OutcomeFamily: ...
    @property
    def warning(self) -> str | None: ...
    @property
    def cost_facts(self) -> CostFacts | None: ...
    @property
    def groups(self) -> Groups | None: ...
    @property
    def posterior(self) -> HeadPosterior | None: ...


@runtime_checkable
class Ranker(Protocol):
    """Ranks prompts with the errors of ``Batcher.rank``."""

    @property
    def predictor(self) -> RankedModels: ...
    async def rank(self, prompts: Sequence[Prompt]) -> Ranking: ...


AnyRanker = TypeVar("AnyRanker", covariant=True)  # a Ranker


@dataclass
class RankingService(Generic[AnyRanker]):
    """Holds the ranker once its model is loaded; until then the app answers 503.

    ``identity`` tells the model from others, in the header of every answer: whoever keeps answers can see that another
    model has taken its place.
    """

    metrics: EndpointMetrics = field(default_factory=EndpointMetrics)
    identity: str = field(default="", init=False)
    _batcher: AnyRanker | None = field(default=None, init=False)

    @property
    def ready(self) -> bool:
        return self._batcher is not None

    @property
    def batcher(self) -> AnyRanker:
        """The ranker; raises NotReadyError before the model is loaded."""
        if self._batcher is None:
            raise NotReadyError("the model is being loaded; try again in a few seconds")
        return self._batcher
