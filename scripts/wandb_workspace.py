"""Make a W&B workspace for runs and sweeps: ``python scripts/wandb_workspace.py entity=<user or team> project=p2l``."""

import sys

from p2l.commands.cli import run_script

if __name__ == "__main__":
    sys.exit(run_script("wandb_workspace"))
