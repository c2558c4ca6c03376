"""The simulated stream: models come and go, and nothing else about the votes changes."""

import numpy as np
import pytest

from p2l.data.simulated import SimulatedStream
from p2l.errors import ConfigError

YEAR = 365 * 86_400.0


@pytest.fixture(scope="module")
def stream() -> SimulatedStream:
    return SimulatedStream(num_models=20, num_votes=4_000, num_val_votes=1_000, stay=0.3, seed=3)


@pytest.fixture(scope="module")
def votes(stream):
    return stream.load()


def share_of_year(table) -> np.ndarray:
    return (table.frame["timestamp"].to_numpy() - 1_735_689_600) / YEAR


def test_votes_are_in_order_of_time_and_prompts_held_out(votes):
    for table, count in ((votes.train, 4_000), (votes.val, 1_000)):
        time = share_of_year(table)
        assert len(table) == count and (np.diff(time) >= 0).all()
        assert time[0] < 0.01 and time[-1] > 0.99
    assert not set(votes.train.prompts) & set(votes.val.prompts)


def test_a_model_votes_only_while_it_is_there(stream, votes):
    for table in (votes.train, votes.val):
        time = share_of_year(table)
        for side in (table.model_a, table.model_b):
            since = time - stream.arrivals()[side]
            assert (since >= 0).all() and (since <= 0.3).all()
        assert (table.model_a != table.model_b).all()


def test_models_arrive_evenly_and_meet_alike(stream, votes):
    arrivals = np.sort(stream.arrivals())
    np.testing.assert_allclose(np.diff(arrivals), 1.3 / 20)
    assert arrivals[0] < 0 < arrivals[-1] < 1
    counts = np.bincount(np.concatenate([votes.train.model_a, votes.train.model_b]), minlength=20)
    whole = (stream.arrivals() > 0) & (stream.arrivals() < 0.7)
    assert counts[whole].min() > 0.7 * counts[whole].max()


def test_outcomes_follow_the_truth(stream, votes):
    """Of decisive votes the model with the higher true coefficient wins most, and the gap says how often."""
    coefs = stream.arena().true_coefs(votes.train.frame)
    rows = np.arange(len(votes.train))
    gap = coefs[rows, votes.train.model_a] - coefs[rows, votes.train.model_b]
    won = votes.train.outcome_shares.argmax(1)
    assert ((gap > 0) == (won == 0))[won < 2].mean() > 0.7
    wide = (won < 2) & (np.abs(gap) > 3)
    assert ((gap > 0) == (won == 0))[wide].mean() > 0.9


def test_the_seed_decides(stream, votes):
    again = stream.load()
    assert again.train.frame.equals(votes.train.frame)
    other = SimulatedStream(num_models=20, num_votes=4_000, num_val_votes=1_000, stay=0.3, seed=4)
    assert not np.array_equal(other.arrivals(), stream.arrivals())


@pytest.mark.parametrize("stay", [0.0, 0.1])
def test_too_short_a_stay_is_refused(stay):
    with pytest.raises(ConfigError, match="expected at least two models at each time"):
        SimulatedStream(num_models=20, stay=stay)
