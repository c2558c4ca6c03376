"""Two local replicas on Ray answer as the server does; skipped where Ray is not installed."""

import json
from pathlib import Path

import numpy as np
import pytest
import requests

from p2l.models import Checkpoint, save_checkpoint
from p2l.models.predictor import Predictor

pytest.importorskip("ray")

PORT = 18765


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_two_replicas(tiny_checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray
    from ray import serve

    from p2l.serving.endpoint.ray_serve import build

    monkeypatch.setenv("P2L_API_KEYS", "k")
    folder = save_checkpoint(tmp_path / "checkpoint", tiny_checkpoint)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        serve.start(http_options={"host": "127.0.0.1", "port": PORT})
        options = {"model_path": str(folder), "dtype": "float32", "replicas": 2, "max_turns": 10}
        serve.run(build(options), route_prefix="/")
        url, predictor = f"http://127.0.0.1:{PORT}", Predictor(tiny_checkpoint)
        for i in range(20):
            prompt = [f"prompt {i}"]
            answer = requests.post(f"{url}/predict", json={"prompt": prompt}, headers={"api-key": "k"}, timeout=30)
            np.testing.assert_allclose(answer.json()["coefs"], predictor.rank([prompt]).coefs[0].numpy(), atol=1e-5)
        answer = requests.post(f"{url}/predict", data=json.dumps({"prompt": ["a"] * 11}), headers={"api-key": "k"})
        assert answer.status_code == 422 and "10 user turns; 11 came" in answer.json()["detail"]
        assert requests.get(f"{url}/models", headers={"api-key": "x"}, timeout=30).status_code == 403
    finally:
        serve.shutdown()
        ray.shutdown()
