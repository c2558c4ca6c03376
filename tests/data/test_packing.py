"""Laws of packing: every prompt once, within the budget, as many batches as asked."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from p2l.data.packing import deal, pack_into, pack_within

lengths = st.lists(st.integers(1, 50), max_size=40).map(lambda values: np.array(values, dtype=np.int64))


def padded_size(lengths: np.ndarray, batch: np.ndarray) -> int:
    return len(batch) * int(lengths[batch].max(initial=0))


def size(lengths: np.ndarray, batch: np.ndarray, packed: bool) -> int:
    return int(lengths[batch].sum()) if packed else padded_size(lengths, batch)


def is_a_partition(batches: list[np.ndarray], count: int) -> bool:
    return sorted(position for batch in batches for position in batch.tolist()) == list(range(count))


@given(lengths=lengths, budget=st.integers(1, 200), packed=st.booleans())
def test_within_a_budget(lengths: np.ndarray, budget: int, packed: bool) -> None:
    batches = pack_within(lengths, budget, packed=packed)
    assert is_a_partition(batches, len(lengths))
    assert all(len(batch) == 1 or size(lengths, batch, packed) <= budget for batch in batches)
    longest = [lengths[batch].max() for batch in batches]
    assert longest == sorted(longest, reverse=True)


@given(lengths=st.lists(st.integers(1, 6), min_size=1, max_size=7), budget=st.integers(6, 20))
def test_no_batching_by_length_needs_fewer(lengths: list[int], budget: int) -> None:
    ordered = sorted(lengths, reverse=True)
    fewest = [0]  # for the first n of the ordered lengths, by dynamic programming
    for end in range(1, len(ordered) + 1):
        starts = [start for start in range(end) if ordered[start] * (end - start) <= budget]
        fewest.append(1 + min(fewest[start] for start in starts))
    assert len(pack_within(np.array(lengths), budget)) == fewest[-1]


@given(lengths=lengths, num_batches=st.integers(1, 12), packed=st.booleans())
def test_into_a_number_of_batches(lengths: np.ndarray, num_batches: int, packed: bool) -> None:
    batches = pack_into(lengths, num_batches, packed=packed)
    assert len(batches) == num_batches
    assert is_a_partition(batches, len(lengths))
    assert sum(len(batch) == 0 for batch in batches) == max(0, num_batches - len(lengths))


@given(lengths=lengths.filter(len), num_batches=st.integers(1, 12))
def test_into_is_as_small_as_within_allows(lengths: np.ndarray, num_batches: int) -> None:
    largest = max(padded_size(lengths, batch) for batch in pack_into(lengths, num_batches))
    if largest > lengths.max():
        assert len(pack_within(lengths, largest - 1)) > num_batches


@given(lengths=lengths, budget=st.integers(1, 200))
def test_as_many_batches_as_a_budget_needs_stay_within_it(lengths: np.ndarray, budget: int) -> None:
    needed = max(1, len(pack_within(lengths, budget)))
    assert all(len(b) <= 1 or padded_size(lengths, b) <= budget for b in pack_into(lengths, needed))


def test_deal_gives_like_sizes_to_all_ranks_at_the_same_time() -> None:
    batches = pack_into(np.arange(1, 13), 6)
    shares = deal(batches, 2)
    assert [len(share) for share in shares] == [3, 3]
    assert [batch.tolist() for pair in zip(*shares, strict=True) for batch in pair] == [b.tolist() for b in batches]


def test_padding_costs_nothing_in_a_row() -> None:
    uneven = np.array([8, 1, 1, 1, 1])
    assert [batch.tolist() for batch in pack_within(uneven, 12, packed=True)] == [[0, 1, 2, 3, 4]]
    assert [batch.tolist() for batch in pack_within(uneven, 12)] == [[0], [1, 2, 3, 4]]
