"""``python -m p2l.auto_evals`` of the published code: says which command evaluates today."""

import sys

from p2l.commands.published_commands import explain_auto_evals

if __name__ == "__main__":
    sys.exit(explain_auto_evals(sys.argv[1:]))
