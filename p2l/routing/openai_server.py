"""Entry point of ``python -m p2l.routing.openai_server``: runs the router's command."""

import os
import sys

from p2l.waiting_policy import SHORT_SPIN, set_waiting_policy


def main() -> int:
    """Return the exit status."""
    set_waiting_policy(os.environ, SHORT_SPIN)
    try:
        from p2l.serving.router.router_command import main as serve
    except ModuleNotFoundError as error:
        from p2l.extras import missing_extra

        sys.stderr.write(f"the router needs {error.name}: {missing_extra('serve')}\n")
        return 2
    return serve()


if __name__ == "__main__":
    sys.exit(main())
