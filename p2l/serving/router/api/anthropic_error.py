"""Errors as a client of Anthropic expects them."""

from p2l.serving.http.api_error import ApiError
from p2l.serving.http.json_text import dump_json

_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def anthropic_error(error: ApiError) -> bytes:
    """Render ``{"type": "error", "error": {"type", "message"}}``."""
    kind = _TYPES.get(error.status, "api_error" if error.status >= 500 else "invalid_request_error")
    return dump_json({"type": "error", "error": {"type": kind, "message": error.message}})
