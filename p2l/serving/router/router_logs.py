"""The router's log: messages with named fields only, so that neither a prompt nor a key can slip in."""

import logging
from collections.abc import Mapping

from p2l.serving.http.json_logs import log_as_json

log = logging.getLogger("p2l.serving.router")


def event(message: str, fields: Mapping[str, object] | None = None, *, level: int = logging.INFO) -> None:
    """Log a message with fields; what these may hold is decided where it is called: names, numbers, statuses."""
    if log.isEnabledFor(level):
        log.log(level, message, extra={"fields": dict(fields or {})})


def set_up_logs(level: str) -> None:
    """JSON lines on standard error; libraries that log requests are silenced."""
    log_as_json(logging.WARNING)
    log.setLevel(level.upper())
    for name in ("uvicorn.access", "aiohttp", "LiteLLM", "asyncio"):
        logging.getLogger(name).setLevel(logging.ERROR)
