"""Models are selected by budget, score and capabilities."""

from typing import Any

import httpx
import openai
import pytest

from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import HELLO, KEY, chat, model

NEEDS: dict[str, dict[str, Any]] = {
    "tools": {"tools": [{"type": "function", "function": {"name": "f"}}]},
    "images": {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y"}}]}]},
    "json_schema": {"response_format": {"type": "json_object"}},
    "logprobs": {"logprobs": True},
    "several_choices": {"n": 2},
    "other_tools": {"tools": [{"type": "web_search"}]},
    "other_parts": {
        "messages": [{"role": "user", "content": [{"type": "video_url", "video_url": {"url": "https://x"}}]}]
    },
    "audio_output": {"modalities": ["text", "audio"], "audio": {"voice": "x", "format": "wav"}},
    "image_output": {"modalities": ["image", "text"]},
    "web_search": {"extra_body": {"web_search_options": {}}},
    "legacy_functions": {"functions": [{"name": "f", "parameters": {"type": "object"}}]},
    "context_length": {"messages": [{"role": "user", "content": "word " * 400}]},
}


class TestBudget:
    def test_an_infeasible_budget_names_the_cheapest(self, start: Starter) -> None:
        fake = start.upstream()
        client = start.client(start.router({"dear": model(fake.url, 5.0), "cheap": model(fake.url, 1.5)}))
        with pytest.raises(openai.BadRequestError, match=r"cheapest is cheap, at 1\.5") as error:
            chat(client, extra_body={"cost": 1.0})
        assert error.value.code == "infeasible_budget" and not fake.seen
        with pytest.raises(openai.BadRequestError, match="dear, at 5"):
            chat(client, extra_body={"cost": 1.0, "direct_model": "dear"})

    @pytest.mark.parametrize("optimizer", ["strict", "simple-lp", "optimal-lp"])
    def test_optimisers(self, start: Starter, optimizer: str) -> None:
        fake = start.upstream()
        running = start.router({"dear": model(fake.url, 3.0), "cheap": model(fake.url, 1.0)}, cost_optimizer=optimizer)
        client = start.client(running)
        assert chat(client)["x-p2l-model"] == "dear"
        assert chat(client, extra_body={"cost": 1.0})["x-p2l-model"] == "cheap"
        chosen = [chat(client, extra_body={"cost": 2.0})["x-p2l-model"] for _ in range(20)]
        assert set(chosen) == ({"cheap"} if optimizer == "strict" else {"cheap", "dear"})

    def test_the_decision_without_a_call(self, start: Starter) -> None:
        fake = start.upstream()
        running = start.router(
            {"dear": model(fake.url, 3.0), "cheap": model(fake.url, 1.0)}, cost_optimizer="optimal-lp"
        )
        headers = {"authorization": f"Bearer {KEY}"}
        body = {"messages": HELLO, "cost": 2.0}
        preview = httpx.post(f"{running.base}/route", json=body, headers=headers).json()
        assert not fake.seen and preview["expected_cost"] == 2.0 and preview["shadow_price"] > 0
        assert 1.0 < preview["strength"] < 2.0 and preview["router_outputs"] == {"dear": 2.0, "cheap": 1.0}
        assert preview["candidates"][0]["model"] == preview["model"]
        assert {"model": "cheap", "cost": 1.0} in preview["candidates"]

    def test_published_scores_of_grounded_models(self, start: Starter) -> None:
        fake, scores = start.upstream(), start.scorer({"m": 0.0, "elsewhere": 3.0})
        running = start.router({"m": model(fake.url)}, router_type="bag-endpoint", router_model_endpoint=scores.url)
        answer = start.client(running).chat.completions.create(model="-", messages=HELLO)
        assert answer.model_dump()["router_outputs"] == {"m": 0.5}

    def test_a_mean_cost_over_the_stream(self, start: Starter) -> None:
        fake = start.upstream()
        models = {"dear": model(fake.url, 3.0), "cheap": model(fake.url, 1.0)}
        client = start.client(start.router(models, {"router": {"mean_cost": 1.5}}, cost_optimizer="optimal-lp"))
        costs = [float(chat(client)["x-p2l-cost"]) for _ in range(60)]
        assert 1.2 < sum(costs) / len(costs) < 1.8 and set(costs) == {1.0, 3.0}


class TestCapabilities:
    @pytest.mark.parametrize("need", NEEDS)
    def test_incapable_models_are_not_chosen(self, start: Starter, need: str) -> None:
        fake = start.upstream()
        lacks = {need: 100 if need == "context_length" else False}
        running = start.router({"cannot": model(fake.url, capabilities=lacks), "can": model(fake.url)})
        client = start.client(running)
        assert chat(client)["x-p2l-model"] == "cannot"
        assert chat(client, **NEEDS[need])["x-p2l-model"] == "can"
        with pytest.raises(openai.BadRequestError, match="cannot does not support"):
            chat(
                client, **NEEDS[need] | {"extra_body": {**NEEDS[need].get("extra_body", {}), "direct_model": "cannot"}}
            )

    @pytest.mark.parametrize("kind", ["anthropic", "gemini"])
    @pytest.mark.parametrize("need", ["audio_output", "image_output", "web_search", "legacy_functions", "other_tools"])
    def test_what_a_provider_cannot_express_goes_elsewhere(self, start: Starter, kind: str, need: str) -> None:
        other, fake = start.upstream(), start.upstream()
        client = start.client(start.router({"other": model(other.url, type=kind), "openai": model(fake.url)}))
        assert chat(client, **NEEDS[need])["x-p2l-model"] == "openai" and not other.seen
        sent = {**NEEDS[need], **NEEDS[need].get("extra_body", {})}
        assert all(fake.seen[-1].body[name] == value for name, value in sent.items() if name != "extra_body")

    def test_no_model_is_capable(self, start: Starter) -> None:
        _, client = start.one(capabilities={"tools": False})
        with pytest.raises(openai.BadRequestError, match="needs tools"):
            chat(client, **NEEDS["tools"])


def test_a_model_in_this_process(start: Starter, tiny_checkpoint: Any, tmp_path: Any) -> None:
    from p2l.models import save_checkpoint

    save_checkpoint(tmp_path / "p2l", tiny_checkpoint)
    fake = start.upstream()
    models = {name: model(fake.url) for name in ("alpha", "gamma")}
    running = start.router(models, router_type="model", router_model_path=str(tmp_path / "p2l"))
    answer = start.client(running).chat.completions.create(model="-", messages=HELLO)
    scores = answer.model_dump()["router_outputs"]
    assert set(scores) == {"alpha", "gamma"} and all(0 < score < 1 for score in scores.values())
