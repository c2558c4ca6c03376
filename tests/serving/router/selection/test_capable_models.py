"""Which models can answer is found again for requests of other needs, lengths and keys, in any order."""

import httpx

from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import model

TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}
SHORT, LONG = "hi", "word " * 400


def test_requests_of_many_kinds_in_turn(start: Starter) -> None:
    url = start.upstream().url
    models = {
        "short": model(url, capabilities={"context_length": 200}),
        "plain": model(url, capabilities={"tools": False}),
        "all": model(url),
    }
    keys = [
        {"name": "any", "key": "sk-any-00000000"},
        {"name": "some", "key": "sk-some-0000000", "models": ["plain", "all"]},
        {"name": "one", "key": "sk-one-00000000", "models": ["short"]},
    ]
    running = start.router(models, {"keys": keys})

    def chosen(key: str, text: str, **fields: object) -> str | int:
        body = {"messages": [{"role": "user", "content": text}], "max_tokens": 10, **fields}
        secret = next(entry["key"] for entry in keys if entry["name"] == key)
        headers = {"authorization": f"Bearer {secret}"}
        answer = httpx.post(f"{running.base}/chat/completions", json=body, headers=headers)
        return answer.headers["x-p2l-model"] if answer.status_code == 200 else answer.status_code

    for _ in range(2):
        assert chosen("any", SHORT) == "short"
        assert chosen("any", LONG) == "plain"
        assert chosen("any", LONG, tools=[TOOL]) == "all"
        assert chosen("any", SHORT, tools=[TOOL]) == "short"
        assert chosen("some", SHORT) == "plain"
        assert chosen("some", SHORT, tools=[TOOL]) == "all"
        assert chosen("one", SHORT) == "short"
        assert chosen("one", LONG) == 400
