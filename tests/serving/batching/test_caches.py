"""Prompts that came before are answered at once, equal prompts share a computation, and nothing else is shared."""

import asyncio

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from p2l.models.predictor import Predictor
from p2l.serving.batching.answer_cache import AnswerCache, digest_turns
from p2l.serving.batching.batcher import Batcher, CacheSizes, ForwardError, OverloadedError, QueueLimits
from p2l.serving.batching.rank_request import Row
from tests.serving.batching.test_batcher import Seen, Watched, assert_same

CACHES = CacheSizes()


@pytest.fixture
def watched(tiny_checkpoint):
    return Watched(tiny_checkpoint)


@pytest.fixture
def run():
    """Runs an asyncio test on a batcher with caches that is closed at the end."""

    def run(predictor, test, caches=CACHES, **options):
        batcher = Batcher(predictor, caches=caches, **options)
        try:
            return asyncio.run(test(batcher))
        finally:
            predictor.gate.set()
            batcher.close()

    return run


async def started(*calls) -> list[asyncio.Future]:
    """Start calls, and give the batcher the time to queue them."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    await asyncio.sleep(0.05)
    return tasks


def test_a_prompt_that_came_before_runs_no_pass(watched, run):
    seen = Seen()

    async def test(batcher):
        return [await batcher.rank([prompt]) for prompt in ("hi", ["hi"], ("hi",), "hi")]

    first, *again = run(watched, test, observer=seen)
    assert len(watched.batches) == 1
    assert_same(first, Predictor.rank(watched, ["hi"]))
    assert all(torch.equal(ranking.coefs, first.coefs) and torch.equal(ranking.eta, first.eta) for ranking in again)
    assert (seen.answered, seen.shared, seen.ranked) == (3, 0, 1)
    assert seen.answers[0] == 1 and seen.answers[1] > 0


def test_what_is_known_needs_no_place_in_the_queue(watched, run):
    async def test(batcher):
        known = await batcher.rank(["known"])
        watched.gate.clear()
        (waiting,) = await started(batcher.rank(["another"]))
        with pytest.raises(OverloadedError):
            await batcher.rank(["a third"])
        assert torch.equal((await asyncio.wait_for(batcher.rank(["known"]), 5)).coefs, known.coefs)
        (shared,) = await started(batcher.rank(["another"]))  # neither does what is under way
        watched.gate.set()
        assert torch.equal((await waiting).coefs, (await shared).coefs)

    run(watched, test, limits=QueueLimits(prompts=1))


def test_equal_prompts_share_a_computation(watched, run):
    seen = Seen()

    async def test(batcher):
        watched.gate.clear()
        calls = await started(
            *[batcher.rank(["hi"]) for _ in range(5)],
            batcher.rank(["hi", "else", "hi"]),
            batcher.rank(["else", "else"]),
        )
        watched.gate.set()
        return await asyncio.gather(*calls)

    *single, three, two = run(watched, test, observer=seen)
    assert sum(map(len, watched.batches)) == 2
    hi, other = Predictor.rank(watched, ["hi"]), Predictor.rank(watched, ["else"])
    for ranking in single:
        assert_same(ranking, hi)
    assert_same(three, Predictor.rank(watched, ["hi", "else", "hi"]))
    assert_same(two.map(lambda x: x[:1]), other)
    assert (seen.shared, seen.queue) == (8, (0, 0))


@pytest.mark.parametrize("leaving", [0, 1, 2])
def test_a_client_that_leaves_does_not_take_the_others_answer(leaving, watched, run):
    async def test(batcher):
        watched.gate.clear()
        await started(batcher.rank(["first"]))
        calls = await started(*[batcher.rank(["hi"]) for _ in range(3)])
        calls.pop(leaving).cancel()
        await asyncio.sleep(0.05)
        watched.gate.set()
        return await asyncio.wait_for(asyncio.gather(*calls), 10)

    for ranking in run(watched, test):
        assert_same(ranking, Predictor.rank(watched, ["hi"]))


def test_a_prompt_that_all_left_is_dropped_and_computed_for_the_next(watched, run):
    seen = Seen()

    async def test(batcher):
        watched.gate.clear()
        await started(batcher.rank(["first"]))
        for call in await started(batcher.rank(["hi"]), batcher.rank(["hi"])):
            call.cancel()
        await asyncio.sleep(0.05)
        watched.gate.set()
        while seen.left == 0:
            await asyncio.sleep(0.01)
        return await asyncio.wait_for(batcher.rank(["hi"]), 10)

    assert_same(run(watched, test, observer=seen), Predictor.rank(watched, ["hi"]))
    assert seen.left == 1 and seen.queue == (0, 0)


def test_an_error_goes_to_all_who_share_it_and_is_not_remembered(tiny_checkpoint, run):
    watched = Watched(tiny_checkpoint, poison=len(tiny_checkpoint.encoder.encode("hi")))

    async def test(batcher):
        watched.gate.clear()
        calls = await started(*[batcher.rank(["hi"]) for _ in range(3)])
        watched.gate.set()
        errors = await asyncio.gather(*calls, return_exceptions=True)
        watched.poison = None
        return errors, await batcher.rank(["hi"])

    errors, ranking = run(watched, test)
    assert all(isinstance(error, ForwardError) for error in errors)
    assert_same(ranking, Predictor.rank(watched, ["hi"]))


def test_another_model_does_not_answer_from_the_cache_of_the_first(tiny_checkpoint, golden, run):
    first = Watched(tiny_checkpoint)

    async def test(batcher):
        await batcher.rank(["hi"])
        return await batcher.rank(["hi"])

    before = run(first, test)
    with torch.no_grad():
        first.network.head.head.bias.add_(1.0)
    second = Watched(tiny_checkpoint)
    assert_same(run(second, test), before.map(lambda x: x + (x.ndim > 1)))
    assert len(second.batches) == 1


def test_turns_with_the_same_ids_have_one_answer(tiny_checkpoint, run):
    watched, seen = Watched(tiny_checkpoint), Seen()
    length = tiny_checkpoint.encoder.format.max_length
    end = "the same end " * length

    async def test(batcher):
        return [await batcher.rank([start + end]) for start in ("a", "b", "another beginning ", "b")]

    first, *others = run(watched, test, observer=seen)
    assert len(watched.batches) == 1 and seen.answered == 3 and seen.queue == (0, 0)
    assert all(torch.equal(ranking.coefs, first.coefs) for ranking in others)


def test_turned_off_nothing_is_shared(watched, run):
    async def test(batcher):
        watched.gate.clear()
        calls = await started(batcher.rank(["hi"]), batcher.rank(["hi", "hi"]))
        watched.gate.set()
        await asyncio.gather(*calls)
        await batcher.rank(["hi"])

    run(watched, test, caches=CacheSizes(0, 0))
    assert sum(map(len, watched.batches)) == 4


def test_a_conversation_goes_on_from_its_last_turn(watched, run):
    seen = Seen()
    turns = [f"turn {number} " + "of some words " * 2 for number in range(4)]
    prompts = [turns[: number + 1] for number in range(4)]

    async def test(batcher):
        return [await batcher.rank([prompt]) for prompt in prompts]

    for prompt, ranking in zip(prompts, run(watched, test, observer=seen), strict=True):
        assert_same(ranking, Predictor.rank(watched, [prompt]))
    assert seen.found > 0 and 0 < seen.prefixes[1] <= CACHES.prefixes


rows = st.builds(
    lambda n, x: Row(np.full(n, x, dtype=np.float32), None), st.integers(1, 200), st.floats(-1, 1, width=32)
)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 29), rows), max_size=40), st.integers(0, 5000))
def test_memory_is_bounded_and_the_newest_answers_stay(entries, max_bytes):
    cache = AnswerCache(max_bytes)
    for prompt, spelling, row in entries:
        ids = np.array([prompt, 7])
        cache.keep(ids, digest_turns([str(prompt), str(spelling)]), row)
        answers, size = cache.size
        assert size <= max_bytes and (size == 0) == (answers == 0)
        found = cache.find(digest_turns([str(prompt), str(spelling)]))
        assert found is None or np.array_equal(found[0], row[0])
        assert found is not None or answers == 0


def test_the_answer_that_was_used_last_stays():
    row = Row(np.zeros(100, dtype=np.float32), 0.5)
    cache = AnswerCache(3000)
    for number in range(2):
        cache.keep(np.array([number]), digest_turns([str(number)]), row)
    assert cache.find(digest_turns(["0"])) is not None
    cache.keep(np.array([2]), digest_turns(["2"]), row)
    assert [cache.find(digest_turns([str(number)])) is not None for number in range(3)] == [True, False, True]


def test_the_digest_of_turns_knows_where_they_end():
    spellings = [("ab",), ("a", "b"), ("", "ab"), ("ab", ""), ("b", "a"), ("a\0b",), ("\ud800",), ("\udc00",)]
    assert len({digest_turns(turns) for turns in spellings}) == len(spellings)
