"""Printed tables: no name and no number is cut."""

from io import StringIO

import pytest
from rich.console import Console
from rich.table import Table

from p2l.commands.leaderboard import LeaderboardJob
from p2l.console import table_console
from p2l.evaluation.score_table import score_table

NAMES = [f"organisation/a-very-long-model-name-with-a-date-2025-11-28-{kind}" for kind in ("instruct", "thinking")]


def test_a_redirected_table_is_as_wide_as_its_texts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    table = Table(*NAMES)
    table.add_row("x" * 150, "y")
    table_console().print(table)
    printed = capsys.readouterr().out
    assert "x" * 150 in printed and all(name in printed for name in NAMES) and len(printed.splitlines()[0]) < 250


def test_the_width_that_is_asked_for_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert table_console().width == 60


def test_the_names_of_a_printed_leaderboard_are_whole(
    tmp_path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "".join(f"{NAMES[0]},{NAMES[1]},{winner}\n" for winner in ("model_a", "model_b", "tie"))
    (tmp_path / "votes.csv").write_text("model_a,model_b,winner\n" + rows)
    job = LeaderboardJob(str(tmp_path / "votes.csv"), "bt-tie", str(tmp_path / "board"))
    for width in (None, "60"):
        monkeypatch.delenv("COLUMNS", raising=False)
        if width is not None:
            monkeypatch.setenv("COLUMNS", width)
        job.run()
        cells = [line.split("│")[2].strip() for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
        assert "".join(cells) in (NAMES[0] + NAMES[1], NAMES[1] + NAMES[0])


def test_a_narrow_terminal_folds_the_metrics() -> None:
    interval = {"value": 1.0, "low": 0.5, "high": 1.5}
    proper = {"votes": 9, "calibration_error": interval, **dict.fromkeys(("log_loss", "brier", "accuracy"), interval)}
    text = StringIO()
    Console(width=60, file=text).print(score_table({"p2l": {"proper_metrics": proper}}))
    assert "…" not in text.getvalue()
