"""The error that a server answers with; each server renders it in its published form."""

from collections.abc import Callable, Mapping

from p2l.errors import P2LError


class ApiError(P2LError):
    """A response with a status of 400 or more. The client reads ``message``, so it holds no key and no prompt."""

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


ErrorRenderer = Callable[[ApiError], bytes]
"""Renders an error as the body of a response."""


class ClientLeftError(Exception):
    """The client closed its connection before the response was complete."""


def invalid(message: str, param: str | None = None, code: str | None = "invalid_request") -> ApiError:
    """Return the error 400 for a request that breaks a rule of the API."""
    return ApiError(400, message, code, param=param)
