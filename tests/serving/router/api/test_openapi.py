"""Whatever the OpenAPI document allows, and much that it does not, is never a 5xx."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import HELLO, KEY, Reply, Running, Seen, completion, delta, model, stream
from tests.serving.router.fakes_responses import events, response

schemathesis = pytest.importorskip("schemathesis")


def ask(running: Running, key: str, body: Any) -> int:
    headers = {"authorization": f"Bearer {key}"}
    return httpx.post(f"{running.base}/chat/completions", json=body, headers=headers, timeout=60).status_code


# rich draws from `random` when it is imported, which schemathesis may do in the middle of an example
@pytest.mark.filterwarnings("ignore:Do not use the .random. module inside strategies")
@pytest.mark.parametrize("first", ["native", "chat"])
def test_no_request_fails_inside(start: Starter, tmp_path: Path, first: str) -> None:
    """``first``: whether the best model has the Responses API, or is asked as for a chat."""

    def answer(seen: Seen) -> Reply:
        if seen.body.get("stream"):
            return stream(*events("Hi"), done=False) if seen.path == "/responses" else stream(delta("Hi", "stop"))
        return Reply(body=response() if seen.path == "/responses" else completion())

    url = start.upstream(answer).url
    models = {"native": model(url, capabilities={"responses": True}), "chat": model(url)}
    models = {first: models.pop(first), **models}
    rest = {"embedding_configs": {"e": model(url)}, "calls": {"read_timeout": 60.0}}  # a busy machine is no fault
    running = start.router(models, rest, feedback=str(tmp_path / "f.sqlite"))
    assert [ask(running, KEY, {"messages": HELLO}), ask(running, KEY, {}), ask(running, "wrong", {})] == [200, 400, 401]
    schema = schemathesis.openapi.from_url(f"{running.url}/openapi.json")
    operations = [operation.ok() for operation in schema.get_all_operations()]
    assert len(operations) > 10
    for operation in operations:
        _check(operation)


def _check(operation: Any) -> None:
    """Draw requests of one operation, right and wrong ones."""
    drawn = [operation.as_strategy(generation_mode=mode) for mode in schemathesis.GenerationMode]

    @settings(max_examples=12, phases=[Phase.generate], suppress_health_check=list(HealthCheck), deadline=None)
    @given(st.one_of(drawn), st.sampled_from([KEY, KEY, KEY, "wrong"]))
    def check(case: Any, key: str) -> None:
        answer = case.call(headers={"authorization": f"Bearer {key}"})
        assert answer.status_code < 500, (case.as_curl_command(), answer.text)
        if answer.status_code >= 400:
            others = set() if case.path.startswith("/v1/messages") else {"param", "code"}
            assert set(answer.json()["error"]) == {"message", "type", *others}

    check()
