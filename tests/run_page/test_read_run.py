"""The record of a run from its folder: its own, or what other files tell."""

import json
from pathlib import Path

import pytest

from p2l.errors import DataError
from p2l.run_page import read_run, render_run
from p2l.run_page.metric_history import MetricHistory, read_csv_history, read_history
from tests.run_page.records import record


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    written = record()
    written.save(tmp_path / "page" / "record.json")
    kept = MetricHistory(tmp_path / "page" / "history.jsonl")
    for row in written.history:
        kept.add(int(row["step"]), {name: value for name, value in row.items() if name != "step"})
    (tmp_path / "test_report.json").write_text(json.dumps(written.test))
    found = read_run(tmp_path)
    assert found == written and render_run(found) == render_run(written)


def test_a_history_drops_what_is_not_finite_and_half_a_line(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    MetricHistory(path).add(3, {"train/loss": float("nan"), "speed/votes_per_s": 2.0})
    path.write_text(path.read_text() + '{"step": 4, "train/lo')
    assert read_history(path) == [{"step": 3, "speed/votes_per_s": 2.0}]


def test_a_resumed_run_goes_on_from_its_step_and_a_new_one_starts_empty(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    first = MetricHistory(path)
    for step in (1, 2, 3, 4):
        first.add(step, {"train/loss": step / 10})
    resumed = MetricHistory(path, until=2)
    resumed.add(3, {"train/loss": 0.9})
    assert [(row["step"], row["train/loss"]) for row in read_history(path)] == [(1, 0.1), (2, 0.2), (3, 0.9)]
    assert MetricHistory(path).rows == read_history(path) == []


def test_csv_metrics_of_two_starts_are_one_curve(tmp_path: Path) -> None:
    for version, rows in (("2", "0,1.5,\n1,1.4,\n2,1.3,\n2,,1.2\n"), ("10", "2,1.25,\n3,1.1,\n4,,1.0\n")):
        folder = tmp_path / "csv" / f"version_{version}"
        folder.mkdir(parents=True)
        (folder / "metrics.csv").write_text("step,train/loss,val/log_loss\n" + rows)
    found = read_csv_history(tmp_path)
    assert [(row["step"], row.get("train/loss")) for row in found] == [(1, 1.5), (2, 1.4), (3, 1.25), (4, 1.1)]
    assert read_run(tmp_path).step == 4


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no run: expected page/history.jsonl, csv/version_"):
        read_run(tmp_path)
