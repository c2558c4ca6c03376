"""``/v1/responses``: OpenAI's Responses API.

Models of types of OpenAI that declare it get and give it as it is; every other one is asked as for a chat. The decision
is in the headers. What a provider stores belongs to one model, so a ``previous_response_id`` leads to the model that
made it, for the key that asked for it.
"""

from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from p2l.serving.http.api_error import ApiError
from p2l.serving.http.json_text import dump_json, load_json
from p2l.serving.router.api.parse_response import parse_response_request
from p2l.serving.router.api.response_events import ResponseEvents
from p2l.serving.router.chat_request import JSON, ChatRequest
from p2l.serving.router.completion import handle_request
from p2l.serving.router.completion_context import CompletionContext
from p2l.serving.router.upstream.chat_answer import chunks_of
from p2l.serving.router.upstream.providers.openai_responses import ENDS
from p2l.serving.router.upstream.providers.registry import is_native
from p2l.serving.router.upstream.sse import format_named_event
from p2l.serving.router.upstream_error import UpstreamError


class ResponsesAdapter:
    """Passes responses and events of OpenAI through; makes those of other providers from their chats."""

    name = "responses"

    def __init__(self) -> None:
        self._events: ResponseEvents | None = None  # of an answer in the form of a chat

    def parse(self, body: JSON, headers: Headers, session_from_user: bool) -> ChatRequest:
        return parse_response_request(body, headers, session_from_user)

    def render(self, context: CompletionContext, completion: JSON) -> JSON:
        if is_native(context.request.api, context.model):
            return completion
        events = self._made(context)
        try:
            for chunk in chunks_of(completion):
                list(events.feed(chunk))
        except UpstreamError as error:
            raise error.to_api_error() from None
        *_, last = events.end(None)
        response: JSON = last["response"]
        return response

    def render_chunk(self, context: CompletionContext, chunk: JSON) -> bytes:
        if not is_native(context.request.api, context.model):
            return _rendered(self._made(context).feed(chunk))
        data = chunk["data"]
        if chunk["type"] in ENDS and (cost := context.late_cost) is not None:
            data = _with_cost(data, cost)
        return format_named_event(chunk["type"], data)

    def render_end(self, context: CompletionContext) -> bytes:
        return b"" if self._events is None else _rendered(self._events.end(context.late_cost))

    def render_error(self, error: ApiError, last_chunk: JSON) -> bytes:
        event: JSON = {"type": "error", "code": error.code, "message": error.message, "param": None}
        if self._events is not None:
            event["sequence_number"] = self._events.number
        elif isinstance(last_chunk.get("number"), int):
            event["sequence_number"] = last_chunk["number"] + 1
        return format_named_event("error", dump_json(event))

    def stored_response(self, context: CompletionContext, part: JSON) -> str | None:
        if not is_native(context.request.api, context.model):
            return None
        if context.request.stream and part["type"] not in ("response.created", "response.completed"):
            return None
        response = part["response"] if context.request.stream else part
        is_stored = context.request.body.get("store") is not False
        return response["id"] if is_stored and isinstance(response.get("id"), str) else None

    def _made(self, context: CompletionContext) -> ResponseEvents:
        if self._events is None:
            self._events = ResponseEvents(context.request.body, name=context.id, model=context.model.name)
        return self._events


def _with_cost(event: bytes, cost: float) -> bytes:
    """Return the last event of a stream with the cost in its response, beside the usage."""
    found = load_json(event)
    if isinstance(found.get("response"), dict):
        found["response"]["cost"] = cost
    return dump_json(found)


def _rendered(events: Iterable[JSON]) -> bytes:
    return b"".join(format_named_event(event["type"], dump_json(event)) for event in events)


async def create_response(request: Request) -> Response:
    """Answer by the best model within the budget."""
    return await handle_request(request, ResponsesAdapter())
