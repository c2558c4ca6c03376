"""The batcher behind the app, from the loading of its model to the shutdown."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from p2l.errors import P2LError
from p2l.models.predictor import Predictor
from p2l.serving.batching.batcher import Batcher, QueueLimits, share_of
from p2l.serving.endpoint.endpoint_metrics import EndpointMetrics


class NotReadyError(P2LError):
    """The model is still being loaded."""


@dataclass
class ScoringService:
    """Holds the batcher once the model is loaded; until then the app answers 503."""

    metrics: EndpointMetrics = field(default_factory=EndpointMetrics)
    limits: QueueLimits = field(default_factory=QueueLimits)
    token_budget: int = 2048
    lanes: int = 1
    device_lost: Callable[[], None] = lambda: None
    _batcher: Batcher | None = None

    def start(self, predictor: Predictor) -> None:
        """Warm the predictor up and start the batcher."""
        cores = torch.get_num_threads()
        # a compiled program holds for one number of threads
        for threads in {share_of(cores, self.lanes), cores}:
            torch.set_num_threads(threads)
            predictor.warm_up()
        torch.set_num_threads(cores)
        self._batcher = Batcher(
            predictor,
            limits=self.limits,
            token_budget=self.token_budget,
            lanes=self.lanes,
            observer=self.metrics,
            device_lost=self.device_lost,
        )

    @property
    def ready(self) -> bool:
        return self._batcher is not None

    @property
    def batcher(self) -> Batcher:
        """The batcher; raises NotReadyError before ``start``."""
        if self._batcher is None:
            raise NotReadyError("the model is being loaded; try again in a few seconds")
        return self._batcher

    def close(self) -> None:
        """Rank the prompts in the queue, then stop."""
        if self._batcher is not None:
            self._batcher.close()
