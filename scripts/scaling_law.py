"""Fit a scaling law to a sweep: ``python scripts/scaling_law.py results=<folder of the sweep, or CSV table>``.

Says how the loss falls with model size and number of votes, how well that is known, and predicts runs not made.
"""

import sys

from p2l.commands.cli import run_script

if __name__ == "__main__":
    sys.exit(run_script("scaling_law"))
