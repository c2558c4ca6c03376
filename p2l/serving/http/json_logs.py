"""Structured logs of both servers: one JSON object a line, without prompts, keys and tracebacks."""

import json
import logging
import os
import sys
import traceback
from collections.abc import Mapping
from datetime import datetime, timezone

import orjson


class JsonFormatter(logging.Formatter):
    """Writes time, level, logger, pid, message and ``fields``; of an exception its type and place, not its text."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": os.getpid(),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__  # its text could quote the request
            frames = [*traceback.walk_tb(record.exc_info[2])]
            if frames:
                frame, number = frames[-1]
                line["at"] = f"{frame.f_code.co_filename}:{number}"
        try:
            return orjson.dumps(line, default=str).decode()
        except orjson.JSONEncodeError:  # a lone surrogate, a large integer: ten times slower, but never an error
            return json.dumps(line, default=str)


def log_event(
    log: logging.Logger, message: str, fields: Mapping[str, object] | None = None, *, level: int = logging.INFO
) -> None:
    """Log a message with named fields. Callers give names, numbers and statuses, never a prompt or a key."""
    if log.isEnabledFor(level):
        log.log(level, message, extra={"fields": dict(fields or {})})


def log_as_json(level: int = logging.INFO) -> None:
    """Send all logging of this process to standard error as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # our servers log their start themselves
