"""Answers equal those of each prompt alone, whatever else is asked, fails, leaves or comes too late."""

import asyncio
import threading

import pytest
import torch

from p2l.errors import PromptError
from p2l.models import load_checkpoint, save_checkpoint
from p2l.models.predictor import Predictor
from p2l.serving.batching.batcher import Batcher, ForwardError, OverloadedError, QueueLimits, TimedOutError
from p2l.types import Ranking
from tests.serving.conftest import PROMPTS


class Watched(Predictor):
    """A predictor whose forward passes wait for a gate, are counted, and fail on a poisoned length."""

    def __init__(self, checkpoint, poison: int | None = None):
        super().__init__(checkpoint)
        self.gate, self.batches, self.poison = threading.Event(), [], poison
        self.gate.set()

    def forward(self, ids, prefixes=None):
        assert self.gate.wait(10)
        self.batches.append([len(row) for row in ids])
        if self.poison in self.batches[-1]:
            raise RuntimeError("a kernel failed")
        return super().forward(ids, prefixes)


class Seen:
    """An observer that remembers."""

    def __init__(self):
        self.ranked = self.left = self.answered = self.shared = self.found = 0
        self.answers = self.prefixes = (0, 0)
        self.reasons = []
        self.queue = (0, 0)

    def batch_done(self, prompts: int, tokens: int, padded: int, seconds: float) -> None:
        assert padded >= tokens > 0 and seconds > 0
        self.ranked += prompts

    def refused(self, reason: str) -> None:
        self.reasons.append(reason)

    def dropped(self, prompts: int) -> None:
        self.left += prompts

    def waiting(self, prompts: int, tokens: int) -> None:
        self.queue = (prompts, tokens)

    def repeated(self, answered: int, shared: int) -> None:
        self.answered += answered
        self.shared += shared

    def answers_cached(self, answers: int, size: int) -> None:
        self.answers = (answers, size)

    def prefixes_cached(self, blocks: int, size: int, found: int) -> None:
        self.prefixes = (blocks, size)
        self.found += found


@pytest.fixture
def watched(tiny_checkpoint):
    return Watched(tiny_checkpoint)


@pytest.fixture
def run():
    """Runs an asyncio test on a batcher that is closed at the end."""

    def run(predictor, test, **options):
        batcher = Batcher(predictor, **options)
        try:
            return asyncio.run(test(batcher))
        finally:
            getattr(predictor, "gate", threading.Event()).set()
            batcher.close()

    return run


