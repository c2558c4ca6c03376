"""``/v1/completions`` for old clients: a prompt becomes a chat, and the answer's text comes back."""

from typing import Any

import httpx
import openai
import pytest

from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import KEY, Reply, completion, delta, stream


def test_a_whole_answer(start: Starter) -> None:
    fake, client = start.one()
    got = client.completions.create(model="-", prompt="Say hi", max_tokens=5, temperature=0.5, stop=["x"], n=1)
    assert got.choices[0].text == "Hello!" and got.choices[0].finish_reason == "stop"
    assert got.object == "text_completion" and got.usage is not None and got.usage.total_tokens == 12
    sent = fake.seen[0].body
    assert sent["messages"] == [{"role": "user", "content": "Say hi"}] and "prompt" not in sent
    assert (sent["max_tokens"], sent["temperature"], sent["stop"]) == (5, 0.5, ["x"])


@pytest.mark.parametrize("asks", [False, True])
def test_a_stream(start: Starter, asks: bool) -> None:
    usage = {**delta(), "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}}
    _, client = start.one(lambda seen: stream(delta("", role="assistant"), delta("Hel"), delta("lo!", "stop"), usage))
    chunks = list(
        client.completions.create(model="-", prompt=["hi"], stream=True, stream_options={"include_usage": asks})
    )
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == "Hello!"
    assert [chunk.usage.total_tokens for chunk in chunks if chunk.usage] == [12] * asks


def test_a_stream_with_prices_states_its_cost(start: Starter) -> None:
    usage = {**delta(), "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}}
    _, client = start.one(lambda seen: stream(delta("Hi", "stop"), usage), prices={"input": 1e5, "output": 2e5})
    chunks: Any = list(
        client.completions.create(model="-", prompt="hi", stream=True, stream_options={"include_usage": True})
    )
    assert chunks[-1].cost == pytest.approx(1.5)


def test_two_choices(start: Starter) -> None:
    whole = completion()
    whole["choices"].append({**whole["choices"][0], "index": 1})
    _, client = start.one(lambda seen: Reply(body=whole))
    assert [choice.index for choice in client.completions.create(model="-", prompt="hi", n=2).choices] == [0, 1]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prompt", ["a", "b"]),
        ("prompt", [1, 2]),
        ("prompt", []),
        ("prompt", None),
        ("suffix", "x"),
        ("echo", True),
        ("logprobs", 0),
        ("best_of", 2),
    ],
)
def test_what_a_chat_cannot_do_is_refused(start: Starter, name: str, value: Any) -> None:
    fake, client = start.one()
    with pytest.raises(openai.BadRequestError, match=name):
        client.completions.create(**{"model": "-", "prompt": "hi", name: value})
    assert not fake.seen


def test_a_stream_that_breaks_ends_with_an_error(start: Starter) -> None:
    _, client = start.one(lambda seen: stream(delta("Hel"), done=False))
    url = str(client.base_url)
    headers = {"authorization": f"Bearer {KEY}"}
    text = httpx.post(f"{url}completions", json={"prompt": "hi", "stream": True}, headers=headers, timeout=20).text
    assert '"error"' in text and text.endswith("data: [DONE]\n\n")
