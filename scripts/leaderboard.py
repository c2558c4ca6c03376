"""Fit leaderboards to votes, with intervals: ``python scripts/leaderboard.py votes=<file or hub dataset> family=bt``.

Needs no prompts. Writes a table and a picture for each category, and all numbers as one JSON.
"""

import sys

from p2l.commands.cli import run_script

if __name__ == "__main__":
    sys.exit(run_script("leaderboard"))
