"""Run ``p2l <command>`` in a process that has imported torch; servers end before they listen.

python tests/docs/command_in_fork.py endpoint --model-path checkpoint
"""

import sys

from p2l.commands.cli import main


def stop_before_listening() -> None:
    """Replace what serves until it is stopped; everything before it happens."""
    from p2l.serving.http.supervisor import Supervisor
    from p2l.serving.router import router_worker

    router_worker.run_server = lambda server, listening: 0
    Supervisor.run = lambda self: 0  # type: ignore[method-assign]


if __name__ == "__main__":
    if sys.argv[1] in ("endpoint", "router"):
        stop_before_listening()
    sys.exit(main(sys.argv[1:]))
