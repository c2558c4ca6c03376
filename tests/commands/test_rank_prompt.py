"""``p2l rank``: the leaderboard of one prompt in the terminal."""

from dataclasses import replace
from pathlib import Path

import pytest

from p2l.commands.cli import main
from p2l.models import Checkpoint, save_checkpoint

GROUPS = {"north": ["alpha", "delta"], "south": ["beta", "gamma"]}


@pytest.fixture
def folder(tmp_path: Path, tiny_checkpoint: Checkpoint) -> str:
    return str(save_checkpoint(tmp_path / "checkpoint", tiny_checkpoint))


def test_it_prints_what_the_checkpoint_ranks(folder, tiny_checkpoint, capsys) -> None:
    assert main(["rank", "What is 1+1?", "--model-path", folder, "--top", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    best = tiny_checkpoint.rank("What is 1+1?").table().head(3)
    assert lines[0] == "What is 1+1?" and lines[1].split() == ["rank", "model", "coef", "elo", "win_rate"]
    assert [line.split()[1] for line in lines[2:5]] == best["model"].tolist()
    assert [float(line.split()[2]) for line in lines[2:5]] == pytest.approx(best["coef"].tolist(), abs=1e-3)
    assert lines[5] == "... 1 more: --top"


def test_groups_are_ranked_apart_under_the_warning(tmp_path, tiny_checkpoint, capsys) -> None:
    recipe = {**tiny_checkpoint.recipe, "groups": GROUPS, "warning": "of two groups"}
    save_checkpoint(tmp_path / "apart", replace(tiny_checkpoint, recipe=recipe))
    assert main(["rank", "hi", "-m", str(tmp_path / "apart"), "--top", "1"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("Warning: this model is of two groups.\n") and "of two groups" not in printed.err
    for group, names in GROUPS.items():
        (row,) = (line for line in printed.out.split(f"hi: {group}\n")[1].splitlines()[1:2])
        assert row.split()[0] == "1" and row.split()[1] in names


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--model-path", "nowhere"], "no model folder at nowhere"), (["--top", "0"], "--top")],
    ids=["checkpoint", "top"],
)
def test_mistakes_are_one_line(options, message, capsys) -> None:
    assert main(["rank", "hi", *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith("p2l rank: ") and message in error and error.count("\n") == 1
