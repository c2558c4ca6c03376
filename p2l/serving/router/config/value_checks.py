"""Checks of configured values."""

import math
import re
from urllib.parse import urlsplit

from p2l.errors import ConfigError

_UNREAD_VARIABLE = re.compile(r"\$\{|\$\(|^os\.environ")


def check_not_negative(value: float, name: str) -> None:
    if not (math.isfinite(value) and value >= 0):
        raise ConfigError(f"{name} must be a finite number of 0 or more; got {value}")


def check_between(value: float | None, name: str, least: float, most: float) -> None:
    """Raise ConfigError unless the value is None or in the range."""
    if value is not None and not least <= value <= most:
        raise ConfigError(f"{name} must be a number from {least:g} to {most:g}; got {value}")


def check_is_file(place: str, name: str) -> None:
    """Raise ConfigError for a URL, without quoting it: it may hold a password."""
    if "://" in place:
        raise ConfigError(
            f"{name} must be the path of a SQLite file; got a URL. State is kept on this machine, for all workers of "
            "one router; only --feedback may be in PostgreSQL"
        )


def check_variables(text: str, name: str) -> None:
    """Raise ConfigError, without quoting it, for text that looks like a variable in a form that is not read."""
    if _UNREAD_VARIABLE.search(text):
        kind = "key" if name.endswith("key") else "value"
        raise ConfigError(f"{name}: expected the {kind}, ${{NAME}}, ${{NAME:-default}} or os.environ/NAME")


def is_plain_url(text: str) -> bool:
    """Return whether it is an HTTP URL with a host, without user or password."""
    try:
        parts = urlsplit(text)
        plain = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return plain and text.isprintable() and parts.scheme in ("http", "https") and "@" not in parts.netloc
