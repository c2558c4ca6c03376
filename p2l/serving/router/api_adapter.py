"""What an API must implement: it parses the client's request and renders the answer."""

from typing import Protocol, runtime_checkable

from starlette.datastructures import Headers

from p2l.serving.http.api_error import ApiError
from p2l.serving.router.chat_request import JSON, ChatRequest
from p2l.serving.router.completion_context import CompletionContext


@runtime_checkable
class ApiAdapter(Protocol):
    """One API of the router; an instance answers one request.

    Attributes:
        name: of the API, for metrics and traces.
    """

    name: str

    def parse(self, body: JSON, headers: Headers, session_from_user: bool) -> ChatRequest:
        """Return the checked request; ApiError 400 if a field is wrong."""

    def render(self, context: CompletionContext, completion: JSON) -> JSON:
        """Return the body of a response that is not a stream."""

    def render_chunk(self, context: CompletionContext, chunk: JSON) -> bytes:
        """Return one chunk as a server-sent event; empty to skip the chunk."""

    def render_end(self, context: CompletionContext) -> bytes:
        """Return what follows the last chunk of a whole stream; empty if nothing does."""

    def render_error(self, error: ApiError, last_chunk: JSON) -> bytes:
        """Return what ends a stream which broke after ``last_chunk``."""

    def stored_response(self, context: CompletionContext, part: JSON) -> str | None:
        """Return the id of a response that its provider stores; None if the part names none."""
