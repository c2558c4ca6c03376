"""Retry, fallback, cooldown, and the errors that the client sees."""

from typing import Any

import httpx
import openai
import pytest

from tests.serving.router.conftest import IMPATIENT, Starter
from tests.serving.router.fakes import Clock, Reply, Seen, chat, completion, delta, model, stream


def failing(*replies: Reply) -> Any:
    """These replies in turn, then good ones."""
    rest = list(replies)
    return lambda seen: rest.pop(0) if rest else Reply(body=completion())


class TestFailures:
    @pytest.mark.parametrize(
        "reply",
        [
            Reply(429, {"error": {"message": "slow"}}),
            Reply(500, {"error": "x"}),
            Reply(503, b"<html>"),
            Reply(body=b'{"id": '),
            Reply(body=[]),
            Reply(body={"choices": None}),
            Reply(body={}, reset=True),
            Reply(body=completion(), delay=0.8),
        ],
        ids=["429", "500", "html", "malformed", "list", "no choices", "reset", "timeout"],
    )
    def test_retry_then_fallback(self, start: Starter, reply: Reply) -> None:
        bad, good = start.upstream(failing(reply)), start.upstream()
        client = start.client(start.router({"bad": model(bad.url), "good": model(good.url)}, IMPATIENT))
        assert chat(client)["x-p2l-model"] == "bad" and len(bad.seen) == 2
        bad.answer = lambda seen: reply
        headers = chat(client)
        assert headers["x-p2l-model"] == "good" and headers["x-p2l-fallback-from"] == "bad"
        assert headers["x-p2l-attempts"] == "3" and len(bad.seen) == 4

    @pytest.mark.parametrize("status", [401, 403, 404])
    def test_no_retry_for_permanent_failures(self, start: Starter, status: int) -> None:
        bad, good = start.upstream(lambda seen: Reply(status, {"error": {"message": "no"}})), start.upstream()
        client = start.client(start.router({"bad": model(bad.url), "good": model(good.url)}))
        assert chat(client)["x-p2l-attempts"] == "2"
        assert chat(client)["x-p2l-attempts"] == "1" and len(bad.seen) == 1  # it rests

    @pytest.mark.parametrize("streamed", [False, True])
    def test_a_request_that_cannot_be_built(
        self, start: Starter, streamed: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-vendors\nkey")
        good = start.upstream()
        if streamed:
            good.answer = lambda seen: stream(delta("x"), delta(finish="stop"))
        monkeypatch.setenv("OPENAI_BASE_URL", good.url)
        bad = {"name": "x", "type": "openai", "cost": 1.0}
        running = start.router({"bad": bad, "good": model(good.url)})
        headers = chat(start.client(running), stream=streamed)
        assert headers["x-p2l-model"] == "good" and headers["x-p2l-attempts"] == "2"
        assert not running.container.circuit_breaker.is_available("bad")
        assert "could not be made" in caplog.text

    @pytest.mark.parametrize("status", [400, 422])
    def test_no_fallback_for_client_faults(self, start: Starter, status: int) -> None:
        body = {"error": {"message": "'messages' too long", "code": "context_length_exceeded"}}
        bad, good = start.upstream(lambda seen: Reply(status, body)), start.upstream()
        client = start.client(start.router({"bad": model(bad.url), "good": model(good.url)}))
        with pytest.raises(openai.APIStatusError, match="too long") as error:
            chat(client)
        assert error.value.status_code == status and error.value.code == "context_length_exceeded"
        assert not good.seen and len(bad.seen) == 1

    def test_a_request_that_a_provider_cannot_express(self, start: Starter) -> None:
        claude, fake = start.upstream(), start.upstream()
        running = start.router({"claude": model(claude.url, type="anthropic"), "gpt": model(fake.url)})
        client = start.client(running)
        file: Any = [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}]
        headers = chat(client, messages=file)
        assert headers["x-p2l-model"] == "gpt" and headers["x-p2l-fallback-from"] == "claude"
        assert headers["x-p2l-attempts"] == "1" and not claude.seen
        assert running.container.circuit_breaker.is_available("claude")
        with pytest.raises(openai.BadRequestError, match="file ids belong to another vendor") as error:
            chat(client, messages=file, extra_body={"direct_model": "claude"})
        assert (error.value.param, error.value.code) == ("messages", "invalid_request")
        fake.answer = lambda seen: Reply(500, {})
        with pytest.raises(openai.InternalServerError):
            chat(client, messages=file)

    @pytest.mark.parametrize(("status", "expected"), [(429, 429), (500, 502), (401, 502), (504, 504)])
    def test_one_error_if_all_models_fail(self, start: Starter, status: int, expected: int) -> None:
        fakes = [start.upstream(lambda seen: Reply(status, {"error": {"message": "inner"}})) for _ in range(3)]
        client = start.client(start.router({f"m{i}": model(fake.url) for i, fake in enumerate(fakes)}))
        with pytest.raises(openai.APIStatusError) as error:
            chat(client)
        assert error.value.status_code == expected and "inner" not in str(error.value)
        assert int(error.value.response.headers["x-p2l-attempts"]) == sum(len(fake.seen) for fake in fakes) <= 4

    def test_a_model_named_by_the_client_is_not_replaced(self, start: Starter) -> None:
        bad, good = start.upstream(lambda seen: Reply(500, {})), start.upstream()
        client = start.client(start.router({"bad": model(bad.url), "good": model(good.url)}))
        with pytest.raises(openai.InternalServerError):
            chat(client, extra_body={"direct_model": "bad"})
        assert not good.seen

    def test_a_fallback_stays_within_the_budget(self, start: Starter) -> None:
        bad, dear = start.upstream(lambda seen: Reply(500, {})), start.upstream()
        client = start.client(start.router({"dear": model(dear.url, 5.0), "bad": model(bad.url, 1.0)}))
        with pytest.raises(openai.InternalServerError):
            chat(client, extra_body={"cost": 1.0})
        assert not dear.seen

    def test_a_failing_model_gets_a_cooldown(self, start: Starter, monkeypatch: pytest.MonkeyPatch) -> None:
        bad, good = start.upstream(lambda seen: Reply(500, {})), start.upstream()
        calls = {"backoff": 0.01, "cooldown_after": 2, "cooldown": 60.0}
        running = start.router({"bad": model(bad.url), "good": model(good.url)}, {"calls": calls})
        clock = Clock()
        monkeypatch.setattr(running.container.circuit_breaker, "_now", clock)
        client = start.client(running)
        assert [chat(client)["x-p2l-attempts"] for _ in range(3)] == ["3", "1", "1"] and len(bad.seen) == 2
        bad.answer = lambda seen: Reply(body=completion())
        clock.now += 60.0
        assert chat(client)["x-p2l-model"] == "bad"

    def test_scores_that_fail(self, start: Starter) -> None:
        fake, scores = start.upstream(), start.scorer({"a": 1.0, "b": 0.0})
        models = {"a": model(fake.url), "b": model(fake.url)}
        options = {"router_type": "bt-endpoint", "router_model_endpoint": scores.url}
        running = start.router(models, **options)
        scores.answer = lambda seen: Reply(500, {"detail": "traceback"})
        with pytest.raises(openai.InternalServerError, match="could not be scored") as error:
            chat(start.client(running))
        assert error.value.status_code == 503 and httpx.get(f"{running.url}/ready").status_code == 503
        fallback = start.router(models, {"router": {"default_model": "b"}}, **options)
        headers = chat(start.client(fallback))
        assert headers["x-p2l-model"] == "b" and headers["x-p2l-reason"] == "default"

    @pytest.mark.parametrize("status", [413, 422])
    def test_a_prompt_that_is_not_taken_is_the_requests_fault(self, start: Starter, status: int) -> None:
        fake, scores = start.upstream(), start.scorer({"m": 1.0})
        running = start.router(
            {"m": model(fake.url)}, router_type="bt-endpoint", router_model_endpoint=scores.url, watch=600.0
        )
        client, sound = start.client(running), scores.answer
        scores.answer = lambda seen: Reply(status, {"detail": "no"})
        with pytest.raises(openai.InternalServerError, match="try again"):  # the list of models is not the request's
            chat(client)
        scores.answer = lambda seen: sound(seen) if seen.path == "/models" else Reply(status, {"detail": "no"})
        with pytest.raises(openai.BadRequestError, match="does not take this prompt") as error:
            chat(client)
        assert error.value.code == "scoring_refused" and not fake.seen
        fallback = start.router(
            {"m": model(fake.url)},
            {"router": {"default_model": "m"}},
            router_type="bt-endpoint",
            router_model_endpoint=scores.url,
        )
        assert chat(start.client(fallback))["x-p2l-reason"] == "default"


def test_what_the_upstream_saw(start: Starter) -> None:
    """Nothing of the router's own goes out."""
    seen: list[Seen] = []
    fake = start.upstream(lambda s: (seen.append(s), Reply(body=completion()))[1])
    client = start.client(start.router({"m": model(fake.url, api_key=None)}))
    chat(client, extra_headers={"x-p2l-session": "s", "x-custom": "y"}, extra_body={"cost": 2.0})
    assert not [name for name in seen[0].headers if name.startswith("x-") or name in ("authorization", "cookie")]
