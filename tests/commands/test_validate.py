"""``p2l validate``: tables for people, JSON for programs, an exit status for scripts; and a light start."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from p2l.commands.validate import ValidationJob, token_counter
from p2l.errors import ConfigError
from tests.commands.test_cli import P2L, call
from tests.running import ROOT

VOTES = str(ROOT / "docs" / "examples" / "votes.csv")


def test_a_sound_table_from_the_command_line_without_torch(tmp_path: Path) -> None:
    status, output = call(P2L, "validate", f"votes={VOTES}", f"output_dir={tmp_path}")
    assert status == 0, output
    assert "8 (0 with fewer than 100 votes)" in output and "│ prompt * " in output
    assert "no error: p2l train reads these votes" in output
    imported = output.splitlines()[-1]
    assert "pandas" in imported and not any(heavy in imported for heavy in ("torch", "lightning", "transformers"))
    written = json.loads((tmp_path / "validation.json").read_text())
    assert written["tables"]["votes"]["models"]["aurora-8b"] == 481 and written["errors"] == []
    assert [path.name for path in tmp_path.iterdir()] == ["validation.json"]


def test_errors_are_an_exit_status_and_json_stands_alone(tmp_path: Path) -> None:
    frame = pd.read_csv(VOTES).assign(winner=lambda frame: frame["winner"].replace("tie", "same"))
    frame.to_csv(tmp_path / "v.csv", index=False)
    arguments = ("validate", f"votes={tmp_path / 'v.csv'}", f"val={VOTES}", "format=json")
    status, output = call(P2L, *arguments)
    found = json.loads(output[: output.rindex("imported:")])
    assert status == 2 and len(found["errors"]) == 2 and "'same'" in found["errors"][0]
    assert found["overlaps"]["val"]["votes"] == 1800
    status, output = call(P2L, *arguments, "winner_map={same: tie}")
    found = json.loads(output[: output.rindex("imported:")])
    assert status == 0 and found["errors"] == []
    assert found["doubts"][-1].startswith("val: 300 of 300 prompts (100 % of the votes) are trained on too")


@pytest.mark.parametrize(
    "columns",
    [
        {"winner": None},  # dropped
        {"weight": 0},
        {"winner": ""},
        {"prompt": "['cut'"},
        {"weight": "heavy"},
    ],
)
def test_an_error_names_its_table_once(columns: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "v.csv"
    frame = pd.read_csv(VOTES).assign(**columns)
    frame.drop(columns=[name for name, value in columns.items() if value is None]).to_csv(path, index=False)
    (error, *_) = ValidationJob(str(path), format="json").run().errors
    assert error.startswith(("votes: ", str(path))) and error.count(str(path)) == 1 and "the vote table" not in error


def test_winners_by_name_show_the_rows_of_both_sides(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        ("p", "ant", "bee", "ant"),
        ("q", "bee", "ant", "ant"),
        ("r", "bee", "ant", "ant"),
        ("s", "ant", "bee", "tie"),
    ]
    pd.DataFrame(rows, columns=["prompt", "model_a", "model_b", "winner"]).to_csv(tmp_path / "v.csv", index=False)
    ValidationJob(str(tmp_path / "v.csv")).run()
    shown = " ".join(capsys.readouterr().out.split())
    assert "label 'ant'" in shown and "2 rows, read as model_b; 1 rows, read as model_a" in shown


def test_labels_and_tokens_in_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = pd.read_csv(VOTES).assign(winner=lambda frame: frame["winner"].replace("model_a", "left"))
    frame.to_csv(tmp_path / "v.csv", index=False)
    tokenizer = ROOT / "tests" / "golden" / "qwen2_grk"
    found = ValidationJob(str(tmp_path / "v.csv"), tokenizer=str(tokenizer), top=3).run()
    shown = capsys.readouterr().out
    assert "label 'left'" in shown and "read as model_a" in shown and "votes of 3 of 8 models" in shown
    texts = ["a b", ""]
    assert found.tables["votes"].summary.tokens["median"] > 1 and token_counter(str(tokenizer))(texts)[1] == 0
    with pytest.raises(ConfigError, match="tokenizer=.*expected a folder or hub id"):
        token_counter(str(tmp_path))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("format=yaml", "format must be one of table, json; got 'yaml'"),
        ("split_by=date", "split_by must be one of auto, time"),
        ("val_share=10", "val_share must be a share from 0 to 1; got 10"),
        ("top=0", "top must be a whole number"),
    ],
)
def test_options_are_checked(option, message) -> None:
    status, output = call(P2L, "validate", f"votes={VOTES}", option)
    assert status == 2 and message in output and "Traceback" not in output


def test_standard_output_is_json_alone(tmp_path: Path) -> None:
    """Messages go to standard error: a map of a label that the table does not have is a warning."""
    done = subprocess.run(
        [sys.executable, "-m", "p2l", "validate", f"votes={VOTES}", "format=json", "winner_map={skipped: null}"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert json.loads(done.stdout)["errors"] == []
    assert "no winner of the table is 'skipped'" in done.stderr
