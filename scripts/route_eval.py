"""Measure routing: ``python scripts/route_eval.py model_path=<checkpoint> scores=<file> known_scores=<file>``.

Writes the cost-quality curve of every policy as JSON, CSV and a picture.
"""

import sys

from p2l.commands.cli import run_script

if __name__ == "__main__":
    sys.exit(run_script("route_eval"))
