"""Errors as an OpenAI client expects them."""

import orjson

from p2l.serving.http.api_error import ApiError

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
    431: "invalid_request_error",
    501: "not_implemented_error",
}


def openai_error(error: ApiError) -> bytes:
    """Render ``{"error": {"message", "type", "param", "code"}}``."""
    kind = _TYPES.get(error.status, "server_error" if error.status >= 500 else "invalid_request_error")
    return orjson.dumps(
        {"error": {"message": error.message, "type": kind, "param": error.param, "code": error.code}},
        option=orjson.OPT_NON_STR_KEYS,
    )
