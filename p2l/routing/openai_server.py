"""``python -m p2l.routing.openai_server``: the router; ``--help`` lists the options."""

import sys


def main() -> int:
    """Serve; the exit status."""
    try:
        from p2l.serving.router.router_command import main as serve
    except ModuleNotFoundError as error:
        from p2l.extras import missing_extra

        sys.stderr.write(f"the router needs {error.name}: {missing_extra('serve')}\n")
        return 2
    return serve()


if __name__ == "__main__":
    sys.exit(main())
