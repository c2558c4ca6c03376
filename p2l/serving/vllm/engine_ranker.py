"""Rank prompts through an engine of vLLM."""

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import numpy as np
from vllm import PoolingParams
from vllm.exceptions import GracefulHTTPError
from vllm.inputs import tokens_input

from p2l.data.prompt_encoder import Prompt
from p2l.models.batch_ranking import no_ranking
from p2l.serving.batching.batcher import ForwardError, OverloadedError, TimedOutError
from p2l.serving.batching.rank_request import Row, ranking_of
from p2l.serving.vllm.served_checkpoint import ServedCheckpoint
from p2l.types import Ranking

log = logging.getLogger(__name__)


class EngineRanker:
    """Encodes prompts as the checkpoint says, and lets the engine run them: what ``Batcher`` is for ``Predictor``.

    Args:
        engine: a ``vllm.engine.protocol.EngineClient`` that serves the checkpoint.
        predictor: the checkpoint; the endpoint's app reads its names.
        max_prompts: most prompts that wait or run.
        seconds: longest time between a request and its result.
    """

    def __init__(self, engine: Any, predictor: ServedCheckpoint, *, max_prompts: int, seconds: float) -> None:
        self.predictor = predictor
        self._engine, self._max_prompts, self._seconds = engine, max_prompts, seconds
        self._pending = 0
        # one thread: a tokenizer must not be used by two
        self._encoding = ThreadPoolExecutor(1, thread_name_prefix="p2l-encode")

    async def rank(self, prompts: Sequence[Prompt]) -> Ranking:
        """Return the ranking of each prompt, in order; errors as ``Batcher.rank``."""
        if not prompts:
            return no_ranking(len(self.predictor.models), self.predictor.family)
        if self._pending and self._pending + len(prompts) > self._max_prompts:
            raise OverloadedError(1)
        self._pending += len(prompts)
        try:
            return await asyncio.wait_for(self._rank(prompts), self._seconds)
        except asyncio.TimeoutError:
            raise TimedOutError(f"no answer within {self._seconds:g} s") from None
        finally:
            self._pending -= len(prompts)

    async def _rank(self, prompts: Sequence[Prompt]) -> Ranking:
        loop = asyncio.get_running_loop()
        encoded = await loop.run_in_executor(self._encoding, self.predictor.encoder.encode_batch, prompts)
        tasks = [loop.create_task(self._row(ids)) for ids in encoded]
        try:
            return ranking_of(await asyncio.gather(*tasks))
        finally:
            for task in tasks:  # of a request that failed or was left
                task.cancel()

    async def _row(self, ids: list[int]) -> Row:
        vector = await self._vector(ids)
        num_models, num_eta = len(self.predictor.models), self.predictor.family.num_eta
        num_costs = 0 if self.predictor.head.cost_head is None else num_models
        coefs, eta, costs, state = np.split(vector, np.cumsum([num_models, num_eta, num_costs]))
        if not (np.isfinite(coefs).all() and np.isfinite(eta).all()):
            raise ForwardError("the network's coefficients for this prompt are not finite")
        more = (part if len(part) else None for part in (costs, state))
        return Row(coefs, float(eta[0]) if num_eta else None, *more)

    async def _vector(self, ids: list[int]) -> np.ndarray:
        answers = self._engine.encode(tokens_input(ids), PoolingParams(task="embed"), uuid4().hex)
        try:
            outputs = [output async for output in answers]
            return outputs[-1].outputs.data.float().numpy()
        except GracefulHTTPError:  # the engine's own limits of its queue
            raise OverloadedError(1) from None
        except Exception as error:
            log.error("a prompt of %d tokens failed: %s: %s", len(ids), type(error).__name__, error)
            raise ForwardError("this prompt cannot be ranked") from None
