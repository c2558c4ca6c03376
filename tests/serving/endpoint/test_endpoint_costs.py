"""The endpoint sends the costs that a checkpoint predicts, in fields that published clients do not read."""

import asyncio

import pytest

from p2l.models import Checkpoint
from p2l.models.predictor import Predictor, predict
from p2l.serving.batching.batcher import Batcher
from p2l.serving.endpoint.endpoint_app import create_app
from p2l.serving.endpoint.scoring_service import ScoringService
from tests.models.test_cost_file import with_costs
from tests.serving.conftest import request

PROMPT = ["hi", "there"]


@pytest.fixture
def priced(tiny_checkpoint: Checkpoint):
    service = ScoringService()
    service.start(Predictor(with_costs(tiny_checkpoint)))
    yield create_app(service)
    service.close()


def get(app, method: str, path: str, **options):
    return asyncio.run(request(app, method, path, **options))


def test_costs_come_with_the_scores(priced, tiny_checkpoint: Checkpoint) -> None:
    expected = predict(tiny_checkpoint, [PROMPT]).costs[0].tolist()
    listed = get(priced, "GET", "/models").json()
    assert listed["costs"] == tiny_checkpoint.cost_facts.to_dict()
    found = get(priced, "POST", "/predict", json={"prompt": PROMPT}).json()
    assert set(found) == {"coefs", "eta", "costs"}
    assert found["costs"][:3] == pytest.approx(expected[:3], rel=1e-4) and found["costs"][3] is None
    again = get(priced, "POST", "/predict", json={"prompt": PROMPT}).json()  # from the cache
    assert again == found


def test_leaderboards_have_costs_if_they_are_asked_for(priced, tiny_checkpoint: Checkpoint, ask) -> None:
    body = {"prompts": ["hi", PROMPT]}
    plain = get(priced, "POST", "/v1/leaderboards", json=body).json()
    asked = get(priced, "POST", "/v1/leaderboards", json={**body, "costs": True}).json()
    assert all("cost" not in entry for board in plain["leaderboards"] for entry in board["ranking"])
    costs = predict(tiny_checkpoint, body["prompts"]).costs
    for board, row in zip(asked["leaderboards"], costs.tolist(), strict=True):
        known = dict(zip(tiny_checkpoint.models, row, strict=True))
        for entry in board["ranking"]:
            wanted = known[entry["model"]]
            assert entry["cost"] is None if wanted != wanted else entry["cost"] == pytest.approx(wanted, rel=1e-4)


def test_a_checkpoint_without_costs_answers_as_before(ask) -> None:
    assert set(ask("GET", "/models").json()) == {"models", "family"}
    assert set(ask("POST", "/predict", json={"prompt": PROMPT}).json()) == {"coefs", "eta"}
    refused = ask("POST", "/v1/leaderboards", json={"prompts": ["hi"], "costs": True})
    assert refused.status_code == 422 and "predicts no costs" in refused.json()["detail"]


def test_each_prompt_of_a_batch_gets_its_own_costs(tiny_checkpoint: Checkpoint) -> None:
    prompts = [f"prompt {i} " * (i + 1) for i in range(8)]

    async def rank_all():
        batcher = Batcher(Predictor(with_costs(tiny_checkpoint)))
        try:
            return [await batcher.rank(prompts), *[await batcher.rank([prompt]) for prompt in prompts]]
        finally:
            batcher.close()

    together, *alone = asyncio.run(rank_all())
    for i, one in enumerate(alone):
        assert one.costs[0][:3].tolist() == pytest.approx(together.costs[i][:3].tolist(), rel=1e-4)
    assert len({row[0] for row in together.costs.tolist()}) == len(prompts)
