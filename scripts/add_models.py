"""Add new LLMs to a checkpoint without training: ``python scripts/add_models.py model_path=<checkpoint> votes=<file>``.

Writes a checkpoint that ranks them too, and where they stand, with intervals.
"""

import sys

from p2l.commands.cli import run_script

if __name__ == "__main__":
    sys.exit(run_script("add_models"))
