"""Look at the leaderboards of prompts in the browser: ``python scripts/explore.py model_path=<checkpoint>``.

``prices=<list>`` (a file of conf/prices) adds what a budget buys; ``host=`` and ``port=`` say where the page is.
"""

import sys

from p2l.commands.cli import run_script

if __name__ == "__main__":
    sys.exit(run_script("explore"))
