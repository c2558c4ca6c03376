"""Sessions, clients' keys with budgets and rates, reload of the configuration."""

import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest
import yaml

from p2l.serving.router.config.load_config import load_config
from p2l.serving.router.config.router_options import RouterOptions
from p2l.serving.router.config.snapshot import Snapshot
from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import HELLO, Clock, Reply, Running, Seen, chat, completion, delta, model, stream

KEYS = [
    {"name": "rich", "key": "sk-rich-000000", "budget": 100.0},
    {"name": "poor", "key": "sk-poor-000000", "budget": 5.0},
    {"name": "slow", "key": "sk-slow-000000", "requests_per_minute": 2},
    {"name": "narrow", "key": "sk-narrow-0000", "models": ["b"]},
]


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


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

    def test_a_session_moves_on_where_its_model_fails(self, start: Starter) -> None:
        fakes = {name: start.upstream() for name in ("a", "b")}
        client = start.client(start.router({name: model(fake.url) for name, fake in fakes.items()}))
        session = {"extra_headers": {"x-p2l-session": "s"}}
        assert chat(client, **session)["x-p2l-model"] == "a"
        fakes["a"].answer = lambda seen: Reply(500, {})
        headers = chat(client, **session)
        assert headers["x-p2l-model"] == "b" and int(headers["x-p2l-attempts"]) <= 4


