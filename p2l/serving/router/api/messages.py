"""``/v1/messages``: Anthropic's Messages API.

Models of type ``anthropic`` get and give it as it is; every other one is asked as for a chat. The decision is in the
headers.
"""

from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from p2l.serving.http.api_error import ApiError
from p2l.serving.http.json_text import dump_json, load_json
from p2l.serving.router.api.anthropic_error import anthropic_error
from p2l.serving.router.api.message_answer import message_of
from p2l.serving.router.api.message_events import MessageEvents
from p2l.serving.router.api.parse_messages import parse_messages_request
from p2l.serving.router.chat_request import JSON, ChatRequest
from p2l.serving.router.completion import handle_request
from p2l.serving.router.completion_context import CompletionContext
from p2l.serving.router.upstream.providers.anthropic_messages import NATIVE
from p2l.serving.router.upstream.providers.registry import is_native
from p2l.serving.router.upstream.sse import format_named_event
from p2l.serving.router.upstream_error import UpstreamError


class MessagesAdapter:
    """Passes messages and events of Anthropic through; makes those of other providers from their chats."""

    name = "messages"

    def __init__(self) -> None:
        self._events: MessageEvents | None = None  # of a stream of another provider

    def parse(self, body: JSON, headers: Headers, session_from_user: bool) -> ChatRequest:
        return parse_messages_request(body, headers, session_from_user)

    def render(self, context: CompletionContext, completion: JSON) -> JSON:
        if NATIVE in completion:
            native: JSON = completion[NATIVE]
            return native
        try:
            request, model = context.request, context.model.name
            return message_of(completion, request.as_chat, model=model, shows_thinking=_shows_thinking(request))
        except UpstreamError as error:
            raise error.to_api_error() from None

    def render_chunk(self, context: CompletionContext, chunk: JSON) -> bytes:
        if is_native(context.request.api, context.model):
            return _passed_on(chunk[NATIVE], context) if NATIVE in chunk else b""
        if self._events is None:
            request, model = context.request, context.model.name
            self._events = MessageEvents(request.as_chat, model=model, shows_thinking=_shows_thinking(request))
        return _rendered(self._events.feed(chunk))

    def render_end(self, context: CompletionContext) -> bytes:
        return b"" if self._events is None else _rendered(self._events.end(context.late_cost))

    def render_error(self, error: ApiError, last_chunk: JSON) -> bytes:
        return format_named_event("error", anthropic_error(error))

    def stored_response(self, context: CompletionContext, part: JSON) -> str | None:
        return None


def _passed_on(event: tuple[str, bytes], context: CompletionContext) -> bytes:
    """Return an event of Anthropic as it is, the last one with the cost of the answer."""
    kind, data = event
    if kind == "message_stop" and (cost := context.late_cost) is not None:
        data = dump_json({**load_json(data), "cost": cost})
    return format_named_event(kind, data)


def _rendered(events: Iterable[JSON]) -> bytes:
    return b"".join(format_named_event(event["type"], dump_json(event)) for event in events)


def _shows_thinking(request: ChatRequest) -> bool:
    """Return whether the client asks for thinking: others may take the first block for the answer."""
    thinking = request.body.get("thinking") or {}
    return thinking.get("type") not in (None, "disabled") and thinking.get("display") != "omitted"


async def create_message(request: Request) -> Response:
    """Answer by the best model within the budget."""
    return await handle_request(request, MessagesAdapter())
