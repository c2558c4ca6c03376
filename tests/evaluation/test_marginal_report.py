import json
import math

import pandas as pd
import pytest
import torch

from p2l.data.vote_table import VoteTable
from p2l.evaluation.marginal_report import Comparison, compare_to_marginal
from p2l.outcomes import BT
from p2l.types import Ranking


@pytest.fixture
def comparison() -> Comparison:
    """Compare on votes that ant wins on even prompts and bee on odd ones: one leaderboard cannot fit them."""
    frame = pd.DataFrame(
        {
            "prompt": [f"prompt {i}" for i in range(10)],
            "model_a": "ant",
            "model_b": "bee",
            "winner": ["model_a", "model_b"] * 5,
        }
    )
    by_prompt = torch.tensor([[math.log(3), 0.0], [0.0, math.log(3)]] * 5)
    marginal = Ranking(torch.zeros(2), None)
    return compare_to_marginal(BT, Ranking(by_prompt, None), marginal, VoteTable.from_frame(frame))


def test_numbers_checkable_by_hand(comparison: Comparison) -> None:
    assert (comparison.family, comparison.votes, comparison.prompts) == ("bt", 10, 10)
    assert comparison.model == pytest.approx({"log_loss": math.log(4 / 3), "accuracy": 1.0})
    assert comparison.marginal["log_loss"] == pytest.approx(math.log(2))
    difference = comparison.difference["log_loss"]
    assert (difference.value, difference.low, difference.high) == pytest.approx((math.log(2 / 3),) * 3)


def test_says_it_in_words_and_in_json(comparison: Comparison) -> None:
    lines = str(comparison).splitlines()
    assert lines[0] == "10 votes on 10 prompts, bt; difference with its 95 % interval"
    assert lines[1].split() == ["log_loss", "p2l", "0.2877", "marginal", "0.6931", "-0.4055", "[-0.4055,", "-0.4055]"]
    assert json.loads(json.dumps(comparison.to_dict()))["difference"]["accuracy"]["value"] == pytest.approx(0.5)
