"""Recalibrate a checkpoint to held-out votes: ``python scripts/calibrate.py model_path=<checkpoint> votes=<file>``."""

import sys

from p2l.commands.cli import run_script

if __name__ == "__main__":
    sys.exit(run_script("calibrate"))
