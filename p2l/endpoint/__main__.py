"""``python -m p2l.endpoint --model-path <checkpoint>``: see --help."""

import logging
import os
import sys

from p2l.errors import P2LError
from p2l.serving.endpoint.endpoint_options import read_options
from p2l.serving.endpoint.endpoint_supervisor import make_supervisor
from p2l.serving.http.json_logs import log_as_json


def main() -> int:
    log_as_json()
    try:
        return make_supervisor(read_options(None, os.environ)).run()
    except P2LError as error:
        logging.getLogger("p2l.endpoint").error("%s", error)
        return 2


if __name__ == "__main__":
    sys.exit(main())
