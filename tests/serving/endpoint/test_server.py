"""The server in processes of its own: clients as published, signals, dead workers."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import requests

from p2l.heads import RankingHead
from p2l.models import Checkpoint, load_checkpoint, save_checkpoint
from p2l.models.predictor import Predictor
from p2l.serving.http.api_keys import KEYS_VARIABLE
from tests.serving.endpoint_process import KEY, Endpoint, endpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_recipe) -> Path:
    """A published checkpoint."""
    encoder, models = tiny_recipe.encoder(), ("alpha", "beta", "delta", "gamma")
    model = tiny_recipe.build(encoder, partial(RankingHead, family="grk"), models)
    recipe = {"loss_type": "grk", "head_type": "rk"}
    return save_checkpoint(
        tmp_path_factory.mktemp("served") / "checkpoint", Checkpoint(model.eval(), encoder, models, recipe)
    )


@pytest.fixture(scope="module")
def predictor(folder: Path) -> Predictor:
    return Predictor(load_checkpoint(str(folder)))


@pytest.fixture(scope="module")
def server(folder: Path, tmp_path_factory):
    """Two workers that answer with float32."""
    with endpoint(
        tmp_path_factory.mktemp("log"), "-m", str(folder), "-mt", "qwen2", "-ht", "rk", "-a", KEY, "--workers", "2",
        "--dtype", "float32",
    ) as server:  # fmt: skip
        server.wait_for(lambda: len(server.workers()) == 2)
        yield server


def ask_models(url: str, key: str) -> list[str]:
    """As the published client does."""
    answer = requests.get(f"{url}/models", headers={"Content-Type": "application/json", "api-key": key}, timeout=30)
    answer.raise_for_status()
    return answer.json()["models"]


def assert_right(answer: requests.Response, predictor: Predictor, prompt: list[str]) -> None:
    assert answer.status_code == 200, answer.text
    np.testing.assert_allclose(answer.json()["coefs"], predictor.rank([prompt]).coefs[0].numpy(), atol=1e-5)


def test_published_clients(server: Endpoint, predictor: Predictor) -> None:
    assert ask_models(server.url, KEY) == ["alpha", "beta", "delta", "gamma"]
    for prompt in (["hi!", "what's 1+1?"], ["<|cls|>"]):
        assert_right(server.predict(prompt), predictor, prompt)
    assert server.predict(["hi"], key="wrong").status_code == 403


def test_concurrent_clients_get_their_own_answers(server: Endpoint, predictor: Predictor) -> None:
    prompts = [[f"prompt {i} " * (i % 9)] for i in range(96)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(server.predict, prompts))
    for prompt, answer in zip(prompts, answers, strict=True):
        assert_right(answer, predictor, prompt)


def test_a_killed_worker_is_replaced_while_the_other_goes_on(server: Endpoint, predictor: Predictor) -> None:
    before = server.workers()
    os.kill(before[0], signal.SIGKILL)
    for _ in range(20):  # a new connection each: none may land on what is dead or not ready
        assert_right(server.predict(["hi"]), predictor, ["hi"])
    server.wait_for(lambda: len(server.workers()) == len(before) + 1)
    assert any(line["message"].endswith("ended with status -9") for line in server.lines())
    assert_right(server.predict(["hi"]), predictor, ["hi"])
    assert 'route="/predict",status="200"' in requests.get(f"{server.url}/metrics", timeout=30).text


def test_metrics_add_up_over_the_workers(server: Endpoint) -> None:
    def total() -> float:
        text = requests.get(f"{server.url}/metrics", timeout=30).text
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith("p2l_prompts_total"))

    before = total()
    for _ in range(10):
        server.predict(["hi"])
    assert total() == before + 10


def test_sigterm_finishes_what_was_taken(server: Endpoint, predictor: Predictor) -> None:
    """The last test on this server."""
    prompts = [[f"{i} " + "long " * 200] for i in range(40)]
    with ThreadPoolExecutor(40) as pool:
        calls = [pool.submit(server.predict, prompt) for prompt in prompts]
        server.wait_for(lambda: "p2l_prompts_total" in requests.get(f"{server.url}/metrics", timeout=30).text)
        while not any(call.done() for call in calls):
            time.sleep(0.001)
        status = server.stop()
    assert status == 0
    answered = [call for call in calls if call.exception() is None]
    for call, prompt in zip(calls, prompts, strict=True):
        if call.exception() is None:
            assert_right(call.result(), predictor, prompt)
        else:  # came after the signal: refused as a whole, not cut off
            assert isinstance(call.exception(), requests.ConnectionError)
    assert answered
    with pytest.raises(requests.ConnectionError):
        server.predict(["hi"])


def test_workers_end_with_a_supervisor_that_was_killed(folder: Path, tmp_path: Path) -> None:
    with endpoint(tmp_path, "-m", str(folder), **{KEYS_VARIABLE: "from-environment"}) as server:
        assert server.predict(["hi"], key="from-environment").status_code == 200
        assert server.predict(["hi"], key=KEY).status_code == 403
        (worker,) = server.workers()
        server.stop(signal.SIGKILL)
        server.wait_for(lambda: not Path(f"/proc/{worker}").exists() or _is_zombie(worker), seconds=20)


def _is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] == "Z"
