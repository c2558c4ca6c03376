"""Rank the prompts of a data set: ``python scripts/predict.py model_path=<checkpoint> dataset=<file or hub dataset>``.

Writes the data set with ``coefs`` and ``eta`` added; a run that was stopped goes on where it was when called again.
"""

import sys

from p2l.commands.cli import run_script

if __name__ == "__main__":
    sys.exit(run_script("predict"))
