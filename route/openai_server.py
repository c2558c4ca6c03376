"""``python -m route.openai_server`` of the published code: the same server as ``p2l router``."""

import sys

from p2l.routing.openai_server import main

if __name__ == "__main__":
    sys.exit(main())
