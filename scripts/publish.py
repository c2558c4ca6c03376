"""Publish any checkpoint of a run: ``python scripts/publish.py run=outputs/<run> checkpoint=last.ckpt``.

For shards of FSDP2 and DeepSpeed too, on a machine without their GPUs and with memory for one file of weights.
"""

import sys

from p2l.commands.cli import run_script

if __name__ == "__main__":
    sys.exit(run_script("publish"))
