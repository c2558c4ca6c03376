"""Evaluate rankings of prompts: ``python scripts/evaluate.py eval_path=<file> model_list_path=<json> loss_type=grk``.

The rankings may also be made now: ``model_path=<checkpoint> votes=<vote table>``. Writes one JSON, with pictures.
"""

import sys

from p2l.commands.cli import run_script

if __name__ == "__main__":
    sys.exit(run_script("evaluate"))
