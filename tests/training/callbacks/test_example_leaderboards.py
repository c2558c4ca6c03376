"""The tables of the example prompts: what they leave out, and which prompts they take."""

import pytest
import torch

from p2l.errors import ConfigError
from p2l.leaderboard import leaderboard_tables
from p2l.outcomes import BT
from p2l.training.callbacks import ExampleLeaderboards, WriteRunPage
from p2l.types import Ranking


@pytest.mark.parametrize(("number", "part"), [(130, " (best 8 of 130 models)"), (9, " (best 8 of 9 models)"), (8, "")])
def test_a_table_says_how_many_models_it_shows(number, part, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    tables = leaderboard_tables([f"m{i}" for i in range(number)], Ranking(torch.randn(2, number), None), BT)
    ExampleLeaderboards("out", ["one", "two"])._print(["one", "two " * 100], tables)
    lines = capsys.readouterr().out.splitlines()
    assert f"one{part}" in [line.strip() for line in lines]
    assert any(line.strip().endswith(f"...{part}") for line in lines if line.startswith("two"))


@pytest.mark.parametrize("callback", [ExampleLeaderboards, WriteRunPage])
def test_what_is_no_prompt_stops_before_the_run(callback, tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"example_prompts: entry 1 is ' ': .*is empty"):
        callback(str(tmp_path), ["7", " "])
