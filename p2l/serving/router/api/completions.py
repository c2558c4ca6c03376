"""``/v1/completions``: OpenAI's completions of text, for old clients; each prompt is asked as a chat of one message."""

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from p2l.serving.http.api_error import invalid
from p2l.serving.router.api.chat_completions import ChatCompletionsAdapter
from p2l.serving.router.api.parse_chat import parse_chat_request
from p2l.serving.router.chat_request import JSON, ChatRequest
from p2l.serving.router.completion import handle_request
from p2l.serving.router.completion_context import CompletionContext
from p2l.serving.router.upstream.sse import format_event

# what a chat cannot do; a value that asks for nothing passes
_UNSUPPORTED: dict[str, tuple[object, ...]] = {
    "suffix": (None, ""),
    "echo": (None, False),
    "logprobs": (None,),
    "best_of": (None, 1),
}
_HEAD = ("id", "created", "model", "system_fingerprint")


class CompletionsAdapter(ChatCompletionsAdapter):
    """Reads the prompt as a message of the user, and renders the text of the answer; the rest is as for chats."""

    name = "completions"

    def parse(self, body: JSON, headers: Headers, session_from_user: bool) -> ChatRequest:
        for name, quiet in _UNSUPPORTED.items():
            if body.get(name) not in quiet:
                raise invalid(f"{name}: chat models answer here, which cannot do it; leave it out", name, "unsupported")
        rest = {name: value for name, value in body.items() if name not in ("prompt", "messages", *_UNSUPPORTED)}
        messages = [{"role": "user", "content": _prompt(body.get("prompt"))}]
        return parse_chat_request({**rest, "messages": messages}, headers, session_from_user)

    def render(self, context: CompletionContext, completion: JSON) -> JSON:
        return _rendered(completion, [_choice(choice, choice["message"]) for choice in completion["choices"]])

    def render_chunk(self, context: CompletionContext, chunk: JSON) -> bytes:
        choices = chunk.get("choices") or []
        if not choices and not (chunk.get("usage") and context.request.include_usage):
            return b""
        rendered = _rendered(chunk, [_choice(choice, choice["delta"]) for choice in choices])
        if chunk.get("usage") and (cost := context.late_cost) is not None:
            rendered["cost"] = cost
        return format_event(rendered)


def _prompt(given: object) -> str:
    """Return the one prompt; ApiError 400 for several, and for tokens, which differ between models."""
    prompts = given if isinstance(given, list) else [given]
    if len(prompts) != 1 or not isinstance(prompts[0], str):
        raise invalid("prompt must be one text: send several in requests of their own, and tokens as text", "prompt")
    return prompts[0]


def _rendered(answer: JSON, choices: list[JSON]) -> JSON:
    head = {name: answer[name] for name in _HEAD if answer.get(name) is not None}
    usage = {"usage": answer["usage"]} if answer.get("usage") else {}
    return {**head, "object": "text_completion", "choices": choices, **usage}


def _choice(choice: JSON, message: JSON) -> JSON:
    text = message.get("content") or message.get("refusal")
    return {
        "text": text if isinstance(text, str) else "",
        "index": choice.get("index", 0),
        "logprobs": None,
        "finish_reason": choice.get("finish_reason"),
    }


async def create_completion(request: Request) -> Response:
    """Answer by the best model within the budget."""
    return await handle_request(request, CompletionsAdapter())
