"""Money as clients, keys and operators see it: charges to the token, one unit, reasons and headers."""

import json
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import yaml

from p2l.serving.router.router_command import main
from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import HELLO, KEY, Reply, Running, chat, completion, delta, model, stream
from tests.waiting import wait_until

# USD for a million tokens, and `cost` in USD, too
PRICES = {"input": 1.0, "output": 10.0}
THOUGHTFUL = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 9100}
RICH = {"name": "rich", "key": "sk-rich-000000", "budget": 100.0}
THE_RICH = {"authorization": "Bearer sk-rich-000000"}


def spent(running: Running) -> float:
    """What the key has spent, once it has; a stream is charged a moment after its last byte."""
    wait_until(running.spent)
    return running.spent()


def ask(running: Running, **fields: Any) -> httpx.Response:
    body = {"model": "-", "messages": HELLO, **fields}
    return httpx.post(f"{running.base}/chat/completions", json=body, headers=THE_RICH, timeout=30)


def charged(start: Starter, reply: Reply, sent: dict[str, Any] | None = None, **keys: Any) -> tuple[float, float]:
    """The cost that a key is charged for one answer, and the cost that the client reads."""
    priced = model(start.upstream(lambda seen: reply).url, **{"cost": 0.0, "prices": PRICES, **keys})
    running = start.router({"m": priced}, {"keys": [RICH]}, router_type="random")
    answer = ask(running, **(sent or {}))
    if "x-p2l-cost" in answer.headers:
        return spent(running), float(answer.headers["x-p2l-cost"])
    events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
    return spent(running), next(event["cost"] for event in reversed(events) if "cost" in event)


WITH_USAGE = {"stream": True, "stream_options": {"include_usage": True}}


@pytest.mark.parametrize(
    ("usage", "right"),
    [
        (THOUGHTFUL, 0.082),
        ({"prompt_tokens": 1000.0, "completion_tokens": 100.0}, 0.002),
        ({**THOUGHTFUL, "completion_tokens": 8100, "completion_tokens_details": {"reasoning_tokens": 8000}}, 0.082),
    ],
)
def test_an_answer_is_charged_to_the_token(start: Starter, usage: dict[str, Any], right: float) -> None:
    assert charged(start, Reply(body={**completion(), "usage": usage})) == pytest.approx((right, right))
    chunks = stream(delta("x"), delta(finish="stop"), {**delta(), "choices": [], "usage": usage})
    assert charged(start, chunks, WITH_USAGE) == pytest.approx((right, right))


