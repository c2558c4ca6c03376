"""Measure what intervals add to a request for one prompt's leaderboard: the endpoint's app with and without them.

    python benchmarks/interval_cost.py [--requests 300]

The checkpoint is the random 38M Qwen2 of ``benchmarks/endpoint.py`` with 100 LLMs and a random posterior. Both apps run
in this process on one thread, without caches, in turns; figures are medians of its processor time. ``reference`` also
asks for the probability of each LLM to win against one of them.
"""

import argparse
import asyncio
import copy
import tempfile
import time
from pathlib import Path
from statistics import median

import httpx
import numpy as np
import torch
from endpoint import make_checkpoint, read_prompts
from fastapi import FastAPI

from p2l.head_posterior import HeadPosterior
from p2l.heads.posterior_head import PosteriorHead
from p2l.models import Checkpoint, load_checkpoint
from p2l.models.predictor import Predictor
from p2l.serving.batching.batcher import NO_CACHES
from p2l.serving.endpoint.endpoint_app import create_app
from p2l.serving.endpoint.scoring_service import ScoringService


def add_posterior(checkpoint: Checkpoint) -> None:
    """Give the head a random posterior, of the size that votes would give it."""
    rng, head = np.random.default_rng(0), checkpoint.model.head
    hidden, outputs = head.hidden_size, head.num_models + head.family.num_eta
    root = rng.normal(size=(outputs, outputs)) / np.sqrt(outputs)
    head.posterior_head = PosteriorHead(
        HeadPosterior(
            centre=np.zeros(hidden),
            directions=np.eye(hidden),
            curvature=rng.random(hidden),
            output_directions=root,
            output_information=100 * rng.random(outputs),
            level_covariance=root @ root.T / 100,
            scale=1.0,
            residual=0.1,
            num_models=head.num_models,
        )
    )


def app_of(checkpoint: Checkpoint) -> FastAPI:
    service = ScoringService(caches=NO_CACHES)
    service.start(Predictor(checkpoint))
    return create_app(service)


async def measure(apps: dict[str, FastAPI], prompts: list[str], number: int) -> None:
    seconds: dict[str, list[float]] = {}
    clients = {
        name: httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://in-process")
        for name, app in apps.items()
    }
    for at in range(number):
        for extra in ({}, {"reference": "model-000"}):
            for name, client in clients.items():
                start = time.process_time()
                answer = await client.post("/v1/leaderboards", json={"prompts": [prompts[at % len(prompts)]], **extra})
                seconds.setdefault(" ".join((name, *extra)), []).append(time.process_time() - start)
                answer.raise_for_status()
    for name, times in seconds.items():
        print(f"{name}: {1e3 * median(times):.2f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--requests", type=int, default=300)
    number = parser.parse_args().requests
    prompts = read_prompts(None)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        make_checkpoint(Path(folder), prompts)
        plain = load_checkpoint(folder, dtype="bfloat16")
    sure = copy.deepcopy(plain)
    add_posterior(sure)
    asyncio.run(measure({"without": app_of(plain), "with": app_of(sure)}, prompts, number))


if __name__ == "__main__":
    main()
