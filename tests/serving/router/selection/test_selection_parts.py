"""Sessions, and the end of a conversation that is scored."""

import orjson

from p2l.serving.router.selection.prompt_scorer import truncate_turns
from p2l.serving.router.selection.sessions import SessionStore
from p2l.serving.router.storage.shared_state import open_shared_state
from tests.serving.router.fakes import Clock


def test_sessions_of_two_keys_are_apart_and_expire() -> None:
    clock = Clock()
    sessions = SessionStore(open_shared_state(None), clock)
    sessions.keep("k1", "s", "a", 10.0)
    sessions.keep("k2", "s", "b", 10.0)
    assert (sessions.model("k1", "s"), sessions.model("k2", "s"), sessions.model("k3", "s")) == ("a", "b", None)
    clock.now += 10.0
    assert sessions.model("k1", "s") is None


def test_the_end_of_a_conversation() -> None:
    assert truncate_turns(("a\0b", "c")) == ["ab", "c"]
    assert truncate_turns(tuple(map(str, range(1003)))) == [str(number) for number in range(3, 1003)]
    assert truncate_turns(("x", "y" * 10, "z" * (2**18 - 5))) == ["y" * 5, "z" * (2**18 - 5)]
    for turns in (("\x01" * 2**20,), ("\U0001f600" * 2**20,), ("\0",)):
        assert truncate_turns(turns)[0] == turns[0].strip("\0")[-len(truncate_turns(turns)[0]) :][: 2**18]
        assert len(orjson.dumps(truncate_turns(turns))) < 2**20
