"""Rank prompts by a P2L model in this process."""

import asyncio

from p2l.errors import CheckpointError, P2LError
from p2l.models import is_p2l_checkpoint, load_checkpoint, local_folder
from p2l.models.predictor import Predictor, fastest_device
from p2l.serving.batching.batcher import NO_CACHES, Batcher, CacheSizes
from p2l.serving.batching.batching_errors import OverloadedError
from p2l.serving.endpoint.build_endpoint import choose_lanes
from p2l.serving.router.upstream_error import UpstreamError
from p2l.types import Backend, Ranking


class ModelScorer:
    """Runs a P2L model in this process; concurrent prompts share batches."""

    def __init__(self, predictor: Predictor, cache_bytes: int = 0) -> None:
        self.family = predictor.family
        self.cost_facts = predictor.cost_facts
        self.posterior = predictor.posterior
        self._names = tuple(predictor.models)
        caches = CacheSizes(cache_bytes) if cache_bytes else NO_CACHES
        self._batcher = Batcher(predictor, lanes=choose_lanes(predictor.device.type), caches=caches)

    @classmethod
    def load(cls, path: str, cache_bytes: int = 0, backend: Backend = "torch") -> "ModelScorer":
        """Load the checkpoint in a folder or of a hub id; with the backend torch on a GPU if there is one.

        ``cache_bytes``: of answers to prompts; with 0, the beginnings of conversations are not kept either.
        """
        return cls(Predictor(load_checkpoint(path), device=fastest_device(backend), backend=backend), cache_bytes)

    async def models(self) -> tuple[str, ...]:
        return self._names

    async def score(self, turns: tuple[str, ...], names: tuple[str, ...]) -> Ranking:
        try:
            ranking = await self._batcher.rank([turns])
        except OverloadedError as error:
            raise UpstreamError("overloaded", str(error), status=503, retry_after=float(error.retry_after)) from None
        except P2LError as error:
            raise UpstreamError(type(error).__name__, "the prompt could not be scored") from None
        return ranking.map(lambda x: x[0].cpu().numpy())

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self._batcher.close)


def check_checkpoint(path: str) -> None:
    """Raise CheckpointError if there is no P2L checkpoint at the path; download that of a hub id."""
    if not is_p2l_checkpoint(local_folder(path)):
        raise CheckpointError(f"--router-model-path: {path} is not a P2L checkpoint: it has no model_list.json")
