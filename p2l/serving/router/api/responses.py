"""``/v1/responses``: OpenAI's Responses API, passed through to models that declare it.

The answer is the provider's own; the decision is in the headers. A provider's state belongs to one model, so a
``previous_response_id`` leads to the model that made it, for the key that asked for it.
"""

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from p2l.serving.http.api_error import ApiError
from p2l.serving.http.json_text import dump_json
from p2l.serving.router.api.authentication import authenticate
from p2l.serving.router.api.parse_response import parse_response_request
from p2l.serving.router.chat_request import JSON, ChatRequest
from p2l.serving.router.completion import handle_request
from p2l.serving.router.completion_context import CompletionContext
from p2l.serving.router.upstream.sse import format_named_event


class ResponsesAdapter:
    """Passes the provider's responses and events through."""

    name = "responses"

    def parse(self, body: JSON, headers: Headers, session_from_user: bool) -> ChatRequest:
        return parse_response_request(body, headers, session_from_user)

    def render(self, context: CompletionContext, completion: JSON) -> JSON:
        return completion

    def render_chunk(self, context: CompletionContext, chunk: JSON) -> bytes:
        return format_named_event(chunk["type"], chunk["data"])

    def render_end(self, context: CompletionContext) -> bytes:
        return b""

    def render_error(self, error: ApiError, last_chunk: JSON) -> bytes:
        event: JSON = {"type": "error", "code": error.code, "message": error.message, "param": None}
        if isinstance(last_chunk["number"], int):
            event["sequence_number"] = last_chunk["number"] + 1
        return format_named_event("error", dump_json(event))

    def stored_response(self, context: CompletionContext, part: JSON) -> str | None:
        if context.request.stream and part["type"] not in ("response.created", "response.completed"):
            return None
        response = part["response"] if context.request.stream else part
        is_stored = context.request.body.get("store") is not False
        return response["id"] if is_stored and isinstance(response.get("id"), str) else None


async def create_response(request: Request) -> Response:
    """Answer by the best model that declares the Responses API; ApiError 501 if none does."""
    config = request.app.state.container.snapshot.config
    if not any(model.capabilities.responses for model in config.model_configs.values()):
        await authenticate(request, count=False)
        message = "no model of this router declares the Responses API; use /v1/chat/completions"
        raise ApiError(501, message, "not_implemented")
    return await handle_request(request, ResponsesAdapter())
