"""Laws of the orders in which votes in time are fed."""

from collections import deque

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2l.data.batches import BatchPlan
from p2l.data.buffers import Buffer, GeometricBuffer, ReplayBuffer, votes_before
from p2l.data.vote_table import VoteTable
from p2l.errors import ConfigError
from p2l.types import OUTCOMES

some = settings(max_examples=30)
sizes = given(num_votes=st.integers(1, 300), batch_size=st.integers(1, 40), seed=st.integers(0, 99))


def make_votes(num_votes: int, seed: int = 0, num_models: int = 5) -> VoteTable:
    rng = np.random.default_rng(seed)
    a = rng.integers(num_models, size=num_votes)
    b = (a + rng.integers(1, num_models, size=num_votes)) % num_models
    return of_pairs(list(zip(a.tolist(), b.tolist(), strict=True)), num_models)


def of_pairs(pairs: list[tuple[int, int]], num_models: int) -> VoteTable:
    names = [f"model {i:03d}" for i in range(num_models)]
    frame = pd.DataFrame(
        {
            "prompt": [f"prompt {i % 7}" for i in range(len(pairs))],
            "model_a": [names[a] for a, _ in pairs],
            "model_b": [names[b] for _, b in pairs],
            "winner": OUTCOMES[0].value,
        }
    )
    return VoteTable.from_frame(frame, names)


def fed(buffer: Buffer, table: VoteTable, batch_size: int, seed: int = 0, epoch: int = 0) -> np.ndarray:
    return BatchPlan(batch_size, buffer=buffer, seed=seed).order(table, epoch)


@pytest.mark.parametrize("buffer", [ReplayBuffer(0.3, 20), ReplayBuffer(0.9), GeometricBuffer(0.9, 0.1)])
@some
@sizes
def test_what_a_buffer_says_it_feeds_is_what_it_feeds(
    buffer: Buffer, num_votes: int, batch_size: int, seed: int
) -> None:
    table = make_votes(num_votes, seed)
    order = fed(buffer, table, batch_size, seed)
    assert len(order) == buffer.num_fed(num_votes, batch_size)
    assert BatchPlan(batch_size, buffer=buffer).steps(table) == -(-len(order) // batch_size)
    assert set(order.tolist()) == set(range(num_votes))


@some
@sizes
def test_geometric_feeds_each_vote_once(num_votes: int, batch_size: int, seed: int) -> None:
    order = fed(GeometricBuffer(0.8, 0.05), make_votes(num_votes, seed), batch_size, seed)
    assert sorted(order.tolist()) == list(range(num_votes))


@some
@given(
    num_votes=st.integers(1, 200),
    batch_size=st.integers(1, 20),
    share=st.floats(0, 0.95),
    capacity=st.integers(1, 60),
    seed=st.integers(0, 9),
)
def test_replay_feeds_the_next_votes_and_a_share_of_the_kept(
    num_votes: int, batch_size: int, share: float, capacity: int, seed: int
) -> None:
    order = fed(ReplayBuffer(share, capacity), make_votes(num_votes), batch_size, seed)
    replayed = min(round(share * batch_size), batch_size - 1)
    kept: deque[int] = deque(maxlen=capacity)
    come = 0
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size].tolist()
        old, new = batch[: replayed if start else 0], batch[replayed if start else 0 :]
        assert new == list(range(come, come + len(new))) and new
        assert set(old) <= set(kept)
        kept.extend(new)
        come += len(new)
    assert come == num_votes


def test_replay_draws_all_of_the_past_alike() -> None:
    order = fed(ReplayBuffer(0.5), make_votes(2_000), 1_000)  # batches of 1000, 500 + 500, 500 + 500
    second = order[1_000:1_500]
    assert second.max() < 1_000
    assert np.histogram(second, bins=4, range=(0, 1_000))[0] == pytest.approx(125, abs=40)
    third = order[2_000:2_500]
    assert 1_000 < third.max() < 1_500


