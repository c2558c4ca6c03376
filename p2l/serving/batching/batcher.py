"""Rank the prompts of concurrent requests in batches: one thread encodes, one thread a lane runs the network.

No timer delays a batch: while the network runs one, the next gathers, and a free lane takes what is there.
"""

import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch

from p2l.data.prompt_encoder import Prompt
from p2l.errors import P2LError
from p2l.models.predictor import Predictor
from p2l.models.prefix_cache import PrefixCache
from p2l.serving.batching.batching_errors import ForwardError, OverloadedError, TimedOutError
from p2l.serving.batching.idle_cores import IdleCores, share_of, threads_for
from p2l.serving.batching.known_prompts import KnownPrompts
from p2l.serving.batching.observer import Observer
from p2l.serving.batching.prompt_queue import PromptQueue, split_by_wanted
from p2l.serving.batching.rank_request import (
    PendingPrompt,
    RankRequest,
    Row,
    call_soon,
    deliver,
    ranking_of,
    run_batch_or_each,
)
from p2l.types import Ranking

log = logging.getLogger(__name__)

# Estimates the tokens of a prompt until it is encoded.
CHARS_PER_TOKEN = 4
# Most prompts that are encoded together; more would delay the forward pass of the first.
ENCODE_TOGETHER = 32
# A cached token costs a small part of a computed one: it is copied, and attended to.
CACHED_TOKEN_COST = 8


@dataclass(frozen=True)
class QueueLimits:
    """Limits of the queue.

    Attributes:
        prompts: most prompts that wait or run; an empty queue accepts a request of any size.
        tokens: most tokens of these prompts, estimated (characters / 4) until they are encoded.
        seconds: longest time between a request and its result.
    """

    prompts: int = 512
    tokens: int = 262_144
    seconds: float = 60.0


@dataclass(frozen=True)
class CacheSizes:
    """Bytes of memory for what prompts have in common; 0 turns a cache off.

    Attributes:
        answers: answers to whole prompts; if off, equal prompts do not share a computation either.
        prefixes: keys and values of the beginnings of prompts, if the predictor runs without padding.
    """

    answers: int = 64 << 20
    prefixes: int = 256 << 20


NO_CACHES = CacheSizes(0, 0)


