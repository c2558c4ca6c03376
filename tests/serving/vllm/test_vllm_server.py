"""``vllm serve`` with the plugin speaks the endpoint's format, and the router takes its scores."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import requests

from p2l.models import Checkpoint
from p2l.models.predictor import predict
from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import KEY as ROUTER_KEY
from tests.serving.router.fakes import Reply, Seen, completion, model
from tests.serving.vllm.decoders import MODELS, Server, make_checkpoint, vllm_server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("vllm") is None, reason="extra: vllm, in an environment of its own"),
]

KEY = "vllm-key"
PROMPTS = [["hi"], ["one", "two"], ["法国的首都是哪里?"], ["ends with <|cls|>"], [""], ["cut on the left " * 40]]


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return make_checkpoint(tmp_path_factory.getbasetemp() / "served", "qwen2", "grk")


@pytest.fixture(scope="module")
def server(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.getbasetemp() / "served"
    with vllm_server(folder, free_port(), "--dtype", "float32", P2L_API_KEYS=KEY) as running:
        yield running


def test_predict_and_models_are_in_the_published_format(server: Server, checkpoint: Checkpoint) -> None:
    found = requests.get(f"{server.url}/models", headers={"api-key": KEY}, timeout=30).json()
    assert found == {"models": list(MODELS), "family": "grk"}
    ranking = predict(checkpoint, PROMPTS)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda prompt: server.predict(prompt, KEY), PROMPTS * 8))
    assert [answer.status_code for answer in answers] == [200] * len(answers)
    assert answers[0].json().keys() == {"coefs", "eta"}
    coefs, etas = (np.array([answer.json()[name] for answer in answers]) for name in ("coefs", "eta"))
    np.testing.assert_allclose(coefs, np.tile(ranking.coefs.numpy(), (8, 1)), rtol=0, atol=1e-5)
    np.testing.assert_allclose(etas, np.tile(ranking.eta.numpy(), 8), rtol=0, atol=1e-5)


def test_leaderboards_are_by_name(server: Server, checkpoint: Checkpoint) -> None:
    body = {"prompts": ["hi", ["one", "two"]], "top_k": 1}
    answer = requests.post(f"{server.url}/v1/leaderboards", json=body, headers={"api-key": KEY}, timeout=30)
    best = [board["ranking"][0]["model"] for board in answer.json()["leaderboards"]]
    assert best == [MODELS[i] for i in predict(checkpoint, [["hi"], ["one", "two"]]).coefs.argmax(1).tolist()]


def test_what_the_endpoint_refuses_is_refused(server: Server) -> None:
    assert server.predict(["hi"], "wrong").status_code == 403
    assert requests.post(f"{server.url}/predict", json={"prompt": ["hi"]}, timeout=30).status_code == 422
    assert server.predict([], KEY).status_code == 422
    assert server.predict(["nul \0"], KEY).status_code == 422
    assert requests.get(f"{server.url}/predict", headers={"api-key": KEY}, timeout=30).status_code == 405


def test_pooling_takes_the_encoders_ids(server: Server, checkpoint: Checkpoint) -> None:
    body = {"model": str(server.log.parent / "served"), "input": checkpoint.encoder.encode_batch(PROMPTS[:2])}
    answer = requests.post(f"{server.url}/pooling", json=body, timeout=30).json()
    ranking = predict(checkpoint, PROMPTS[:2])
    found = np.array([row["data"] for row in answer["data"]])
    np.testing.assert_allclose(found[:, :-1], ranking.coefs.numpy(), rtol=0, atol=1e-5)
    np.testing.assert_allclose(found[:, -1], ranking.eta.numpy(), rtol=0, atol=1e-5)


def test_the_router_takes_its_scores(server: Server, checkpoint: Checkpoint, tmp_path: Path) -> None:
    def answer(seen: Seen) -> Reply:
        return Reply(body=completion(f"I am {seen.body['model']}"))

    with ExitStack() as stack:
        starter = Starter(tmp_path, stack)
        fake = starter.upstream(answer)
        running = starter.router(
            {name: model(fake.url, 1.0, name=f"wire-{name}") for name in MODELS},
            router_type="grk-endpoint",
            router_model_endpoint=server.url,
            router_api_key=KEY,
        )
        client = starter.client(running, ROUTER_KEY)
        for prompt in PROMPTS[:4]:
            messages = [{"role": "user", "content": turn} for turn in prompt]
            found = client.chat.completions.create(model="-", messages=messages)
            best = int(predict(checkpoint, [prompt]).coefs.argmax())
            assert found.choices[0].message.content == f"I am wire-{MODELS[best]}"
