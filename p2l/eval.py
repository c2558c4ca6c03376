"""``python -m p2l.eval`` of the published code: says which command predicts today."""

import sys

from p2l.commands.published_commands import explain_eval

if __name__ == "__main__":
    sys.exit(explain_eval(sys.argv[1:]))
