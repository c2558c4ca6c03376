"""Upstreams that fail in a fifth of all requests: each client gets an answer or one clear error."""

import asyncio
import random
from collections import Counter
from typing import Any

import httpx
import pytest

from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import Reply, Seen, completion, delta, model, stream
from tests.waiting import wait_until

NUM_REQUESTS = 600
KEYS = [{"name": f"k{i}", "key": f"sk-key-{i}-0000", "budget": 1e6} for i in range(4)]


def flaky(seed: int) -> Any:
    """Fails one in five times, in each of six ways."""
    rng = random.Random(seed)

    def answer(seen: Seen) -> Reply:
        streamed = bool(seen.body.get("stream"))
        whole = stream(delta("a"), delta("b"), delta(finish="stop")) if streamed else Reply(body=completion())
        if rng.random() >= 0.2:
            return whole
        faults = [
            Reply(429, {"error": {"message": "slow down"}}),
            Reply(500, {"error": {"message": "oops"}}),
            Reply(body={}, delay=0.3),
            Reply(body={}, reset=True),
            Reply(body=b'{"id": "chatcmpl-'),
            stream(delta("a"), done=False, reset=True) if streamed else Reply(body=b"", reset=True),
        ]
        return rng.choice(faults)

    return answer


def outcome(answer: httpx.Response) -> str:
    """What the client got; a failed assertion where it was neither an answer nor one error of OpenAI's form."""
    if answer.status_code != 200:
        error = answer.json()["error"]
        assert error["message"] and set(error) == {"message", "type", "param", "code"}
        return "error"
    if not answer.headers["content-type"].startswith("text/event-stream"):
        assert answer.json()["choices"][0]["message"]["content"] == "Hello!"
        return "answer"
    assert answer.text.endswith("data: [DONE]\n\n")
    errors = answer.text.count('"error"')
    assert errors in (0, 1) and (errors or '"finish_reason":"stop"' in answer.text)
    return "error in stream" if errors else "stream"


@pytest.mark.parametrize("num_upstreams", [1, 3])
def test_every_client_is_answered(start: Starter, num_upstreams: int) -> None:
    models = {f"m{i}": model(start.upstream(flaky(i)).url, 1.0 + i) for i in range(num_upstreams)}
    calls = {"backoff": 0.001, "max_backoff": 0.01, "read_timeout": 0.2, "cooldown": 0.05}
    running = start.router(models, {"calls": calls, "keys": KEYS}, router_type="random")
    spent: Counter[str] = Counter()
    at_once = asyncio.Semaphore(24)

    async def one(client: httpx.AsyncClient, index: int) -> str:
        key = KEYS[index % len(KEYS)]
        body = {"messages": [{"role": "user", "content": "hi"}], "stream": index % 3 == 0}
        headers = {"authorization": f"Bearer {key['key']}"}
        async with at_once:
            answer = await client.post(f"{running.base}/chat/completions", json=body, headers=headers)
        if answer.status_code == 200:
            spent[str(key["name"])] += float(answer.headers["x-p2l-cost"])
        return outcome(answer)

    async def all_of_them() -> list[str]:
        async with httpx.AsyncClient(timeout=30) as client:
            return await asyncio.gather(*(one(client, index) for index in range(NUM_REQUESTS)))

    got = Counter(asyncio.run(all_of_them()))
    assert sum(got.values()) == NUM_REQUESTS
    assert got["answer"] > 0.6 * NUM_REQUESTS and got["stream"] > 0.2 * NUM_REQUESTS
    assert num_upstreams == 1 or got["error"] <= 0.01 * NUM_REQUESTS
    keys = running.container.snapshot.config.keys
    wait_until(
        lambda: [running.spent(index) for index in range(len(keys))] == pytest.approx([spent[key.name] for key in keys])
    )
