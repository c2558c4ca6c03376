"""The router's log: messages with named fields only, so that neither a prompt nor a key can get in."""

import logging
from functools import partial

from p2l.serving.http.json_logs import log_as_json, log_event

log = logging.getLogger("p2l.serving.router")
event = partial(log_event, log)


def set_up_logs(level: str) -> None:
    """Log JSON lines to standard error; libraries that log requests log errors only."""
    log_as_json(logging.WARNING)
    logging.getLogger("p2l.serving").setLevel(level.upper())
    for name in ("uvicorn.access", "aiohttp", "LiteLLM", "asyncio"):
        logging.getLogger(name).setLevel(logging.ERROR)
