"""Run ``p2l <command>`` in a process that has imported torch; servers end before they listen.

python tests/docs/command_in_fork.py endpoint --model-path checkpoint
"""

import sys

from p2l.commands.cli import main


def stop_before_listening() -> None:
    """Replace what serves until it is stopped; everything before it happens."""
    import uvicorn

    from p2l.serving.endpoint.supervisor import Supervisor

    uvicorn.run = lambda *_, **__: None
    Supervisor.run = lambda self: 0  # type: ignore[method-assign]


if __name__ == "__main__":
    if sys.argv[1] in ("endpoint", "router"):
        stop_before_listening()
    sys.exit(main(sys.argv[1:]))
