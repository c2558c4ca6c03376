"""Progress as lines of the log: the right numbers, few of them, none beside a progress bar."""

import logging
import re

import pytest

from p2l.errors import ConfigError
from p2l.training.callbacks import ProgressLines
from p2l.training.callbacks.progress_lines import duration
from tests.running import run

LINE = re.compile(r"step (\d+) of 8, loss (\d\.\d{4}), [\d.e+]+ votes/s, \d+ s left")
OPTIONS = ("trainer.max_epochs=2", "example_prompts=[]")


def lines(caplog) -> list[re.Match[str]]:
    found = [LINE.fullmatch(r.getMessage()) for r in caplog.records if r.name.endswith("progress_lines")]
    assert all(found)
    return [match for match in found if match]


@pytest.mark.parametrize(("seconds", "steps"), [("1e-9", [1, 2, 3, 4, 5, 6, 7, 8]), ("1000", [1])])
def test_lines_of_a_run(tmp_path, caplog, seconds, steps):
    with caplog.at_level(logging.INFO, logger="p2l"):
        finished = run(tmp_path, *OPTIONS, f"callbacks.lines.seconds={seconds}")
    assert [int(line[1]) for line in lines(caplog)] == steps
    losses = [f"{loss:.4f}" for loss in finished.curve()]
    assert [line[2] for line in lines(caplog)] == [losses[step - 1] for step in steps][: len(steps)]


def test_a_terminal_has_its_progress_bar(monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert not ProgressLines().shown and ProgressLines(on_terminal=True).shown
    with pytest.raises(ConfigError, match=r"callbacks.lines.seconds must be a finite number above 0; got 0"):
        ProgressLines(seconds=0)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 0 s"), (125, "2 min 5 s"), (12_020, "3 h 20 min")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text
