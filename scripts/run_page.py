"""Write the page of a training run again, from its files: ``python scripts/run_page.py run=outputs/<run>``."""

import sys

from p2l.commands.cli import run_script

if __name__ == "__main__":
    sys.exit(run_script("run_page"))
