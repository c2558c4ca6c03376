"""Sessions switch between models when that pays, stay in loops of tools, and escalate when they stall."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from p2l.errors import ConfigError
from p2l.serving.router.config.session_config import SessionConfig
from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import KEY, Reply, Running, Seen, chat, completion, model

TOKENS = 100_000  # of each prompt, as the providers report them: reading costs 0.1 and 0.01, entering 0.9 and 0.09
PRICES = {
    "dear": {"input": 10.0, "output": 0.0, "cached_input": 1.0},
    "cheap": {"input": 1.0, "output": 0.0, "cached_input": 0.1},
}
EASY, HARD = {"role": "user", "content": "easy"}, {"role": "user", "content": "hard"}
DONE = {"role": "assistant", "content": "Done."}
CALL = {
    "role": "assistant",
    "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
}
SESSION = {"extra_headers": {"x-p2l-session": "s"}}


def scores(seen: Seen) -> Reply:
    """The dear model is better by two if the last turn is hard, else worse."""
    if seen.path == "/models":
        return Reply(body={"models": list(PRICES), "family": "bt"})
    return Reply(body={"coefs": [1.0 if seen.body["prompt"][-1] == "hard" else -1.0, -1.0 + 0.5], "eta": None})


def answer(seen: Seen) -> Reply:
    usage = {"prompt_tokens": TOKENS, "completion_tokens": 1, "total_tokens": TOKENS + 1}
    return Reply(body=completion() | {"usage": usage})


def running(
    start: Starter, *, budgets: dict[str, Any] | None = None, state: Path | None = None, **sessions: Any
) -> Running:
    fake = start.upstream(answer)
    models = {name: model(fake.url, 0.0, prices=prices) for name, prices in PRICES.items()}
    options = {"router_type": "bt-endpoint", "router_model_endpoint": start.upstream(scores).url, "state": state}
    rules = {"mode": "per_turn", **sessions}
    return start.router(models, {"router": {"sessions": rules, **(budgets or {})}}, cost_optimizer="strict", **options)


def turns(*said: Any) -> list[Any]:
    return [message for one in said[:-1] for message in (one, DONE)] + [said[-1]]


@pytest.mark.parametrize(
    ("rules", "body", "expected"),
    [
        ({"horizon": 1}, {"cost": 0.5}, "cheap"),  # 0.1 + 0.9 is more than the budget
        ({"horizon": 10}, {"cost": 0.5}, "dear"),  # 0.1 + 0.09 is not
        ({"horizon": 1}, {}, "dear"),  # no budget: the best score
        ({"horizon": 1, "score_per_cost": 1.0}, {}, "dear"),  # 1.5 of score against 0.9
        ({"horizon": 1, "score_per_cost": 2.0}, {}, "cheap"),  # against 1.8
        ({"horizon": 2, "score_per_cost": 2.0}, {}, "dear"),
    ],
)
def test_a_switch_happens_when_it_pays(
    start: Starter, rules: dict[str, Any], body: dict[str, Any], expected: str
) -> None:
    server = running(start, **rules)
    client = start.client(server)
    fields = {**SESSION, "extra_body": body}
    first = chat(client, messages=[EASY], **fields)
    assert (first["x-p2l-model"], "x-p2l-switch-cost" in first) == ("cheap", False)
    headers = {"authorization": f"Bearer {KEY}", "x-p2l-session": "s"}
    shown = httpx.post(f"{server.base}/route", json={"messages": turns(EASY, HARD), **body}, headers=headers).json()
    session = shown["session"]
    assert (session["name"], session["mode"], session["before"], session["tokens"]) == (
        "s",
        "per_turn",
        "cheap",
        TOKENS,
    )
    assert session["is_counted"] is ("cost" in body or "score_per_cost" in rules)
    assert session["enter"]["cheap"] == 0 and session["read"]["cheap"] == pytest.approx(0.01)
    assert shown["model"] == expected and session["cost"] == (None if expected == "cheap" else pytest.approx(0.9))
    second = chat(client, messages=turns(EASY, HARD), **fields)
    assert second["x-p2l-model"] == expected
    switched = second.get("x-p2l-switch-from"), second.get("x-p2l-switch-cost")
    assert switched == ((None, None) if expected == "cheap" else ("cheap", "0.9"))
    metrics = httpx.get(server.url + "/metrics").text
    assert ('p2l_router_session_switch_cost_total{model="dear"} 0.9' in metrics) is (expected == "dear")
    third = chat(client, messages=turns(EASY, HARD, HARD), **fields)
    assert "x-p2l-switch-cost" not in third and third["x-p2l-model"] == expected  # its cache is warm


def test_a_budget_below_all_these_prices_is_compared_with_the_costs_alone(start: Starter) -> None:
    server = running(start, horizon=1)
    client, fields = start.client(server), {**SESSION, "extra_body": {"cost": 0.001}}
    chat(client, messages=[EASY], **fields)
    assert chat(client, messages=turns(EASY, HARD), **fields)["x-p2l-model"] == "dear"
    headers = {"authorization": f"Bearer {KEY}", "x-p2l-session": "s"}
    shown = httpx.post(f"{server.base}/route", json={"messages": [EASY], "cost": 0.001}, headers=headers).json()
    assert shown["session"]["is_counted"] is False


@pytest.mark.parametrize(("horizon", "mean_cost", "expected"), [(1, 0.05, {"cheap"}), (100, 10.0, {"cheap", "dear"})])
def test_a_stream_budget_counts_the_switch(start: Starter, horizon: int, mean_cost: float, expected: set[str]) -> None:
    client = start.client(running(start, budgets={"mean_cost": mean_cost}, horizon=horizon))
    chat(client, messages=[EASY], **SESSION)
    answers = [chat(client, messages=turns(EASY, HARD), **SESSION) for _ in range(5)]
    assert {one["x-p2l-model"] for one in answers} <= expected and answers[-1]["x-p2l-model"] == max(expected)
    assert {one["x-p2l-reason"] for one in answers} == {"stream"}


def test_a_cold_cache_holds_nobody(start: Starter, monkeypatch: pytest.MonkeyPatch) -> None:
    server = running(start, horizon=1, score_per_cost=2.0)
    client = start.client(server)
    chat(client, messages=[EASY], **SESSION)
    now = server.container.caches._now
    monkeypatch.setattr(server.container.caches, "_now", lambda: now() + 301)
    answered = chat(client, messages=turns(EASY, HARD), **SESSION)
    # both would enter: the difference of 0.81 at 2 is more than the gain of 1.5
    assert answered["x-p2l-model"] == "cheap"
    server.container.caches._state.execute("DELETE FROM prompt_caches")
    assert chat(client, messages=turns(EASY, HARD), **SESSION)["x-p2l-model"] == "dear"


def test_workers_share_what_the_caches_hold(start: Starter, tmp_path: Path) -> None:
    first, second = (running(start, horizon=1, score_per_cost=2.0, state=tmp_path / "state") for _ in range(2))
    chat(start.client(first), messages=[EASY], **SESSION)
    assert chat(start.client(second), messages=turns(EASY, HARD), **SESSION)["x-p2l-model"] == "cheap"
    assert chat(start.client(second), messages=turns(EASY, HARD))["x-p2l-model"] == "dear"


def test_a_loop_of_tools_stays_and_the_next_turn_is_free(start: Starter) -> None:
    client = start.client(running(start, mode="sticky_tools", from_text=True))
    result = {"role": "tool", "tool_call_id": "1", "content": "ok"}
    assert chat(client, messages=[HARD])["x-p2l-model"] == "dear"
    looping = chat(client, messages=[HARD, CALL, result])
    assert (looping["x-p2l-model"], looping["x-p2l-reason"]) == ("dear", "session")
    assert chat(client, messages=[HARD, CALL, result, DONE, EASY])["x-p2l-model"] == "cheap"
    assert chat(client, messages=[HARD, CALL, result, DONE, EASY, CALL, result])["x-p2l-reason"] == "session"


@pytest.mark.parametrize("mode", ["sticky", "sticky_tools", "per_turn"])
def test_an_agent_that_stalls_gets_a_better_model(start: Starter, mode: str) -> None:
    client = start.client(running(start, mode=mode, from_text=True, escalate_after=2))
    failed = {"role": "tool", "tool_call_id": "1", "content": "Error: no such file"}
    asked = [{"role": "user", "content": "a task"}]
    assert chat(client, messages=asked)["x-p2l-model"] == "cheap"
    assert chat(client, messages=[*asked, CALL, failed])["x-p2l-model"] == "cheap"
    # here the cheap model scores higher, so there is none to escalate to
    stalled = chat(client, messages=[*asked, CALL, failed, CALL, failed])
    assert (stalled["x-p2l-model"], stalled["x-p2l-reason"]) == ("cheap", "session")


@pytest.mark.parametrize("mode", ["sticky", "sticky_tools", "per_turn"])
def test_an_escalation_lasts_while_the_error_goes_on(start: Starter, mode: str) -> None:
    server = running(
        start,
        mode=mode,
        from_text=True,
        escalate_after=2,
        horizon=1,
        **({} if mode == "sticky" else {"score_per_cost": 2.0}),
    )
    client = start.client(server)
    failed = {"role": "tool", "tool_call_id": "1", "content": "Error: no such file"}
    asked = [EASY, DONE, HARD]
    assert chat(client, messages=asked[:1])["x-p2l-model"] == "cheap"
    steps = [chat(client, messages=[*asked, *[CALL, failed] * n]) for n in (1, 2, 3, 4)]
    if mode != "sticky":
        assert steps[1]["x-p2l-switch-cost"] == "0.9"
    found = [(one["x-p2l-model"], one["x-p2l-reason"]) for one in steps[1:]]
    assert found == [("dear", "escalated"), ("dear", "session"), ("dear", "session")]


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"horizon": 0.5}, "horizon must be a finite number of at least 1; got 0.5"),
        ({"mode": "per_turn", "score_per_cost": 0.0}, "score_per_cost must be a finite number above 0"),
        ({"score_per_cost": 1.0}, "score_per_cost has no effect in mode sticky"),
        ({"escalate_after": 1}, "escalate_after must be a whole number, at least 2; got 1"),
    ],
)
def test_wrong_rules_are_errors(rules: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SessionConfig(**rules)
