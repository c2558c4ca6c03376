"""The id that a client gives its request."""

from collections.abc import Iterable

HEADER = b"x-request-id"
_MAX_LENGTH = 128


def request_id_of(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the client's ``x-request-id``; None without one, or if it is too long or not printable ASCII."""
    value = next((value for name, value in headers if name == HEADER), b"")
    text = value.decode("latin-1")
    return text if 0 < len(text) <= _MAX_LENGTH and text.isascii() and text.isprintable() else None
