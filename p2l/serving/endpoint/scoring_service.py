"""The model behind the app: being loaded, or ready."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from p2l.errors import P2LError
from p2l.models.predict import Predictor
from p2l.serving.batching.batcher import Batcher, QueueLimits, share_of
from p2l.serving.endpoint.endpoint_metrics import Metrics


class NotReadyError(P2LError):
    """The model is not loaded yet."""


@dataclass
class Service:
    """Holds the batcher, once there is one; the app is served before that, and says so."""

    metrics: Metrics = field(default_factory=Metrics)
    limits: QueueLimits = field(default_factory=QueueLimits)
    token_budget: int = 2048
    lanes: int = 1
    device_lost: Callable[[], None] = lambda: None
    _batcher: Batcher | None = None

    def start(self, predictor: Predictor) -> None:
        """Warm the predictor up and open for business."""
        cores = torch.get_num_threads()
        # a compiled program is one for so many threads
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
        """NotReadyError before ``start``."""
        if self._batcher is None:
            raise NotReadyError("the model is being loaded; try again in a few seconds")
        return self._batcher

    def close(self) -> None:
        """Finish what was taken."""
        if self._batcher is not None:
            self._batcher.close()
