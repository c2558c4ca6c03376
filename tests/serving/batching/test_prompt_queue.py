"""Batches: like lengths together, within the budget, the oldest always among them."""

import sys
import threading
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2l.serving.batching import prompt_queue
from p2l.serving.batching.prompt_queue import (
    FIXED_COST_TOKENS,
    PromptQueue,
    choose_batch,
    first_that_fit,
    num_considered,
)


@dataclass(eq=False)
class Prompt:
    tokens: int
    wanted: bool = field(default=True)

    @classmethod
    def of(cls, length: int) -> "Prompt":
        return cls(length)


@given(st.lists(st.integers(1, 300), min_size=1, max_size=60), st.integers(1, 2000))
def test_a_batch_holds_the_oldest_and_keeps_to_the_budget(lengths, budget):
    chosen = choose_batch(np.array(lengths), budget)
    assert 0 in chosen and len(set(chosen)) == len(chosen)
    longest = max(lengths[i] for i in chosen)
    assert len(chosen) == 1 or len(chosen) * longest <= budget


@given(st.lists(st.integers(1, 300), min_size=1, max_size=60), st.integers(1, 2000))
def test_a_batch_is_a_run_of_the_sorted_lengths(lengths, budget):
    taken = sorted(lengths[i] for i in choose_batch(np.array(lengths), budget))
    ordered = sorted(lengths[: num_considered(np.array(lengths), budget)])
    assert any(ordered[i : i + len(taken)] == taken for i in range(len(ordered)))


@given(st.lists(st.integers(1, 300), min_size=1, max_size=60), st.integers(1, 2000))
def test_without_padding_the_oldest_go_as_many_as_fit(lengths, budget):
    chosen = first_that_fit(np.array(lengths), budget)
    assert chosen.tolist() == list(range(len(chosen))) and len(chosen) > 0
    assert len(chosen) == 1 or sum(lengths[: len(chosen)]) <= budget
    assert len(chosen) == len(lengths) or sum(lengths[: len(chosen) + 1]) > budget


def test_without_padding_none_overtakes():
    waiting = PromptQueue(token_budget=100, pads=False)
    prompts = [Prompt.of(length) for length in (60, 5, 60, 5, 200, 5)]
    waiting.add(prompts)
    taken = []
    for _ in range(4):
        taken.append(waiting.take().batch)
        waiting.done()
    assert taken == [prompts[:2], prompts[2:4], prompts[4:5], prompts[5:]]


def test_all_go_together_when_they_are_alike():
    assert sorted(choose_batch(np.array([40] * 20), 2048)) == list(range(20))
    assert len(choose_batch(np.array([40] * 60), 2048)) == 2048 // 40


def test_a_long_prompt_does_not_pad_many_short_ones():
    # the short ones with the long one would cost 21 x 1000; apart, 20 x 10 and 1000
    lengths = np.array([10] * 20 + [1000])
    assert sorted(choose_batch(lengths, 100_000)) == list(range(20))
    assert list(choose_batch(lengths[::-1].copy(), 100_000)) == [0]


def test_padding_below_the_cost_of_another_pass_is_accepted():
    assert len(choose_batch(np.array([FIXED_COST_TOKENS // 8, FIXED_COST_TOKENS // 4]), 10_000)) == 2


def test_no_prompt_waits_for_more_batches_than_there_were_before_it():
    waiting = PromptQueue(token_budget=100)
    rare = Prompt.of(90)
    waiting.add([Prompt.of(10), Prompt.of(10), rare])
    for _ in range(3):
        batch = waiting.take().batch
        waiting.done()
        if rare in batch:
            break
        waiting.add([Prompt.of(10)] * 20)  # short ones keep coming
    assert rare in batch


def test_late_prompts_do_not_overtake_a_long_queue():
    lengths = np.array([10, 90] * 500)
    assert max(choose_batch(lengths, 200)) < num_considered(lengths, 200) < 20


def test_what_nobody_waits_for_is_handed_back_apart():
    waiting = PromptQueue(token_budget=100)
    kept, left = Prompt.of(5), Prompt.of(5)
    left.wanted = False
    waiting.add([left, kept])
    assert waiting.take()[:2] == ([kept], [left])


class Leaving(Prompt):
    """Its client leaves as soon as the queue (not a type check) has asked for it."""

    def __getattribute__(self, name: str) -> object:
        value = super().__getattribute__(name)
        if name == "wanted" and sys._getframe(1).f_globals["__name__"] == prompt_queue.__name__:
            self.wanted = False
        return value


def test_a_prompt_whose_client_leaves_meanwhile_is_not_lost():
    queue = PromptQueue(token_budget=100)
    left, leaving = Prompt(5, wanted=False), Leaving.of(5)
    queue.add([left, leaving])
    assert queue.take()[:2] == ([leaving], [left])


@pytest.mark.parametrize("added", [0, 1])
def test_closing_hands_out_what_is_left_and_then_nothing(added):
    waiting = PromptQueue(token_budget=100)
    waiting.add([Prompt.of(5)] * added)
    closing = threading.Timer(0.05, waiting.close)
    closing.start()
    if added:
        assert len(waiting.take().batch) == 1
        waiting.done()
    closing.join()
    assert waiting.take()[:2] == ([], [])


def test_what_waits_is_shared_out_among_the_free_lanes():
    waiting = PromptQueue(token_budget=1000, lanes=2)
    waiting.add([Prompt.of(10)] * 20)
    first, second = waiting.take(), waiting.take()
    assert len(first.batch) == len(second.batch) == 10
    assert not first.alone and not second.alone


def test_a_lone_prompt_has_all_cores_of_the_first_lane():
    waiting = PromptQueue(token_budget=1000, lanes=2)
    waiting.add([Prompt.of(10)])
    taken: list[bool] = []
    second = threading.Thread(target=lambda: taken.append(waiting.take(lane=1).alone))
    second.start()
    second.join(0.05)
    assert not taken and waiting.take(lane=0).alone
    waiting.done()
    waiting.add([Prompt.of(10)] * 4)
    second.join(10)
    assert taken == [False]


def test_nothing_runs_beside_a_prompt_that_has_all_cores():
    waiting = PromptQueue(token_budget=1000, lanes=2)
    waiting.add([Prompt.of(10)])
    assert waiting.take(lane=0).alone
    waiting.add([Prompt.of(10)] * 4)
    taken: list[bool] = []
    other = threading.Thread(target=lambda: taken.append(waiting.take(lane=1).alone))
    other.start()
    other.join(0.05)
    assert not taken
    waiting.done()
    other.join(10)
    assert taken == [False]


def test_a_prompt_that_comes_while_a_shared_batch_runs_does_not_go_alone():
    waiting = PromptQueue(token_budget=1000, lanes=2)
    waiting.add([Prompt.of(10)] * 4)
    assert len(waiting.take().batch) == 2
    waiting.add([Prompt.of(10)])
    assert not waiting.take().alone
