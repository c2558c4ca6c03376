"""While a table is read Python does not search for cycles; afterwards it does as before."""

import gc

import pytest

from p2l.data import load_votes
from p2l.data.collector import paused_collector
from p2l.errors import DataError


def test_collector_is_paused_inside_and_runs_again_after() -> None:
    assert gc.isenabled()
    with paused_collector():
        assert not gc.isenabled()
        with paused_collector():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


def test_collector_runs_again_after_a_table_that_cannot_be_read() -> None:
    with pytest.raises(DataError):
        load_votes([{"prompt": "What is 1+1?"}])
    assert gc.isenabled()


def test_collector_that_the_caller_paused_stays_paused() -> None:
    gc.disable()
    try:
        load_votes([{"prompt": "What is 1+1?", "model_a": "ant", "model_b": "bee", "winner": "tie"}])
        assert not gc.isenabled()
    finally:
        gc.enable()
