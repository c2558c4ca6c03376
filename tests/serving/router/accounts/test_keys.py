"""Budgets, rates and models of client keys, over HTTP."""

import threading
from typing import Any

import httpx
import openai
import pytest

from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import Reply, Running, Seen, chat, completion, delta, model, stream
from tests.waiting import wait_until

KEYS = [
    {"name": "rich", "key": "sk-rich-000000", "budget": 100.0},
    {"name": "poor", "key": "sk-poor-000000", "budget": 5.0},
    {"name": "slow", "key": "sk-slow-000000", "requests_per_minute": 2},
    {"name": "narrow", "key": "sk-narrow-0000", "models": ["b"]},
]


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

    def test_failures_are_not_charged(self, start: Starter) -> None:
        fake = start.upstream(lambda seen: Reply(500, {}))
        running = start.router({"a": model(fake.url, 2.0)}, {"keys": KEYS[:2]})
        for _ in range(5):
            with pytest.raises(openai.InternalServerError):
                chat(start.client(running, "sk-poor-000000"))
        assert running.spent(1) == 0.0

    @pytest.mark.parametrize("streamed", [True, False])
    def test_an_answer_whose_session_cannot_be_stored_is_delivered(self, start: Starter, streamed: bool) -> None:
        def answer(seen: Seen) -> Reply:
            running.container.state.execute("DROP TABLE sessions")
            return stream(delta("x"), delta(finish="stop")) if streamed else Reply(body=completion())

        running = start.router({"m": model(start.upstream(answer).url)}, {"keys": KEYS[:1]}, router_type="random")
        chat(start.client(running, "sk-rich-000000"), extra_headers={"x-p2l-session": "s"}, stream=streamed)
        assert running.spent() == 1.0

    def test_actual_costs_by_prices(self, start: Starter) -> None:
        running = self.running(start, prices={"input": 1e5, "output": 2e5})
        chat(start.client(running, "sk-rich-000000"))
        assert running.spent() == pytest.approx(0.9 + 0.6)

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
        expected = {"headers": {"authorization": f"Bearer {KEYS[0]['key']}"}, "timeout": 20}
        with httpx.stream("POST", f"{running.base}/chat/completions", json=asked, **expected) as answer:
            for line in answer.iter_lines():
                if how == "left" and '"finish_reason":"stop"' in line:
                    break
        wait_until(lambda: running.spent() == pytest.approx(charged))

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
        with pytest.raises(openai.AuthenticationError):
            chat(start.client(self.running(start), "-"))
