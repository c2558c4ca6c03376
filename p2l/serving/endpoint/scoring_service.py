"""The batcher behind the app, from the loading of its model to the shutdown."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from p2l.models.predictor import Predictor
from p2l.serving.batching.batcher import Batcher, CacheSizes, QueueLimits
from p2l.serving.batching.idle_cores import share_of
from p2l.serving.endpoint.ranking_service import RankingService


@dataclass
class ScoringService(RankingService[Batcher]):
    """Ranks with a predictor in this process."""

    limits: QueueLimits = field(default_factory=QueueLimits)
    token_budget: int = 2048
    lanes: int = 1
    caches: CacheSizes = field(default_factory=CacheSizes)
    device_lost: Callable[[], None] = lambda: None

    def start(self, predictor: Predictor) -> None:
        """Warm the predictor up and start the batcher."""
        cores = torch.get_num_threads()
        # a compiled program holds for one number of threads
        for threads in {1, share_of(cores, self.lanes), cores}:
            torch.set_num_threads(threads)
            predictor.warm_up()
        torch.set_num_threads(cores)
        self.identity = predictor.fingerprint()
        self.metrics.backend(predictor.backend, predictor.backend_difference)
        self._batcher = Batcher(
            predictor,
            limits=self.limits,
            token_budget=self.token_budget,
            lanes=self.lanes,
            caches=self.caches,
            observer=self.metrics,
            device_lost=self.device_lost,
        )

    def close(self) -> None:
        """Rank the prompts in the queue, then stop."""
        if self._batcher is not None:
            self._batcher.close()
