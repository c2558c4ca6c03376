"""What an error response of an upstream means: for the client, for a retry and for the circuit breaker."""

from collections.abc import Mapping

import orjson

from p2l.serving.router.upstream_error import UpstreamError, timed_out

_MAX_MESSAGE = 2000  # characters
_MAX_RETRY_AFTER = 3600.0  # seconds
_TIMEOUTS = (408, 504, 524)


def error_of_response(status: int, headers: Mapping[str, str], body: bytes, secrets: tuple[str, ...]) -> UpstreamError:
    """Return the error for an HTTP status. The client sees only the message of a 400, 413 or 422, without secrets."""
    reason = f"http_{status}"
    message, code = _parse_error(body)
    if status in (401, 402, 403) or (status == 400 and "API_KEY_INVALID" in body.decode("utf-8", "replace")):
        return UpstreamError(reason, "the model's provider refused the router's own key", retryable=False)
    if status in (400, 413, 422):
        shown = remove_secrets(message, secrets) or "the model refused the request"
        return UpstreamError(reason, shown, status=status, retryable=False, client_fault=True, code=code)
    if status == 429:
        return UpstreamError(
            reason,
            "the model's provider is limiting the router's rate",
            status=429,
            retryable=code != "insufficient_quota",
            retry_after=parse_retry_after(headers),
            code="rate_limit_exceeded",
        )
    if status in _TIMEOUTS:
        return timed_out()
    return UpstreamError(reason, "the model failed", retryable=status >= 500, retry_after=parse_retry_after(headers))


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
        payload = orjson.loads(body)
    except orjson.JSONDecodeError:
        return "", None
    if isinstance(payload, list) and payload:
        payload = payload[0]
    error = payload.get("error") if isinstance(payload, dict) else None
    if not isinstance(error, dict):
        return (error, None) if isinstance(error, str) else ("", None)
    message, code = error.get("message"), error.get("code")
    return message if isinstance(message, str) else "", code if isinstance(code, str) else None
