"""Errors that an upstream reports in a 200: in the body, or in an event of a stream."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from p2l.serving.router.upstream.error_responses import error_code, error_of_status, error_text, remove_secrets
from p2l.serving.router.upstream_error import UpstreamError

_ANSWERS = ("choices", "content", "candidates", "output", "type", "usage")
_STATUSES = ("status", "status_code", "code", "http_code", "error_code")
# words of OpenAI, Anthropic and Gemini, in lower case
_STATUS_WORDS: Mapping[str, int] = {
    "invalid_request_error": 400,
    "badrequesterror": 400,
    "invalid_argument": 400,
    "failed_precondition": 400,
    "out_of_range": 400,
    "context_length_exceeded": 400,
    "authentication_error": 401,
    "unauthenticated": 401,
    "invalid_api_key": 401,
    "billing_error": 402,
    "permission_error": 403,
    "permission_denied": 403,
    "not_found_error": 404,
    "not_found": 404,
    "model_not_found": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "resource_exhausted": 429,
    "insufficient_quota": 429,
    "api_error": 500,
    "server_error": 500,
    "internal_server_error": 500,
    "internalservererror": 500,
    "internal": 500,
    "unavailable": 503,
    "service_unavailable": 503,
    "overloaded_error": 529,
    "deadline_exceeded": 504,
    "timeout_error": 504,
}


class _Reported(NamedTuple):
    message: str
    status: int | None
    code: str | None


def error_in_answer(payload: Any, secrets: tuple[str, ...]) -> UpstreamError | None:
    """Return the error in the body of a 200; None if it reports none."""
    return _failure(payload, "reported_error", "the model reported an error", secrets)


def error_in_stream(name: bytes, payload: Any, secrets: tuple[str, ...]) -> UpstreamError | None:
    """Return the error in an event; None if it reports none. ``name``: the event's field ``event``."""
    what = "the model reported an error in its stream"
    error = _failure(payload, "stream_error", what, secrets)
    return error or (UpstreamError("stream_error", what) if name == b"error" else None)


def _failure(payload: Any, reason: str, what: str, secrets: tuple[str, ...]) -> UpstreamError | None:
    """Return the error as a response with its status would give it; one without a status shows its text."""
    reported = _find(payload)
    if reported is None:
        return None
    if reported.status is None:
        text = remove_secrets(reported.message, secrets)
        return UpstreamError(reason, f"{what}: {text}" if text else what)
    error = error_of_status(reported.status, reported.message, reported.code, secrets)
    if error.status >= 500 and error.retryable:
        error.message = what + (": it is overloaded" if reported.status in (503, 529) else "")
    error.reason = reason
    return error


def _find(payload: Any) -> _Reported | None:
    if isinstance(payload, list) and payload:
        payload = payload[0]
    if not isinstance(payload, dict):
        return None
    for error in _candidates(payload):
        if isinstance(error, str):
            return _Reported(error_text(payload) or error, _status(payload), None)
        if isinstance(error, dict):
            return _Reported(error_text(error), _status(error) or _status(payload), error_code(error))
    return None


def _candidates(payload: dict[str, Any]) -> Iterator[Any]:
    """Yield what may be an error: in its own field, in a choice, or the whole payload."""
    if payload.get("error"):
        error = payload["error"]
        yield error if isinstance(error, (dict, str)) else str(error)
    for choice in payload.get("choices") or ():
        if isinstance(choice, dict) and choice.get("error"):
            yield choice["error"]
    if _is_error_object(payload):
        yield payload


def _is_error_object(payload: dict[str, Any]) -> bool:
    kind = payload.get("type")
    if payload.get("object") == "error" or (isinstance(kind, str) and kind.lower().endswith("error")):
        return True
    return bool(error_text(payload)) and not any(payload.get(name) for name in _ANSWERS)


def _status(error: dict[str, Any]) -> int | None:
    """Return the HTTP status that a number or word of the error stands for."""
    for name in _STATUSES:
        value = error.get(name)
        if isinstance(value, str) and value.isdigit():
            value = int(value)
        if isinstance(value, int) and 400 <= value < 600:
            return value
    words = (error.get(name) for name in ("type", "status", "code"))
    return next((_STATUS_WORDS[w.lower()] for w in words if isinstance(w, str) and w.lower() in _STATUS_WORDS), None)
