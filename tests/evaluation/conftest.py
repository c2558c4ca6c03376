"""Small tables of votes with rankings."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from p2l.data.battle_table import BattleTable
from p2l.evaluation import RankedVotes
from p2l.outcomes import OutcomeFamily
from p2l.types import OUTCOMES, Ranking

MakeVotes = Callable[..., RankedVotes]


@pytest.fixture(scope="session")
def make_votes() -> MakeVotes:
    """Return ``make_votes([(model_a, model_b, winner), ...], coefs, eta, prompts=None)``: each vote has its own
    ranking, or all share the given one."""

    def make(votes: list[tuple[str, str, str]], coefs: Any, eta: Any = None, prompts: Any = None) -> RankedVotes:
        frame = pd.DataFrame(votes, columns=["model_a", "model_b", "winner"])
        coefs = torch.as_tensor(coefs, dtype=torch.float64)
        eta = None if eta is None else torch.as_tensor(eta, dtype=torch.float64)
        one = coefs.ndim == 1
        rankings = Ranking(coefs[None], None if eta is None else eta.reshape(1)) if one else Ranking(coefs, eta)
        names = sorted({*frame["model_a"], *frame["model_b"]})
        index = np.zeros(len(frame), dtype=np.int64) if one else np.arange(len(frame))
        prompt_index = np.arange(len(frame)) if prompts is None else np.asarray(prompts)
        return RankedVotes(BattleTable.from_frame(frame, names), rankings, index, prompt_index)

    return make


@pytest.fixture(scope="session")
def drawn_votes() -> Callable[[OutcomeFamily], RankedVotes]:
    """Draw 240 votes of all four outcomes on 60 prompts and five models; each prompt has its own ranking."""

    def draw(family: OutcomeFamily) -> RankedVotes:
        rng = np.random.default_rng(0)
        first, step = rng.integers(5, size=240), rng.integers(1, 5, size=240)
        names = np.array(["ant", "bee", "cat", "dog", "eel"])
        frame = pd.DataFrame(
            {
                "model_a": names[first],
                "model_b": names[(first + step) % 5],
                "winner": rng.choice([outcome.value for outcome in OUTCOMES], 240, p=[0.4, 0.3, 0.2, 0.1]),
            }
        )
        prompt_index = np.repeat(np.arange(60), 4)
        eta = torch.from_numpy(rng.normal(0, 0.3, 60)) if family.num_eta else None
        rankings = Ranking(torch.from_numpy(rng.normal(0, 1, (60, 5))), eta)
        return RankedVotes(BattleTable.from_frame(frame), rankings, prompt_index, prompt_index)

    return draw


@pytest.fixture(scope="session")
def published(golden: Path) -> dict[str, Any]:
    """Return the golden input, and the published results under "results"."""
    with gzip.open(golden / "auto_evals" / "input.json.gz", "rt", encoding="utf-8") as file:
        content = json.load(file)
    results = json.loads((golden / "auto_evals" / "published.json").read_text(encoding="utf-8"))
    return {**content, "results": results}