def test_votes_before_counts_the_less_seen_model() -> None:
    a, b = np.array([0, 0, 2, 1, 0]), np.array([1, 2, 0, 2, 1])
    assert votes_before(a, b, 4).tolist() == [0, 0, 1, 1, 2]


def test_geometric_does_not_put_off_votes_on_new_models() -> None:
    """Between 100 votes on one pair, votes on models never seen before."""
    pairs = [(0, 1)] * 100
    for model, place in enumerate(range(20, 100, 20), start=2):
        pairs[place] = (0, model)
    order = fed(GeometricBuffer(0.5, 0.02), of_pairs(pairs, 6), batch_size=5)
    place_of = np.argsort(order)
    batch_when_come = [(place_of[: place + 1] // 5).max() for place in range(100)]
    for place in range(20, 100, 20):
        assert place_of[place] // 5 <= batch_when_come[place]
        ahead = np.arange(place)
        assert place_of[place] <= (place_of[ahead] < place_of[place]).sum()  # nothing that came later is fed before


@some
@sizes
def test_geometric_is_what_its_docstring_says(num_votes: int, batch_size: int, seed: int) -> None:
    """Against the same rule, vote by vote."""
    table, rng = make_votes(num_votes, seed), np.random.default_rng((seed, 0))
    seen, put_off = [0] * 5, []
    for a, b in zip(table.model_a.tolist(), table.model_b.tolist(), strict=True):
        put_off.append(max(0.05, 0.7 ** min(seen[a], seen[b])))
        seen[a], seen[b] = seen[a] + 1, seen[b] + 1
    delays = (rng.geometric(put_off) - 1).tolist()
    order: list[int] = []
    waiting: list[tuple[int, int]] = []
    come = 0
    for batch in range(num_votes + 1):
        now = sorted(vote for vote in waiting if vote[0] <= batch or come == num_votes)[:batch_size]
        waiting = [vote for vote in waiting if vote not in now]
        while len(now) < batch_size and come < num_votes:
            (waiting if delays[come] else now).append((batch + delays[come], come))
            come += 1
        order += [vote for _, vote in now]
    assert fed(GeometricBuffer(0.7, 0.05), table, batch_size, seed).tolist() == order


def test_without_delay_the_order_is_that_of_time() -> None:
    table = make_votes(50)
    assert fed(GeometricBuffer(epsilon=1.0), table, 8).tolist() == list(range(50))
    assert fed(ReplayBuffer(share=0.0), table, 8).tolist() == list(range(50))


def test_the_last_batches_of_geometric_mix_old_votes_and_new() -> None:
    order = fed(GeometricBuffer(0.9, 0.02), make_votes(10_000), 50)
    assert order[:500].mean() < order[5_000:5_500].mean() < order[-500:].mean()
    last = order[-500:]
    assert last.min() < 8_000 and last.max() > 9_900


@pytest.mark.parametrize("buffer", [ReplayBuffer(), GeometricBuffer(0.9)])
def test_orders_depend_on_seed_and_epoch_alone(buffer: Buffer) -> None:
    table = make_votes(200)
    first = fed(buffer, table, 20, seed=1)
    assert first.tolist() == fed(buffer, table, 20, seed=1).tolist()
    assert first.tolist() != fed(buffer, table, 20, seed=1, epoch=1).tolist()
    assert first.tolist() != fed(buffer, table, 20, seed=2).tolist()


def test_bad_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="share must be a finite number of at least 0 and below 1"):
        ReplayBuffer(share=1.0)
    with pytest.raises(ConfigError, match="capacity must be a whole number, at least 1"):
        ReplayBuffer(capacity=0)
    with pytest.raises(ConfigError, match="epsilon must be a finite number above 0; got 0.0"):
        GeometricBuffer(epsilon=0.0)
    with pytest.raises(ConfigError, match="needs votes in order of time"):
        BatchPlan(shuffle="votes", buffer=ReplayBuffer())
