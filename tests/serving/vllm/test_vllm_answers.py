"""vLLM gives the rankings that the checkpoint gives; skipped where vLLM is not installed."""

from dataclasses import dataclass
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from p2l.models import Checkpoint, load_checkpoint
from p2l.models.predictor import predict
from tests.serving.vllm.decoders import MAX_LENGTH, Job, make_checkpoint, pooled

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("vllm") is None, reason="extra: vllm, in an environment of its own"),
]

PROMPTS = [
    "hi",
    "cut on the left " * 40,
    ["one", "two"],
    "",
    "法国的首都是哪里?",
    "ends with <|cls|>",
    "hi",
    "as long as a block of the cache " * 7,
]
KINDS = ("qwen2", "llama", "qwen3")
HEADS = {"bt": ("bt", None), "rk": ("rk", None), "grk": ("grk", None), "low rank": ("grk", 3), "ba": ("ba", None)}


def expected(checkpoint: Checkpoint, prompts: list) -> np.ndarray:
    """One row a prompt: its coefficients, then eta if the family has one."""
    ranking = predict(checkpoint, prompts)
    return (ranking.coefs if ranking.eta is None else torch.cat([ranking.coefs, ranking.eta[:, None]], 1)).numpy()


@dataclass(frozen=True)
class Case:
    """A checkpoint on the disk, and what vLLM made of PROMPTS, twice one after the other."""

    folder: Path
    ids: list[list[int]]
    rounds: list[tuple[np.ndarray, list[int]]]


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str, str], Case]:
    """All in one process, for vLLM takes long to start."""
    root, jobs = tmp_path_factory.mktemp("checkpoints"), {}
    for kind, (head, parts) in product(KINDS, HEADS.items()):
        folder = root / f"{kind} {head}"
        ids = make_checkpoint(folder, kind, *parts).encoder.encode_batch(PROMPTS)
        jobs[kind, head, "float32"] = Job(folder, [ids, ids])
        if head == "grk":
            jobs[kind, head, "bfloat16"] = Job(folder, [ids, ids], "bfloat16")
    ids = jobs["qwen2", "rk", "float32"].rounds[0]
    without = [prompt[:-1] for prompt in ids if len(prompt) > 1]
    jobs["qwen2", "rk", "without CLS"] = Job(root / "qwen2 rk", [[ids[0], *without, [*ids[0], 5]]])
    return {
        case: Case(job.folder, job.rounds[0], found)
        for (case, job), found in zip(jobs.items(), pooled(root, list(jobs.values())), strict=True)
    }


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_equal(kind: str, head: str, cases: dict[tuple[str, str, str], Case]) -> None:
    case = cases[kind, head, "float32"]
    wanted = expected(load_checkpoint(case.folder), PROMPTS)
    assert max(map(len, case.ids)) == MAX_LENGTH
    assert np.abs(wanted[1:6] - wanted[0]).max(1).min() > 0.05  # prompts differ
    (first, cached), (again, cached_again) = case.rounds
    np.testing.assert_allclose(first, wanted, rtol=0, atol=1e-5)
    np.testing.assert_allclose(again, wanted, rtol=0, atol=1e-5)
    assert not any(cached) and cached_again[1] > 0  # the keys of the first round were used again


@pytest.mark.parametrize("kind", KINDS)
def test_answers_in_bfloat16_are_as_near_to_float32_as_ours(kind: str, cases: dict[tuple[str, str, str], Case]) -> None:
    case = cases[kind, "grk", "bfloat16"]
    exact = expected(load_checkpoint(case.folder), PROMPTS)
    ours = np.abs(expected(load_checkpoint(case.folder, dtype="bfloat16"), PROMPTS) - exact).max()
    for found, _ in case.rounds:
        assert np.abs(found - exact).max() < ours + 1e-2


def test_a_prompt_without_the_cls_token_has_no_answer(cases: dict[tuple[str, str, str], Case]) -> None:
    case = cases["qwen2", "rk", "without CLS"]
    ((found, _),) = case.rounds
    np.testing.assert_allclose(found[:1], expected(load_checkpoint(case.folder), PROMPTS[:1]), rtol=0, atol=1e-5)
    assert len(found) > 5 and np.isnan(found[1:]).all()