class Batcher:
    """Ranks the prompts of concurrent asyncio requests in common batches.

    A cancelled request is dropped before its forward pass, unless another waits for the same prompt. If a batch fails,
    each of its prompts runs alone, so that only the prompts that cause the error get it; errors are not cached.

    Args:
        predictor: ranks; its ``forward`` is called from as many threads as there are lanes.
        limits: of the queue; a request that exceeds them gets OverloadedError at once.
        token_budget: most tokens of a batch, padding included.
        lanes: batches that run at the same time, each on its share of the cores. On a CPU two passes side by side
            finish sooner than one after the other on all cores, which wait for each other.
        caches: their sizes. The caches live and end with the batcher, so that no other model answers from them.
        observer: counts batches, the queue, the caches and dropped prompts.
        device_lost: called from a lane's thread if an accelerator has failed: no later pass of this process can
            succeed. The prompts of the pass get errors.
    """

    def __init__(
        self,
        predictor: Predictor,
        *,
        limits: QueueLimits | None = None,
        token_budget: int = 2048,
        lanes: int = 1,
        caches: CacheSizes = NO_CACHES,
        observer: Observer | None = None,
        device_lost: Callable[[], None] = lambda: None,
    ) -> None:
        self.predictor = predictor
        self.limits = limits or QueueLimits()
        self._observer, self._device_lost = observer, device_lost
        self._to_encode: queue.SimpleQueue[PendingPrompt | None] = queue.SimpleQueue()
        self._known = KnownPrompts(caches.answers, observer)
        self._prefixes = self._prefix_cache(caches.prefixes)
        self._waiting = PromptQueue(token_budget, lanes, predictor.pads)
        self._lanes, self._cores, self._idle_cores = lanes, torch.get_num_threads(), IdleCores()
        self._lock = threading.Lock()
        self._prompts = self._tokens = 0
        self._rate = 0.0  # tokens a second, a moving average over batches
        self._threads = [
            threading.Thread(target=self._encode_all, name="p2l-encode", daemon=True),
            *(
                threading.Thread(target=self._forward_all, args=(lane,), name=f"p2l-forward-{lane}", daemon=True)
                for lane in range(lanes)
            ),
        ]
        for thread in self._threads:
            thread.start()

    async def rank(self, prompts: Sequence[Prompt]) -> Ranking:
        """Return the ranking of each prompt, in order: coefs (prompts, models) and eta (prompts,), float32.

        Raises OverloadedError if the queue is full, TimedOutError after ``limits.seconds``, ForwardError if the network
        cannot rank one of the prompts, PromptError if one is not text.
        """
        if not prompts:
            return self.predictor.rank([])
        request = RankRequest.of(len(prompts))
        late = TimedOutError(f"no answer within {self.limits.seconds:g} s")
        alarm = request.loop.call_later(self.limits.seconds, request.fail, late)
        try:
            if new := self._known.new_prompts(request, prompts, self._estimate):
                self._admit([item.tokens for item in new])
                self._known.start(new)
                for item in new:
                    self._to_encode.put(item)
            return ranking_of(await request.future if request.num_pending else cast(list[Row], request.rows))
        finally:
            request.is_abandoned = True
            alarm.cancel()

    def close(self) -> None:
        """Rank the prompts in the queue, then stop the threads."""
        self._to_encode.put(None)
        for thread in self._threads:
            thread.join()

    def _prefix_cache(self, size: int) -> PrefixCache | None:
        if not size or not self.predictor.keeps_prefixes:
            return None
        return PrefixCache(size, self._observer.prefixes_cached) if self._observer else PrefixCache(size)

    def _estimate(self, turns: Sequence[str]) -> int:
        characters = sum(map(len, turns))
        return min(self.predictor.encoder.format.max_length, 8 + characters // CHARS_PER_TOKEN)

    def _admit(self, sizes: list[int]) -> None:
        with self._lock:
            prompts, tokens = self._prompts + len(sizes), self._tokens + sum(sizes)
            too_late = 0 < self._rate * self.limits.seconds < self._tokens
            if self._prompts and (prompts > self.limits.prompts or tokens > self.limits.tokens or too_late):
                if self._observer:
                    self._observer.refused("overloaded")
                raise OverloadedError(max(1, math.ceil(self._tokens / self._rate)) if self._rate else 1)
            self._prompts, self._tokens = prompts, tokens
            self._report_waiting()

    def _leave(self, items: Sequence[PendingPrompt]) -> None:
        self._known.end(items)
        with self._lock:
            self._prompts -= len(items)
            self._tokens -= sum(item.tokens for item in items)
            self._report_waiting()

    def _report_waiting(self) -> None:
        """Report the queue; under the lock, so that the last report is the newest."""
        if self._observer:
            self._observer.waiting(self._prompts, self._tokens)

    def _encode_all(self) -> None:
        closed = False
        while not closed:
            items = [self._to_encode.get()]
            while len(items) < ENCODE_TOGETHER and not self._to_encode.empty():
                items.append(self._to_encode.get())
            closed = None in items
            wanted, left = split_by_wanted([item for item in items if item is not None])
            self._drop(left)
            if wanted:
                self._encode(wanted)
        self._waiting.close()

    def _encode(self, items: list[PendingPrompt]) -> None:
        done = run_batch_or_each(items, self._encode_together, self._fail_prompt)
        known = [item for item in done if self._known.answer_encoded(item)]
        if known:
            self._leave(known)
            deliver(known)
        if new := [item for item in done if item not in known]:
            self._set_costs(new)
            self._waiting.add(new)

    def _set_costs(self, items: list[PendingPrompt]) -> None:
        costs = [self._cost(item.ids) for item in items]
        with self._lock:
            self._tokens += sum(costs) - sum(item.tokens for item in items)
        for item, cost in zip(items, costs, strict=True):
            item.tokens = cost

    def _cost(self, ids: np.ndarray) -> int:
        """Return the cost of an encoded prompt in computed tokens."""
        cached = self.predictor.num_cached(ids, self._prefixes) if self._prefixes else 0
        return len(ids) - cached + cached // CACHED_TOKEN_COST

    def _encode_together(self, items: list[PendingPrompt]) -> None:
        encoded = self.predictor.encode([item.prompt for item in items])
        for i, item in enumerate(items):
            item.ids = encoded[i]

    def _forward_all(self, lane: int) -> None:
        while True:
            batch, dropped, alone = self._waiting.take(lane)
            if not batch and not dropped:
                return
            self._drop(cast(list[PendingPrompt], dropped))
            side_by_side = 1 if alone else self._lanes
            if batch:
                if self._lanes > 1:
                    torch.set_num_threads(self._num_threads(side_by_side))
                self._forward(cast(list[PendingPrompt], batch), side_by_side)
                self._waiting.done()

    def _num_threads(self, side_by_side: int) -> int:
        choices = (1, share_of(self._cores, self._lanes), self._cores) if self.predictor.compiled else ()
        return threads_for(self._cores, side_by_side, self._idle_cores.count(), choices)

    def _forward(self, items: list[PendingPrompt], side_by_side: int) -> None:
        start = time.perf_counter()
        done = run_batch_or_each(items, self._forward_together, self._fail_prompt)
        seconds = time.perf_counter() - start
        rate = side_by_side * sum(item.tokens for item in items) / max(seconds, 1e-9)
        with self._lock:
            self._rate = 0.8 * self._rate + 0.2 * rate if self._rate else rate
        if self._observer:
            lengths = [len(item.ids) for item in items]
            padded = len(items) * max(lengths) if self.predictor.pads else sum(lengths)
            self._observer.batch_done(len(items), sum(lengths), padded, seconds)
        self._known.keep(done)
        self._leave(done)
        deliver(done)

    def _forward_together(self, items: list[PendingPrompt]) -> None:
        ids = [item.ids for item in items]
        ranking = self.predictor.forward(ids, self._prefixes) if self._prefixes else self.predictor.forward(ids)
        if not bool(ranking.is_finite().all()):
            raise ForwardError("the network's coefficients for this prompt are not finite")
        coefs = ranking.coefs.numpy()
        etas = [None] * len(items) if ranking.eta is None else ranking.eta.tolist()
        costs, states = (
            [None] * len(items) if part is None else part.numpy() for part in (ranking.costs, ranking.states)
        )
        for i, item in enumerate(items):
            item.row = Row(coefs[i], etas[i], costs[i], states[i])

    def _fail_prompt(self, item: PendingPrompt, error: Exception) -> None:
        log.error("a prompt of %d tokens failed: %s: %s", item.tokens, type(error).__name__, error)
        self._leave([item])
        reason = error if isinstance(error, P2LError) else ForwardError("this prompt cannot be ranked")
        for request, _ in item.end():
            call_soon(request.loop, request.fail, reason)
        if isinstance(error, torch.AcceleratorError):
            self._device_lost()

    def _drop(self, items: Sequence[PendingPrompt]) -> None:
        if items:
            self._leave(items)
            if self._observer:
                self._observer.dropped(len(items))
