"""One page for every training run: curves, calibration, leaderboards, votes, warnings and configuration."""

from p2l.run_page.read_run import read_run
from p2l.run_page.run_record import RunRecord
from p2l.run_page.run_report import render_run, write_page

__all__ = ["RunRecord", "read_run", "render_run", "write_page"]
