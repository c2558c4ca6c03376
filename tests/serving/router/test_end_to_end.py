"""Client, router, a live P2L endpoint on a published checkpoint, and models: who is chosen follows from its numbers."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
from scipy.special import expit

from tests.serving.endpoint_process import KEY as ENDPOINT_KEY
from tests.serving.endpoint_process import Endpoint, endpoint
from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import KEY, Reply, Seen, Upstream, completion, delta, model, stream

CHECKPOINT = "qwen2_grk"


@pytest.fixture(scope="module")
def names(golden: Path) -> list[str]:
    found: list[str] = json.loads((golden / CHECKPOINT / "model_list.json").read_text())
    return found


@pytest.fixture(scope="module")
def rows(golden: Path) -> list[dict[str, Any]]:
    """Prompts with the published code's coefficients."""
    found: list[dict[str, Any]] = json.loads((golden / CHECKPOINT / "golden.json").read_text("utf-8"))["rows"]
    return found


@pytest.fixture(scope="module")
def served(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    options = ["-m", str(golden / CHECKPOINT), "-mt", "qwen2", "-ht", "rk", "-a", ENDPOINT_KEY, "--dtype", "float32"]
    with endpoint(tmp_path_factory.mktemp("endpoint"), *options) as running:
        yield running


def costs(names: list[str]) -> dict[str, float]:
    return {name: 1.0 + index for index, name in enumerate(reversed(names))}


@pytest.fixture(scope="module", params=["endpoint", "in this process"])
def routed(
    request: pytest.FixtureRequest, golden: Path, names: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Upstream, openai.OpenAI]]:
    """A model behind the router for each of the checkpoint's, and a client; who answers says so."""
    if request.param == "endpoint":
        where = {
            "router_type": "grk-endpoint",
            "router_model_endpoint": request.getfixturevalue("served").url,
            "router_api_key": ENDPOINT_KEY,
        }
    else:
        where = {"router_type": "model", "router_model_path": str(golden / CHECKPOINT)}

    def answer(seen: Seen) -> Reply:
        return Reply(body=completion(f"I am {seen.body['model']}"))

    with ExitStack() as stack:
        starter = Starter(tmp_path_factory.mktemp("router"), stack)
        fake = starter.upstream(answer)
        models = {name: model(fake.url, cost, name=f"wire-{name}") for name, cost in costs(names).items()}
        running = starter.router(models, {"calls": {}}, cost_optimizer="strict", **where)
        yield fake, starter.client(running, KEY)


def messages(prompt: str | list[str]) -> list[Any]:
    """The turns of the user, with answers between them that the choice does not rest on."""
    turns = [prompt] if isinstance(prompt, str) else prompt
    found: list[Any] = [{"role": "system", "content": "Be brief."}]
    for turn in turns:
        found += [{"role": "user", "content": turn}, {"role": "assistant", "content": "Well."}]
    return found[:-1]


def test_who_answers_follows_from_the_published_numbers(
    routed: tuple[Upstream, openai.OpenAI], rows: list[dict[str, Any]], names: list[str]
) -> None:
    _, client = routed
    price = costs(names)
    for row in rows:
        for budget in (None, 4.5):
            extra = {} if budget is None else {"cost": budget}
            answer = client.chat.completions.create(model="-", messages=messages(row["prompt"]), extra_body=extra)
            scores = answer.model_dump()["router_outputs"]
            np.testing.assert_allclose([scores[name] for name in names], expit(row["coefs"]), atol=1e-5)
            within = [i for i, name in enumerate(names) if budget is None or price[name] <= budget]
            best = names[max(within, key=lambda i: row["coefs"][i])]
            assert answer.choices[0].message.content == f"I am wire-{best}", row["name"]


@pytest.mark.parametrize(
    "turns",
    [
        ["word " * 220_000],
        ["\U0001f600" * 300_000],
        ["\x01" * 300_000],
        ["hi"] * 1001,
        ["a\0b"],
        ["word " * 220_000, "hi"],
    ],
    ids=["1.1 MB", "4 bytes a character", "escaped", "turns", "NUL", "a long turn before"],
)
def test_prompts_past_the_limits_of_an_endpoint_are_scored(
    routed: tuple[Upstream, openai.OpenAI], turns: list[str], names: list[str]
) -> None:
    fake, client = routed
    sent: list[Any] = [{"role": "user", "content": turn} for turn in turns]
    answer = client.chat.completions.create(model="-", messages=sent)
    assert set(answer.model_dump()["router_outputs"]) == set(names)
    assert [message["content"] for message in fake.seen[-1].body["messages"]] == turns  # the model gets all of it


def test_a_stream_from_end_to_end(routed: tuple[Upstream, openai.OpenAI], rows: list[dict[str, Any]]) -> None:
    fake, client = routed
    before, fake.answer = fake.answer, lambda seen: stream(delta("Hel"), delta("lo"), delta(finish="stop"))
    chunks = client.chat.completions.create(model="-", messages=messages(rows[0]["prompt"]), stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello"
    fake.answer = before
