"""The failure of an upstream: a model's provider or the P2L endpoint."""

from p2l.serving.http.api_error import ApiError

FILTERED = "content_filter"
"""The reason, and OpenAI's finish reason, of an answer that a filter of the provider stopped."""


class UpstreamError(Exception):
    """An upstream failed.

    Attributes:
        reason: one word for logs and metrics.
        message: the client may read it, so it holds no key and no text of the upstream that was not checked.
        status: of the response if no other model answers.
        retryable: whether a retry of the same model may succeed.
        client_fault: whether the request itself is wrong; then no other attempt is made.
        model_fault: whether the failure counts toward the model's cooldown.
        retry_after: seconds that the upstream asks to wait.
        code, param: of the error in the response.
        detail: text of the upstream that no client sees.
        usage: tokens that the upstream reports for the failed call, with the names of chat completions.
    """

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        status: int = 502,
        retryable: bool = True,
        client_fault: bool = False,
        model_fault: bool = True,
        retry_after: float | None = None,
        code: str | None = None,
        param: str | None = None,
        detail: str | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.message = message
        self.status = status
        self.retryable = retryable
        self.client_fault = client_fault
        self.model_fault = model_fault
        self.retry_after = retry_after
        self.code = code
        self.param = param
        self.detail = detail
        self.usage: object = None

    def to_api_error(self) -> ApiError:
        """Return the error for the client if no other model can answer."""
        return ApiError(self.status, self.message, self.code or self.reason, param=self.param)


def malformed(what: str) -> UpstreamError:
    return UpstreamError("malformed", f"the model sent {what}")


def timed_out() -> UpstreamError:
    return UpstreamError("timeout", "the model did not answer in time", status=504)


def untranslatable() -> UpstreamError:
    return UpstreamError(
        "untranslatable",
        "the router could not translate the request for this model",
        status=500,
        retryable=False,
        model_fault=False,
    )
