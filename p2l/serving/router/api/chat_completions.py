"""``/v1/chat/completions``: OpenAI's chat completions, the API that every model can answer."""

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from p2l.serving.http.api_error import ApiError
from p2l.serving.router.api.openai_error import openai_error
from p2l.serving.router.api.parse_chat import parse_chat_request
from p2l.serving.router.chat_request import JSON, ChatRequest
from p2l.serving.router.completion import handle_request
from p2l.serving.router.completion_context import CompletionContext
from p2l.serving.router.upstream.sse import DONE, format_event


class ChatCompletionsAdapter:
    """Adds to the provider's answer who gave it and the scores, in the fields that published clients read."""

    name = "chat"

    def parse(self, body: JSON, headers: Headers, session_from_user: bool) -> ChatRequest:
        return parse_chat_request(body, headers, session_from_user)

    def render(self, context: CompletionContext, completion: JSON) -> JSON:
        for choice in completion["choices"]:
            choice["message"]["model"] = context.result.model
        completion["router_outputs"] = context.plan.scores
        return completion

    def render_chunk(self, context: CompletionContext, chunk: JSON) -> bytes:
        has_usage = isinstance(chunk.get("usage"), dict)
        if chunk is context.result.answer.opening[0]:
            chunk["router_outputs"] = context.plan.scores
        elif has_usage and not context.request.include_usage and not chunk.get("choices"):
            return b""  # only the router asked for the usage
        if has_usage and (cost := context.late_cost) is not None:
            chunk["cost"] = cost  # the headers of a stream are sent before its cost is known
        for choice in chunk.get("choices") or ():
            if isinstance(delta := choice.get("delta"), dict):
                delta["model"] = context.result.model
        return format_event(chunk)

    def render_end(self, context: CompletionContext) -> bytes:
        return DONE

    def render_error(self, error: ApiError, last_chunk: JSON) -> bytes:
        return b"data: " + openai_error(error) + b"\n\n" + DONE

    def stored_response(self, context: CompletionContext, part: JSON) -> str | None:
        return None


async def create_chat_completion(request: Request) -> Response:
    """Answer by the best model within the budget."""
    return await handle_request(request, ChatCompletionsAdapter())