def test_the_cache_of_anthropic_is_charged(start: Starter) -> None:
    usage = {"input_tokens": 10, "cache_read_input_tokens": 1000, "cache_creation_input_tokens": 200}
    answer = {"id": "msg", "model": "c", "content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn"}
    right = (10 * 1.0 + 1000 * 0.1 + 200 * 1.25 + 7 * 10.0) / 1e6
    whole = Reply(body={**answer, "usage": {**usage, "output_tokens": 7}})
    assert charged(start, whole, type="anthropic") == pytest.approx((right, right))
    events = [
        {"type": "message_start", "message": {**answer, "content": [], "usage": {**usage, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}},
        {"type": "message_stop"},
    ]
    streamed = stream(*events, done=False, named=True)
    assert charged(start, streamed, WITH_USAGE, type="anthropic") == pytest.approx((right, right))


def test_each_choice_is_charged_and_counts_against_the_budget_of_the_request(start: Starter) -> None:
    four = {**completion(), "choices": [{**completion()["choices"][0], "index": index} for index in range(4)]}
    fake = start.upstream(lambda seen: Reply(body=four))
    models = {"dear": model(fake.url, 2.0), "cheap": model(fake.url, 0.5)}
    running = start.router(models, {"keys": [RICH]}, cost_optimizer="strict")
    answer = ask(running, n=4, cost=3.0)
    assert (answer.headers["x-p2l-model"], answer.headers["x-p2l-cost"]) == ("cheap", "2") and spent(running) == 2.0
    refused = ask(running, n=4, cost=1.9).json()["error"]
    assert refused["code"] == "infeasible_budget" and "at 2 for 4 choices" in refused["message"]
    preview = {"messages": HELLO, "n": 4, "cost": 3.0}
    shown = httpx.post(f"{running.base}/route", json=preview, headers=THE_RICH).json()
    assert (shown["model"], shown["cost"]) == ("cheap", 2.0)


def test_the_cheaper_model_that_a_key_can_still_pay_for_has_a_reason_of_its_own(
    start: Starter, caplog: pytest.LogCaptureFixture
) -> None:
    fake = start.upstream()
    models = {"dear": model(fake.url, 60.0), "cheap": model(fake.url, 1.0)}
    running = start.router(models, {"keys": [RICH]}, api_key=KEY)
    with caplog.at_level("INFO", "p2l.serving.router"):
        first, second = ask(running), ask(running)
    assert (first.headers["x-p2l-model"], first.headers["x-p2l-reason"]) == ("dear", "routed")
    assert (second.headers["x-p2l-model"], second.headers["x-p2l-reason"]) == ("cheap", "key-budget")
    assert second.headers["x-p2l-fallback-from"] == "dear" and second.headers["x-p2l-attempts"] == "1"
    logged = [record.fields for record in caplog.records if record.message == "answered"]
    assert [(fields["reason"], fields.get("unaffordable")) for fields in logged] == [
        ("routed", None),
        ("key-budget", ("dear",)),
    ]


def test_a_fallback_after_a_failure_is_no_matter_of_the_budget(start: Starter) -> None:
    broken, sound = start.upstream(lambda seen: Reply(500, {})), start.upstream()
    running = start.router({"dear": model(broken.url, 2.0), "cheap": model(sound.url, 1.0)}, {"keys": [RICH]})
    assert ask(running).headers["x-p2l-reason"] == "routed"


def test_the_cost_of_a_stream_is_not_stated_before_it_is_known(start: Starter) -> None:
    fake = start.upstream(lambda seen: stream(delta("x"), delta(finish="stop")))
    running = start.router({"m": model(fake.url, 2.0, prices=PRICES)}, router_type="random")
    headers = chat(start.client(running), stream=True)
    assert "x-p2l-cost" not in headers and headers["x-p2l-estimated-cost"] == "2"


def test_the_examples_state_one_unit(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TEAM_A_KEY", "BATCH_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, f"sk-{name}")
    other_packages = {"litellm", "list_prices"}  # list_prices.yaml: tests/docs
    for path in Path("docs/examples/router").glob("*.yaml"):
        if path.stem in other_packages:
            continue
        assert main(["-c", str(path), "--check-config"]) == 0
    assert "disagree" not in caplog.text


@pytest.mark.parametrize(
    ("cost", "prices", "warns"),
    [
        (9.3, {"input": 3.0, "output": 15.0}, True),  # thousandths of a dollar beside dollars
        (0.0093, {"input": 3.0, "output": 15.0}, False),
        (9.3, {"input": 3000.0, "output": 15000.0}, False),
        (0.0, {"input": 3.0, "output": 15.0}, True),
        (1.0, {"input": 0.0, "output": 0.0}, True),
        (0.0, {"input": 0.0, "output": 0.0}, False),
        (9.3, None, False),
    ],
)
def test_two_units_are_noticed(
    tmp_path: Path, cost: float, prices: Any, warns: bool, caplog: pytest.LogCaptureFixture
) -> None:
    models = {"m": {"name": "m", "type": "openai", "cost": cost, "prices": prices}}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({"model_configs": models}))
    assert main(["-c", str(tmp_path / "c.yaml"), "--check-config"]) == 0
    assert ("disagree by more than ten times" in caplog.text) == warns


def test_the_budget_of_a_key_is_in_the_unit_of_the_prices(start: Starter) -> None:
    """The second request of a key is refused only when the first one truly spent its budget."""
    fake = start.upstream(lambda seen: Reply(body={**completion(), "usage": THOUGHTFUL}))
    models = {"m": model(fake.url, 0.01, prices=PRICES)}
    running = start.router(models, {"keys": [{**RICH, "budget": 0.1}]}, router_type="random")
    client = start.client(running, RICH["key"])
    assert float(chat(client)["x-p2l-cost"]) == pytest.approx(0.082)
    assert float(chat(client)["x-p2l-cost"]) == pytest.approx(0.082)  # 0.092 was held: it overdraws by what it thought
    with pytest.raises(openai.RateLimitError):
        chat(client)
