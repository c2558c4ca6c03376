"""Check votes before training: ``python scripts/validate.py votes=<file or hub dataset> val=<file>``.

Prints what the tables hold, what is doubtful, and every error that would stop training (exit status 2).
"""

import sys

from p2l.commands.cli import run_script

if __name__ == "__main__":
    sys.exit(run_script("validate"))
