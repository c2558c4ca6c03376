"""Errors as an OpenAI client expects them."""

from collections.abc import Mapping

import orjson

from p2l.errors import P2LError

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


class ApiError(P2LError):
    """An answer with a status of 400 or more; ``message`` reaches the client, so it holds no key and no prompt."""

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        *,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.headers = dict(headers or {})

    def body(self) -> bytes:
        """``{"error": {"message", "type", "param", "code"}}``"""
        kind = _TYPES.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return orjson.dumps(
            {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}},
            option=orjson.OPT_NON_STR_KEYS,
        )


def invalid(message: str, param: str | None = None, code: str | None = "invalid_request") -> ApiError:
    """A request that is not what it should be."""
    return ApiError(400, message, code, param=param)
