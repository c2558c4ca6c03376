"""``python -m p2l <command>``, the same as ``p2l <command>``."""

import sys

from p2l.commands.cli import main

if __name__ == "__main__":
    sys.exit(main())