def assert_same(ranking: Ranking, alone: Ranking, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(ranking.coefs, alone.coefs, rtol=0, atol=tolerance)
    if alone.eta is not None:
        torch.testing.assert_close(ranking.eta, alone.eta, rtol=0, atol=tolerance)


@pytest.mark.parametrize("lanes", [1, 2])
@pytest.mark.parametrize("token_budget", [1, 100, 10_000])
def test_every_answer_is_that_of_the_prompt_alone(token_budget, lanes, predictor, run):
    prompts = PROMPTS * 6

    async def test(batcher):
        calls = [batcher.rank([prompt]) for prompt in prompts] + [batcher.rank(PROMPTS), batcher.rank([])]
        return await asyncio.gather(*calls)

    *single, many, none = run(predictor, test, token_budget=token_budget, lanes=lanes)
    for prompt, ranking in zip(prompts, single, strict=True):
        assert_same(ranking, predictor.rank([prompt]))
    assert_same(many, predictor.rank(PROMPTS))
    assert none.coefs.shape == (0, 4)


@pytest.mark.parametrize("family", ["qwen2_bt", "qwen2_grk", "qwen2_rk", "llama_bt_tie"])
def test_families_with_and_without_eta(family, golden, run):
    predictor = Predictor(load_checkpoint(str(golden / family)))

    async def test(batcher):
        return await asyncio.gather(*[batcher.rank([prompt]) for prompt in PROMPTS])

    for prompt, ranking in zip(PROMPTS, run(predictor, test), strict=True):
        alone = predictor.rank([prompt])
        assert (ranking.eta is None) == (alone.eta is None)
        assert_same(ranking, alone)


def test_bfloat16_answers_equal_those_of_the_prompt_alone(tiny_checkpoint, tmp_path, run):
    predictor = Predictor(load_checkpoint(str(save_checkpoint(tmp_path / "c", tiny_checkpoint)), dtype="bfloat16"))

    async def test(batcher):
        return await asyncio.gather(*[batcher.rank([prompt]) for prompt in PROMPTS])

    for prompt, ranking in zip(PROMPTS, run(predictor, test), strict=True):
        # on some CPUs products of more rows round otherwise; the tenth of what 8 bits cost is left of that
        assert_same(ranking, predictor.rank([prompt]), tolerance=1e-2)


def test_what_comes_while_the_network_runs_goes_together(watched, run):
    async def test(batcher):
        watched.gate.clear()
        first = asyncio.ensure_future(batcher.rank(["hi"]))
        await asyncio.sleep(0.05)
        rest = [asyncio.ensure_future(batcher.rank(["hi"])) for _ in range(9)]
        await asyncio.sleep(0.05)
        watched.gate.set()
        await asyncio.gather(first, *rest)

    run(watched, test)
    assert [len(batch) for batch in watched.batches] == [1, 9]


def test_a_failing_prompt_fails_alone(tiny_checkpoint, run, caplog):
    poison = "p" * 30
    length = len(tiny_checkpoint.encoder.encode(poison))
    watched, seen = Watched(tiny_checkpoint, poison=length), Seen()

    async def test(batcher):
        calls = [batcher.rank([prompt]) for prompt in ("a", poison, "bb", "a")]
        return await asyncio.gather(*calls, batcher.rank(["a", poison]), return_exceptions=True)

    a, failed, bb, again, both = run(watched, test, observer=seen)
    assert isinstance(failed, ForwardError) and isinstance(both, ForwardError)
    assert "kernel" not in str(failed) and poison not in caplog.text
    for prompt, ranking in (("a", a), ("bb", bb), ("a", again)):
        assert_same(ranking, Predictor.rank(watched, [prompt]))
    assert seen.queue == (0, 0)


def test_a_lost_accelerator_is_told(watched, run):
    lost = threading.Event()

    async def test(batcher):
        await batcher.rank(["hi"])
        assert not lost.is_set()
        watched.forward = broken
        return await asyncio.gather(*[batcher.rank(["hi"]) for _ in range(4)], return_exceptions=True)

    def broken(ids, prefixes=None):
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    results = run(watched, test, device_lost=lost.set)
    assert all(isinstance(result, ForwardError) and "CUDA" not in str(result) for result in results)
    assert lost.is_set()


@pytest.mark.parametrize("part", ["head", "eta_head"])
def test_an_answer_that_is_not_finite_is_an_error(part, predictor, run):
    with torch.no_grad():
        getattr(predictor.network.head, part).bias[-1] = float("nan")

    async def test(batcher):
        await batcher.rank(["hi"])

    with pytest.raises(ForwardError, match="not finite"):
        run(predictor, test)


def test_a_full_queue_refuses_and_loses_nothing(watched, run):
    seen = Seen()

    async def test(batcher):
        watched.gate.clear()
        calls = [asyncio.ensure_future(batcher.rank(["hi"])) for _ in range(20)]
        await asyncio.sleep(0.1)
        watched.gate.set()
        return await asyncio.gather(*calls, return_exceptions=True)

    results = run(watched, test, limits=QueueLimits(prompts=8), observer=seen)
    refused = [result for result in results if isinstance(result, OverloadedError)]
    assert seen.reasons == ["overloaded"] * 12
    assert len(refused) == 12 and all(error.retry_after >= 1 for error in refused)
    for ranking in results[:8]:
        assert_same(ranking, watched.rank(["hi"]))
    assert seen.queue == (0, 0) and seen.ranked == 8


def test_tokens_that_wait_are_bounded_too(watched, run):
    async def test(batcher):
        watched.gate.clear()
        first = asyncio.ensure_future(batcher.rank(["x" * 400]))  # an empty queue takes anything
        await asyncio.sleep(0.05)
        with pytest.raises(OverloadedError):
            await batcher.rank(["x" * 100])
        watched.gate.set()
        await first

    run(watched, test, limits=QueueLimits(tokens=70))


def test_the_wait_is_computed_from_the_rate_so_far(watched, run):
    async def test(batcher):
        await batcher.rank(["hi"])
        batcher._rate = 10.0  # tokens a second
        watched.gate.clear()
        calls = [asyncio.ensure_future(batcher.rank(["x" * 50])) for _ in range(3)]
        while batcher._tokens != tokens:  # until all are encoded, the count is an estimate
            await asyncio.sleep(0.01)
        with pytest.raises(OverloadedError) as error:
            await batcher.rank(["hi"])
        watched.gate.set()
        await asyncio.gather(*calls)
        return error.value.retry_after

    tokens = sum(map(len, watched.encoder.encode_batch(["x" * 50] * 3)))
    assert run(watched, test, limits=QueueLimits(prompts=3)) == -(-tokens // 10)


def test_a_call_that_is_given_up_is_dropped_before_its_forward_pass(watched, run):
    seen = Seen()

    async def test(batcher):
        watched.gate.clear()
        first = asyncio.ensure_future(batcher.rank(["hi"]))
        await asyncio.sleep(0.05)
        gone = [asyncio.ensure_future(batcher.rank(["a longer prompt"])) for _ in range(5)]
        kept = asyncio.ensure_future(batcher.rank(["hi"]))
        await asyncio.sleep(0.05)
        for call in gone:
            call.cancel()
        await asyncio.sleep(0.05)
        watched.gate.set()
        await asyncio.gather(first, kept)

    run(watched, test, observer=seen)
    assert [len(batch) for batch in watched.batches] == [1, 1]
    assert seen.left == 5 and seen.queue == (0, 0)


def test_a_late_answer_is_an_error_and_is_not_waited_for(watched, run):
    async def test(batcher):
        watched.gate.clear()
        with pytest.raises(TimedOutError, match="no answer within"):
            await batcher.rank(["hi"])

    run(watched, test, limits=QueueLimits(seconds=0.1))


def test_a_prompt_without_turns_is_refused_at_once(predictor, run):
    async def test(batcher):
        await batcher.rank(["fine", []])

    with pytest.raises(PromptError, match="at least one user turn"):
        run(predictor, test)


def test_closing_finishes_what_was_taken(watched):
    batcher = Batcher(watched)
    watched.gate.clear()

    async def test():
        call = asyncio.ensure_future(batcher.rank(["hi"]))
        await asyncio.sleep(0.05)
        closing = asyncio.get_running_loop().run_in_executor(None, batcher.close)
        watched.gate.set()
        await closing
        return await call

    assert_same(asyncio.run(test()), watched.rank(["hi"]))
