"""The benchmark of intervals: on an arena whose truth is linear in the hidden states, they hold what they promise."""

import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from p2l.data.simulated import load_prompts
from tests.running import ROOT

FOLDER = ROOT / "benchmarks" / "public"


@pytest.fixture(scope="module")
def benchmark() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        yield __import__("interval_coverage")
        for name in ("interval_coverage", "cached_states"):
            del sys.modules[name]


def test_intervals_hold_the_truth(benchmark: ModuleType) -> None:
    frame = load_prompts()
    known = dict(zip(map(tuple, frame["prompt"]), (frame["topic"] + frame["language"]).tolist(), strict=True))
    kinds = sorted(set(known.values()))
    noise = np.random.default_rng(0).normal(size=(len(kinds), 40)) / 6

    def states(prompts: list[tuple[str, ...]]) -> np.ndarray:
        at = [kinds.index(known[tuple(prompt)]) for prompt in prompts]
        return np.eye(len(kinds))[at] @ np.hstack((np.eye(len(kinds)), noise))

    prompts = SimpleNamespace(frame=frame, states=states)
    found = [benchmark.one_arena(prompts, seed, 20_000) for seed in range(2)]
    assert 0.88 < np.mean([one["pairs"] for one in found]) <= 1
    assert np.mean([one["error"] for one in found]) < 0.8
    assert all(np.mean([one[name] for one in found]) > 0.88 for name in ("topic", "all prompts"))
    assert all(one["calibrated log loss"] < one["point log loss"] + 0.002 for one in found)
