"""/v1/leaderboards has the intervals of a checkpoint with a posterior: those of the leaderboard in Python."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from fastapi import FastAPI

from p2l.models import Checkpoint
from p2l.models.predictor import Predictor
from p2l.serving.endpoint.endpoint_app import create_app
from p2l.serving.endpoint.scoring_service import ScoringService
from tests.models.test_posterior_file import with_posterior
from tests.serving.conftest import request

PROMPTS = ["hi", ["one", "two"], "a longer prompt " * 9]
OF_ENTRY = ("low", "high", "rank_best", "rank_worst")


def app_of(checkpoint: Checkpoint) -> Iterator[FastAPI]:
    service = ScoringService()
    service.start(Predictor(checkpoint))
    yield create_app(service)
    service.close()


@pytest.fixture
def sure(tiny_checkpoint: Checkpoint) -> Iterator[FastAPI]:
    yield from app_of(with_posterior(tiny_checkpoint))


def post(app: FastAPI, path: str = "/v1/leaderboards", **body: object):
    return asyncio.run(request(app, "POST", path, json=body))


@pytest.mark.parametrize("level", [None, 0.8])
def test_intervals_are_those_of_the_leaderboard(
    sure: FastAPI, tiny_checkpoint: Checkpoint, level: float | None
) -> None:
    for _ in range(2):  # the second time from the cache of answers
        answer = post(sure, prompts=PROMPTS, **({} if level is None else {"level": level})).json()
        assert answer["level"] == (level or 0.95)
        for board, expected in zip(answer["leaderboards"], tiny_checkpoint.rank(PROMPTS), strict=True):
            table = expected.table(level=level or 0.95)
            assert [entry["model"] for entry in board["ranking"]] == table["model"].tolist()
            for name in OF_ENTRY:
                found = [entry[name] for entry in board["ranking"]]
                np.testing.assert_allclose(found, table[name], rtol=1e-3, atol=1e-3)


def test_probabilities_have_the_intervals_of_predict_interval(sure: FastAPI, tiny_checkpoint: Checkpoint) -> None:
    pairs = [["alpha", "beta"], ["gamma", "alpha"]]
    board = post(sure, prompts=["hi"], reference="beta", pairs=pairs, top_k=3).json()["leaderboards"][0]
    expected = tiny_checkpoint.rank("hi")
    for pair in board["pairs"]:
        wanted = expected.predict_interval(pair["model_a"], pair["model_b"])
        assert pair["intervals"].keys() == wanted.keys() == pair["outcomes"].keys()
        for outcome, ends in wanted.items():
            assert pair["intervals"][outcome] == pytest.approx(ends, abs=1e-4)
    for entry in board["ranking"]:
        if entry["model"] != "beta":
            wanted = expected.predict_interval(entry["model"], "beta")["a wins"]
            assert [entry["win_probability_low"], entry["win_probability_high"]] == pytest.approx(wanted, abs=1e-4)
            assert entry["win_probability_low"] < entry["win_probability"] < entry["win_probability_high"]


def test_ranks_are_among_the_models_of_the_request_even_if_few_are_returned(sure: FastAPI) -> None:
    body = {"prompts": ["hi"], "models": ["delta", "alpha", "beta"]}
    three = post(sure, **body).json()["leaderboards"][0]["ranking"]
    assert post(sure, **body, top_k=1).json()["leaderboards"][0]["ranking"] == three[:1]
    for entry in three:
        assert 1 <= entry["rank_best"] <= entry["rank"] <= entry["rank_worst"] <= 3


def test_a_checkpoint_without_a_posterior_answers_as_before(ask) -> None:
    body = {"prompts": ["hi"], "reference": "alpha", "pairs": [["alpha", "beta"]]}
    answer = ask("POST", "/v1/leaderboards", json=body).json()
    assert set(answer) == {"family", "leaderboards"}
    board = answer["leaderboards"][0]
    assert {name for entry in board["ranking"] for name in entry} == {"rank", "model", "coef", "win_probability"}
    assert set(board["pairs"][0]) == {"model_a", "model_b", "outcomes"}
    refused = ask("POST", "/v1/leaderboards", json={**body, "level": 0.9})
    assert refused.status_code == 422 and "no intervals; p2l posterior adds them" in refused.json()["detail"]


@pytest.mark.parametrize("level", [95, 0.2, 1.0, "0.9", True])
def test_another_level_is_refused(sure: FastAPI, level: object) -> None:
    refused = post(sure, prompts=["hi"], level=level)
    assert refused.status_code == 422 and "body.level" in refused.json()["detail"]


def test_the_published_routes_are_as_before(sure: FastAPI) -> None:
    assert set(post(sure, "/predict", prompt=["hi"]).json()) == {"coefs", "eta"}
    assert set(asyncio.run(request(sure, "GET", "/models")).json()) == {"models", "family"}


def test_models_that_were_never_compared_are_not_surely_apart(tiny_checkpoint: Checkpoint) -> None:
    checkpoint = with_posterior(tiny_checkpoint)
    posterior = checkpoint.model.head.posterior_head.posterior
    checkpoint.model.head.posterior_head.posterior = replace(posterior, scale=1e-9, residual=0.0)  # all is sure
    groups = {"one": ["alpha", "gamma"], "two": ["beta", "delta"]}
    for known, width in ((None, 0), (groups, 2)):
        one = replace(checkpoint, recipe={**checkpoint.recipe, "groups": known})
        for app in app_of(one):
            for entry in post(app, prompts=["hi"]).json()["leaderboards"][0]["ranking"]:
                assert entry["rank_worst"] - entry["rank_best"] == width


def test_another_posterior_has_another_fingerprint(tiny_checkpoint: Checkpoint) -> None:
    plain = Predictor(tiny_checkpoint).fingerprint()
    found = [Predictor(with_posterior(tiny_checkpoint, seed)).fingerprint() for seed in (0, 0, 1)]
    assert found[0] == found[1] and len({plain, *found}) == 3
    assert len({one.split(".")[0] for one in (plain, *found)}) == 1  # the same models
