"""A conversation stays with its model."""

import pytest

from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import Clock, Reply, chat, model


class TestSessions:
    def test_a_session_stays_with_its_model(self, start: Starter, monkeypatch: pytest.MonkeyPatch) -> None:
        scores = start.scorer({"a": 1.0, "b": 0.0})
        fakes = {name: start.upstream() for name in ("a", "b")}
        running = start.router(
            {name: model(fake.url) for name, fake in fakes.items()},
            {"router": {"session_ttl": 60.0}},
            router_type="bt-endpoint",
            router_model_endpoint=scores.url,
        )
        clock = Clock()
        monkeypatch.setattr(running.container.sessions, "_now", clock)
        client = start.client(running)
        session = {"extra_headers": {"x-p2l-session": "conversation 1"}}
        assert chat(client, **session)["x-p2l-model"] == "a"
        scores.answer = lambda seen: Reply(body={"coefs": [0.0, 1.0], "eta": None})
        asked = len(scores.seen)
        headers = chat(client, **session)
        assert (headers["x-p2l-model"], headers["x-p2l-reason"]) == ("a", "session") and len(scores.seen) == asked
        assert chat(client)["x-p2l-model"] == "b"
        assert chat(client, extra_headers={"x-p2l-session": "2"})["x-p2l-model"] == "b"
        clock.now += 60.0
        assert chat(client, **session)["x-p2l-model"] == "b"

    def test_a_session_moves_on_if_its_model_fails(self, start: Starter) -> None:
        fakes = {name: start.upstream() for name in ("a", "b")}
        client = start.client(start.router({name: model(fake.url) for name, fake in fakes.items()}))
        session = {"extra_headers": {"x-p2l-session": "s"}}
        assert chat(client, **session)["x-p2l-model"] == "a"
        fakes["a"].answer = lambda seen: Reply(500, {})
        headers = chat(client, **session)
        assert headers["x-p2l-model"] == "b" and int(headers["x-p2l-attempts"]) <= 4
