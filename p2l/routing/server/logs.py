"""Structured logs: one JSON object a line, of named fields only, so that neither a prompt nor a key can slip in."""

import logging
import sys
import time
from collections.abc import Mapping

import orjson

log = logging.getLogger("p2l.routing.server")


class JsonFormatter(logging.Formatter):
    """The record's message and the fields of ``event``; of an exception only its type and place."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__  # its text could quote the request
            trace = record.exc_info[2]
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            if trace is not None:
                line["at"] = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
        return orjson.dumps(line, default=str).decode()


def event(message: str, fields: Mapping[str, object] | None = None, *, level: int = logging.INFO) -> None:
    """Log a message with fields; what these may hold is decided where it is called: names, numbers, statuses."""
    if log.isEnabledFor(level):
        log.log(level, message, extra={"fields": dict(fields or {})})


def set_up_logs(level: str) -> None:
    """JSON lines on standard error, for the server and for uvicorn; libraries that log requests are silenced."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    log.setLevel(level.upper())
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    for name in ("uvicorn.access", "aiohttp", "LiteLLM", "asyncio"):
        logging.getLogger(name).setLevel(logging.ERROR)
