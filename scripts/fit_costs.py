"""Add predicted costs to a checkpoint: ``python scripts/fit_costs.py model_path=<checkpoint> scores=<file>``."""

import sys

from p2l.commands.cli import run_script

if __name__ == "__main__":
    sys.exit(run_script("fit_costs"))
