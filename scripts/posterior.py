"""Add intervals to a checkpoint: ``python scripts/posterior.py model_path=<checkpoint> votes=<file> val=<file>``."""

import sys

from p2l.commands.cli import run_script

if __name__ == "__main__":
    sys.exit(run_script("posterior"))
