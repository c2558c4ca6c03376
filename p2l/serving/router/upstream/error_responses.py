"""What an error response of an upstream means: for the client, for a retry and for the circuit breaker."""

from collections.abc import Mapping
from typing import Any

from p2l.serving.router.upstream.lenient_json import loads
from p2l.serving.router.upstream_error import FILTERED, UpstreamError, timed_out
from p2l.unicode_text import without_surrogates

_MAX_MESSAGE = 2000  # characters
_MAX_RETRY_AFTER = 3600.0  # seconds
_TIMEOUTS = (408, 504, 524)
_TEXTS = ("message", "detail", "msg", "error_msg", "error_message", "error_description")
_FILTER_CODES = ("content_filter", "content_policy_violation")  # of Azure and OpenAI: another model may answer


def error_of_response(status: int, headers: Mapping[str, str], body: bytes, secrets: tuple[str, ...]) -> UpstreamError:
    """Return the error for an HTTP status. The client sees only the message of a 400, 413 or 422, without secrets."""
    message, code = _parse_error(body)
    if status == 400 and b"API_KEY_INVALID" in body:
        status = 401
    return error_of_status(status, message, code, secrets, parse_retry_after(headers))


def error_of_status(
    status: int, message: str, code: str | None, secrets: tuple[str, ...], retry_after: float | None = None
) -> UpstreamError:
    """Return the error for a status and the text and code that came with it."""
    reason = f"http_{status}"
    if status in (401, 402, 403):
        return UpstreamError(reason, "the model's provider refused the router's own key", retryable=False)
    if status in (400, 413, 422):
        shown = remove_secrets(message, secrets) or "the model refused the request"
        if code in _FILTER_CODES:
            return UpstreamError(FILTERED, shown, status=status, retryable=False, model_fault=False, code=code)
        return UpstreamError(reason, shown, status=status, retryable=False, client_fault=True, code=code)
    if status == 429:
        return UpstreamError(
            reason,
            "the model's provider is limiting the router's rate",
            status=429,
            retryable=code != "insufficient_quota",
            retry_after=retry_after,
            code="rate_limit_exceeded",
        )
    if status in _TIMEOUTS:
        return timed_out()
    return UpstreamError(reason, "the model failed", retryable=status >= 500, retry_after=retry_after)


def remove_secrets(text: str, secrets: tuple[str, ...]) -> str:
    """Replace each secret by ``***`` and shorten the text."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return text[:_MAX_MESSAGE]


def parse_retry_after(headers: Mapping[str, str]) -> float | None:
    """Parse Retry-After in seconds, capped at one hour; HTTP dates are ignored."""
    try:
        seconds = float(headers.get("retry-after") or "")
    except ValueError:
        return None
    return min(seconds, _MAX_RETRY_AFTER) if 0 <= seconds < float("inf") else None


def _parse_error(body: bytes) -> tuple[str, str | None]:
    """Return message and code of an error body, from any provider."""
    try:
        payload = without_surrogates(loads(body)[0])
    except ValueError:
        return "", None
    if isinstance(payload, list) and payload:
        payload = payload[0]
    if not isinstance(payload, dict):
        return "", None
    error = payload.get("error")
    if isinstance(error, dict):
        return error_text(error), error_code(error)
    return error_text(payload) or (error if isinstance(error, str) else ""), error_code(payload)


def error_text(error: Mapping[str, Any]) -> str:
    """Return the text of an error object, whichever field holds it: FastAPI's ``detail`` may be a list of faults."""
    texts = (_text_in(error.get(name)) for name in _TEXTS)
    return next((text for text in texts if text is not None), "")


def _text_in(value: object) -> str | None:
    if isinstance(value, str):
        return value
    if not isinstance(value, list) or not all(isinstance(fault, dict) and "msg" in fault for fault in value):
        return None
    return "; ".join(f"{_path(fault.get('loc'))}{fault['msg']}" for fault in value) or None


def _path(loc: object) -> str:
    return f"{'.'.join(map(str, loc))}: " if isinstance(loc, list) else ""


def error_code(error: Mapping[str, Any]) -> str | None:
    """Return the code of an error object if it is a word; a number is a status."""
    code = error.get("code")
    return code if isinstance(code, str) and not code.isdigit() else None
