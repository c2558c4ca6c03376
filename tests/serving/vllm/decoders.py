"""Checkpoints of random weights whose heads are wide enough for vLLM's attention, and what vLLM makes of them."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import requests
import torch

from p2l.heads import RankingHead
from p2l.models import Checkpoint, ModelRecipe, save_checkpoint
from tests.running import ROOT
from tests.waiting import wait_until

MODELS = tuple(f"model-{i}" for i in range(9))
MAX_LENGTH = 300  # more than two of the blocks in which vLLM keeps keys on a CPU
SIZES = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "initializer_range": 0.2,  # wide, so that prompts differ visibly
    "max_position_embeddings": 1024,
}
SCRIPT = Path(__file__).parent / "pooled_vectors.py"
# one core, no network, and no eager start of what the tests do not use
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}


def make_checkpoint(folder: Path, kind: str, family: str, rank: int | None = None, **options: Any) -> Checkpoint:
    """Write a checkpoint, and return it."""
    recipe = ModelRecipe(scratch={"model_type": kind, **SIZES}, max_length=MAX_LENGTH, **options)
    encoder = recipe.encoder()
    model = recipe.build(encoder, partial(RankingHead, family=family, rank=rank), MODELS).eval()
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(1)
        for name, parameter in model.named_parameters():
            if "norm" in name or name.endswith("bias"):  # else ones and zeros, which hide mistakes
                torch.nn.init.normal_(parameter, 1.0 if "norm" in name else 0.0, 0.2)
    checkpoint = Checkpoint(model, encoder, MODELS, {"loss_type": family})
    save_checkpoint(folder, checkpoint)
    return checkpoint


def environment(**changes: str) -> dict[str, str]:
    return {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **changes}


@dataclass(frozen=True)
class Job:
    """Rounds of lists of token ids for an engine on a checkpoint."""

    folder: Path
    rounds: list[list[list[int]]]
    dtype: str = "float32"


def pooled(folder: Path, jobs: list[Job]) -> list[list[tuple[np.ndarray, list[int]]]]:
    """For each job and round, the vectors of the prompts and how many of their tokens were cached."""
    todo, output = folder / "jobs.json", folder / "vectors.json"
    todo.write_text(
        json.dumps([{"options": {"model": str(j.folder), "dtype": j.dtype}, "rounds": j.rounds} for j in jobs])
    )
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(todo), str(output)],
        env=environment(VLLM_ENABLE_V1_MULTIPROCESSING="0"),
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    found = json.loads(output.read_text())
    return [[(np.array([p["vector"] for p in row]), [p["cached"] for p in row]) for row in job] for job in found]


@dataclass(frozen=True)
class Server:
    """A running ``vllm serve``."""

    url: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def predict(self, prompt: list[str], key: str) -> requests.Response:
        return requests.post(f"{self.url}/predict", json={"prompt": prompt}, headers={"api-key": key}, timeout=60)

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()[-6000:]
        try:
            return requests.get(f"{self.url}/health", timeout=5).status_code == 200
        except requests.RequestException:
            return False


@contextmanager
def vllm_server(folder: Path, port: int, *options: str, **changes: str) -> Iterator[Server]:
    """The server of ``vllm serve`` with the plugin, once it is ready.

    Started by its module, for in the package vllm-cpu ``vllm serve`` does not find its own version.
    """
    log = folder.parent / "vllm.log"
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder)]
    command += ["--host", "127.0.0.1"]
    command += ["--port", str(port), "--enforce-eager", "--kv-cache-memory-bytes", str(1 << 26), *options]
    with log.open("wb") as file:
        env = environment(VLLM_PLUGINS="p2l", **changes)
        process = subprocess.Popen(command, stdout=file, stderr=file, env=env, start_new_session=True)
    try:
        server = Server(f"http://127.0.0.1:{port}", process, log)
        wait_until(server.is_ready, 600)
        yield server
    finally:
        process.terminate()
        process.wait(60)
