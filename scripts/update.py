"""Teach a checkpoint new votes or scores: ``python scripts/update.py model_path=<checkpoint> votes=<file>``."""

import sys

from p2l.commands.cli import run_script

if __name__ == "__main__":
    sys.exit(run_script("update"))