class TestKeys:
    def running(self, start: Starter, **keys: Any) -> Running:
        fake = start.upstream()
        models = {"a": model(fake.url, 2.0, **keys), "b": model(fake.url, 1.0, **keys)}
        return start.router(models, {"keys": KEYS}, api_key="-")

    def test_a_budget_holds_under_concurrency(self, start: Starter) -> None:
        running = self.running(start)
        served: list[float] = []
        refused: list[str | None] = []

        def ask() -> None:
            try:
                served.append(float(chat(start.client(running, "sk-poor-000000"))["x-p2l-cost"]))
            except openai.RateLimitError as error:
                refused.append(error.code)

        threads = [threading.Thread(target=ask) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(refused) == {"insufficient_quota"}
        ledger = running.container.ledger
        rich, poor, *_ = running.container.snapshot.config.keys
        assert sum(served) == ledger.spent(poor) == 5.0 and ledger.spent(rich) == 0.0  # twice a, then once b

    def test_what_fails_is_not_charged(self, start: Starter) -> None:
        fake = start.upstream(lambda seen: Reply(500, {}))
        running = start.router({"a": model(fake.url, 2.0)}, {"keys": KEYS[:2]})
        for _ in range(5):
            with pytest.raises(openai.InternalServerError):
                chat(start.client(running, "sk-poor-000000"))
        assert running.container.ledger.spent(running.container.snapshot.config.keys[1]) == 0.0

    @pytest.mark.parametrize("streamed", [True, False])
    def test_an_answer_that_cannot_be_remembered_is_not_charged(self, start: Starter, streamed: bool) -> None:
        def answer(seen: Seen) -> Reply:
            running.container.state.execute("DROP TABLE sessions")
            return stream(delta("x"), delta(finish="stop")) if streamed else Reply(body=completion())

        running = start.router({"m": model(start.upstream(answer).url)}, {"keys": KEYS[:1]}, router_type="random")
        with pytest.raises(openai.InternalServerError):
            chat(start.client(running, "sk-rich-000000"), extra_headers={"x-p2l-session": "s"}, stream=streamed)
        assert running.container.ledger.spent(running.container.snapshot.config.keys[0]) == 0.0

    def test_true_costs_by_prices(self, start: Starter) -> None:
        running = self.running(start, prices={"input": 1e5, "output": 2e5})
        chat(start.client(running, "sk-rich-000000"))
        assert running.container.ledger.spent(running.container.snapshot.config.keys[0]) == pytest.approx(0.9 + 0.6)

    @pytest.mark.parametrize("how", ["left", "broken", "ended", "whole"])
    @pytest.mark.parametrize(
        ("text", "limits", "charged"),
        [
            ("x" * 400, {"max_tokens": 1000}, 0.1 + 200 * 0.02),
            ("x" * 400, {"max_tokens": 120}, 0.1 + 120 * 0.02),  # what was held
            ("x" * 400, {}, 0.1 + 200 * 0.02),
            ("x", {"max_tokens": 1000}, 2.0),  # the model's cost
        ],
    )
    def test_an_answer_without_its_usage_is_charged_by_its_text(
        self, start: Starter, how: str, text: str, limits: dict[str, int], charged: float
    ) -> None:
        pieces = [delta(text), delta(text), delta(finish="stop")]
        whole = completion(text + text)
        replies = {
            "left": stream(*pieces, done=False, hang=20.0),
            "broken": stream(*pieces[:2], done=False, reset=True),
            "ended": stream(*pieces),
            "whole": Reply(body={name: whole[name] for name in whole if name != "usage"}),
        }
        priced = model(start.upstream(lambda seen: replies[how]).url, 2.0, prices={"input": 1e4, "output": 2e4})
        running = start.router({"m": priced}, {"keys": KEYS[:1]}, router_type="random")
        asked = {"messages": [{"role": "user", "content": "x" * 40}], "stream": how != "whole", **limits}
        told = {"headers": {"authorization": f"Bearer {KEYS[0]['key']}"}, "timeout": 20}
        with httpx.stream("POST", f"{running.base}/chat/completions", json=asked, **told) as answer:
            for line in answer.iter_lines():
                if how == "left" and '"finish_reason":"stop"' in line:
                    break
        key, deadline = running.container.snapshot.config.keys[0], time.monotonic() + 10
        while running.container.ledger.spent(key) != pytest.approx(charged) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert running.container.ledger.spent(key) == pytest.approx(charged)

    def test_rates(self, start: Starter) -> None:
        client = start.client(self.running(start), "sk-slow-000000")
        chat(client), chat(client)
        with pytest.raises(openai.RateLimitError, match="2 times a minute") as error:
            chat(client)
        assert int(error.value.response.headers["retry-after"]) == 30

    def test_a_key_of_some_models(self, start: Starter) -> None:
        client = start.client(self.running(start), "sk-narrow-0000")
        assert chat(client)["x-p2l-model"] == "b"
        assert [entry.id for entry in client.models.list().data] == ["p2l-router", "b"]
        with pytest.raises(openai.NotFoundError):
            chat(client, extra_body={"direct_model": "a"})

    def test_the_published_default_key_is_void_beside_others(self, start: Starter) -> None:
        with pytest.raises(openai.PermissionDeniedError):
            chat(start.client(self.running(start), "-"))


class TestReload:
    def rewrite(self, running: Running, change: Any) -> None:
        config = yaml.safe_load(running.config_path.read_text())
        change(config)
        self.write(running, yaml.safe_dump(config))

    def write(self, running: Running, text: str) -> None:
        """All at once: a file that is still being written would be looked at."""
        new = running.config_path.with_suffix(".new")
        new.write_text(text)
        new.replace(running.config_path)

    def until_renamed(self, running: Running, old: str, new: str) -> None:
        self.rewrite(running, lambda config: config["model_configs"].update({new: config["model_configs"].pop(old)}))
        until(lambda: new in running.container.snapshot.config.model_configs)

    def until_refused(self, running: Running, times: int) -> None:
        told = f'p2l_router_reloads_total{{result="refused"}} {times}.0'.encode()
        until(lambda: told in running.container.metrics.exposition())

    def test_new_requests_get_the_new_configuration_and_streams_go_on(self, start: Starter) -> None:
        fake = start.upstream(lambda seen: stream(*[delta("x")] * 10, delta(finish="stop"), pause=0.05))
        running = start.router({"old": model(fake.url)}, router_type="random")
        client = start.client(running)
        chunks = iter(client.chat.completions.create(model="-", messages=HELLO, stream=True))
        first = next(chunks)
        self.until_renamed(running, "old", "new")
        assert [entry.id for entry in client.models.list().data] == ["p2l-router", "new"]
        rest = [chunk.choices[0].delta for chunk in chunks]
        assert first.choices[0].delta.content == "x" and len(rest) == 10 and rest[-1].model_dump()["model"] == "old"

    def test_a_file_that_is_not_sound_changes_nothing(self, start: Starter) -> None:
        fake = start.upstream()
        running = start.router({"m": model(fake.url)}, router_type="random")
        before = running.container.snapshot
        self.rewrite(running, lambda config: config["model_configs"]["m"].update(cost=-1))
        self.until_refused(running, 1)
        assert running.container.snapshot is before and chat(start.client(running))["x-p2l-model"] == "m"

    @pytest.mark.parametrize(
        "more",
        ["name: 2024-13-45", "router: {mean_cost: 1.0, mean_cost_state: nowhere/x.sqlite}", "name: a mistake of ours"],
    )
    def test_after_any_file_the_next_sound_one_is_taken(
        self, start: Starter, more: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def load(options: RouterOptions) -> Snapshot:
            if "mistake" in options.config.read_text():
                raise AssertionError("this is no error that the router raises on purpose")
            return Snapshot.of(load_config(options.config), options.api_key, options.cost_optimizer)

        monkeypatch.setattr(Snapshot, "load", load)
        running = start.router({"old": model(start.upstream().url)}, router_type="random")
        client, sound = start.client(running), running.config_path.read_text()
        self.write(running, f"{sound}\n{more}\n")
        self.until_refused(running, 1)
        assert chat(client)["x-p2l-model"] == "old"
        self.write(running, sound)
        self.until_renamed(running, "old", "new")
        assert chat(client)["x-p2l-model"] == "new"
