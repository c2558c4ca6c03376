"""The votes and their rankings as a file."""

import json
from pathlib import Path

import pandas as pd
import torch

from p2l.data.vote_table import VoteTable
from p2l.training.callbacks.evaluate_votes import write_eval_output
from p2l.types import Ranking


def test_times_keep_their_microseconds(tmp_path: Path) -> None:
    time = "2025-01-02T03:04:05.678901Z"
    votes = pd.DataFrame({"prompt": ["x"], "model_a": ["ant"], "model_b": ["bee"], "winner": ["tie"]})
    table = VoteTable.from_frame(votes.assign(timestamp=pd.to_datetime([time])))
    write_eval_output(tmp_path / "eval_output.jsonl", table, Ranking(torch.tensor([[0.5, -0.5]]), torch.tensor([1.0])))
    row = json.loads((tmp_path / "eval_output.jsonl").read_text())
    assert (row["timestamp"], row["betas"], row["eta"]) == (time, [0.5, -0.5], 1.0)
