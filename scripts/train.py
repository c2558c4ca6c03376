"""Train a P2L model: ``python scripts/train.py model=qwen2 head=rk``; ``--help`` lists every choice."""

import sys

from p2l.commands.cli import run_script

if __name__ == "__main__":
    sys.exit(run_script("train"))
