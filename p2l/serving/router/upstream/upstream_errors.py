"""What an upstream's refusal means: for the client, for another attempt, and for the model's health."""

from collections.abc import Mapping

import orjson

_LONGEST_MESSAGE = 2000
_LONGEST_WAIT = 3600.0
_TIMEOUTS = (408, 504, 524)


class UpstreamError(Exception):
    """A provider failed. ``reason`` is a word for logs and metrics; ``message`` may be shown to the client.

    ``status``: what the client is told where no other model answers. ``again``: whether asking the same model once more
    may help. ``ours``: the request itself is at fault, so that no other attempt is made.
    """

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        status: int = 502,
        retryable: bool = True,
        client_fault: bool = False,
        retry_after: float | None = None,
        code: str | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.message = message
        self.status = status
        self.retryable = retryable
        self.client_fault = client_fault
        self.retry_after = retry_after
        self.code = code
        self.param = param


def malformed(what: str) -> UpstreamError:
    return UpstreamError("malformed", f"the model sent {what}")


def failure(status: int, headers: Mapping[str, str], body: bytes, secrets: tuple[str, ...]) -> UpstreamError:
    """The error of an answer with this status. Only the text of a 400 reaches the client, with every key taken out."""
    reason = f"http_{status}"
    message, code = _said(body)
    if status in (401, 402, 403) or (status == 400 and "API_KEY_INVALID" in body.decode("utf-8", "replace")):
        return UpstreamError(reason, "the model's provider refused the router's own key", retryable=False)
    if status in (400, 413, 422):
        shown = scrub(message, secrets) or "the model refused the request"
        return UpstreamError(reason, shown, status=status, retryable=False, client_fault=True, code=code)
    if status == 429:
        wait = retry_after(headers)
        return UpstreamError(
            reason,
            "the model's provider is limiting the router's rate",
            status=429,
            retryable=code != "insufficient_quota",
            retry_after=wait,
            code="rate_limit_exceeded",
        )
    if status in _TIMEOUTS:
        return UpstreamError("timeout", "the model did not answer in time", status=504)
    return UpstreamError(reason, "the model failed", retryable=status >= 500, retry_after=retry_after(headers))


def scrub(text: str, secrets: tuple[str, ...]) -> str:
    """The text without any of the secrets."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return text[:_LONGEST_MESSAGE]


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the upstream asks to wait, of which an hour is believed; a date counts as nothing said."""
    try:
        seconds = float(headers.get("retry-after") or "")
    except ValueError:
        return None
    return min(seconds, _LONGEST_WAIT) if 0 <= seconds < float("inf") else None


def _said(body: bytes) -> tuple[str, str | None]:
    """Message and code of an error body, of whichever vendor."""
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
