"""``/v1/responses``: OpenAI's Responses API, passed through to models that declare it.

The answer, and what it says of itself, is the provider's own; the decision is told in headers. State that a provider
keeps belongs to one model: a ``previous_response_id`` leads to the model that made it, for the key that asked for it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from urllib.parse import quote, urlencode

import orjson
from starlette.requests import Request
from starlette.responses import Response

from p2l.serving.http.api_error import ApiError, invalid
from p2l.serving.http.request_response import header_text, json_response
from p2l.serving.router.api.chat_request import ChatRequest, parse_chat_request, reject_forbidden_fields
from p2l.serving.router.api.routes import enter, refusal
from p2l.serving.router.completion import ApiAdapter, CompletionContext, answer
from p2l.serving.router.container import RouterContainer
from p2l.serving.router.upstream.fallback_client import UpstreamResult
from p2l.serving.router.upstream.providers import openai_chat
from p2l.serving.router.upstream.upstream_errors import UpstreamError
from p2l.serving.router.upstream.upstream_request import JSON

KEPT = 30 * 86400.0  # seconds, as long as OpenAI keeps responses

# parts of the input, as chat calls them
_PARTS = {"input_text": "text", "input_image": "image_url", "input_file": "file", "output_text": "text"}
_ELSEWHERE = {
    "conversation": "conversations are made at one provider, past this router; use previous_response_id",
    "prompt": "stored prompts belong to one provider; send instructions and input",
    "background": "what a response in the background will cost could not be billed; leave it out",
}


async def responses(request: Request) -> Response:
    """Answer by the best model that declares the Responses API."""
    container: RouterContainer = request.app.state.container
    if not any(model.capabilities.responses for model in container.snapshot.config.model_configs.values()):
        container.snapshot.keys.authenticate_bearer(request.headers)
        told = "no model of this router declares the Responses API; use /v1/chat/completions"
        raise ApiError(501, told, "not_implemented")
    return await answer(request, RESPONSES)


async def kept_response(request: Request) -> Response:
    """Fetch or delete a response, or list its input items, at the provider of the model that made it for this key."""
    container, key = enter(request)
    config = container.snapshot.config
    if request.path_params.get("part", "input_items") != "input_items":
        raise ApiError(404, "of a response this router has its input_items", "not_found")
    if request.query_params.get("stream", "false").lower() not in ("false", "0", ""):
        raise invalid("stream: a kept response is sent whole; leave it out", "stream", "unsupported")
    name = container.responses.model(key.name, request.path_params["id"])
    model = config.model_configs.get(name) if name is not None else None
    if name is None or model is None or not model.capabilities.responses or not key.may_use(name):
        raise _no_response("this router knows of no such response for this key")
    part = f"/{request.path_params['part']}" if "part" in request.path_params else ""
    query = f"?{urlencode(request.query_params.multi_items())}" if request.query_params else ""
    url = f"{openai_chat.base_url(model)}/responses/{quote(request.path_params['id'], safe='')}{part}{query}"
    try:
        answer = await container.upstream_client.fetch(
            request.method, url, openai_chat.headers(model), config.calls.total_timeout, config.secrets
        )
    except UpstreamError as error:
        if error.reason == "http_404":
            raise _no_response("the model's provider keeps no such response any more") from None
        raise refusal(error) from None
    return json_response(answer, headers={"x-p2l-model": header_text(name)})


def _no_response(message: str) -> ApiError:
    return ApiError(404, message, "response_not_found")


def parse_response_request(body: JSON, headers: Mapping[str, str], session_from_user: bool = False) -> ChatRequest:
    """The request of a parsed body; ``ApiError`` 400 for what is wrong, or asks for state that one provider has."""
    reject_forbidden_fields(body)
    for name, reason in _ELSEWHERE.items():
        if body.get(name):
            raise invalid(f"{name}: {reason}", name, "unsupported")
    previous = body.get("previous_response_id")
    if previous is not None and (not isinstance(previous, str) or not 0 < len(previous) <= 256):
        raise invalid("previous_response_id must be text of at most 256 characters", "previous_response_id")
    items = _items(body.get("input"))
    if previous is None and any(item.get("type") == "item_reference" for item in items):
        raise invalid("input: an item_reference needs previous_response_id, which names its provider", "input")
    ask = parse_chat_request(_view(body, items), headers, session_from_user)
    kept = {name: value for name, value in body.items() if name not in ("cost", "direct_model")}
    return replace(ask, api="responses", body=kept, previous=previous)


def _items(given: object) -> list[JSON]:
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    if not isinstance(given, list) or not given:
        raise invalid("input must be text or a list of items", "input")
    for index, item in enumerate(given):
        if not isinstance(item, dict) or (_is_message(item) and not _is_sound(item)):
            told = "an item with a type, or a message with a role and content: text or parts with a type"
            raise invalid(f"input[{index}] must be {told}", f"input[{index}]")
    return given


def _is_message(item: JSON) -> bool:
    return item.get("type") in (None, "message")


def _is_sound(message: JSON) -> bool:
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    typed = all(isinstance(part, dict) and isinstance(part.get("type"), str) for part in parts)
    return isinstance(message.get("role"), str) and isinstance(content, (str, list)) and typed


def _view(body: JSON, items: list[JSON]) -> JSON:
    """The request as a chat, for what the router reads of it: text, needs, lengths."""
    named = ("model", "user", "cost", "direct_model", "stream", "tools", "top_logprobs")
    view = {name: body[name] for name in named if body.get(name) is not None}
    text = body.get("text")
    if isinstance(text, dict) and isinstance(text.get("format"), dict):
        view["response_format"] = text["format"]
    if "message.output_text.logprobs" in _texts(body.get("include")):
        view["logprobs"] = True
    if body.get("max_output_tokens") is not None:
        view["max_completion_tokens"] = body["max_output_tokens"]
    view["messages"] = [*_instructions(body), *map(_message, items)]
    return view


def _instructions(body: JSON) -> Iterator[JSON]:
    instructions = body.get("instructions")
    if isinstance(instructions, str):
        yield {"role": "developer", "content": instructions}


def _message(item: JSON) -> JSON:
    """A message; items of another kind (calls, results, reasoning) are seen as a tool's."""
    if not _is_message(item):
        output = item.get("output")
        return {"role": "tool", "content": output if isinstance(output, str) else None}
    content = item.get("content")
    if isinstance(content, list):
        content = [_part(part) for part in content]
    return {"role": item["role"], "content": content}


def _part(part: JSON) -> JSON:
    return {**part, "type": _PARTS.get(part["type"], part["type"])}


def _texts(given: object) -> list[str]:
    return [one for one in given if isinstance(one, str)] if isinstance(given, list) else []


def _told(turn: CompletionContext, served: UpstreamResult, response: JSON) -> JSON:
    _keep(turn, served, response)
    return response


def _event(turn: CompletionContext, served: UpstreamResult, chunk: JSON) -> bytes:
    if chunk["type"] in ("response.created", "response.completed"):
        _keep(turn, served, chunk["response"])
    return b"event: " + chunk["type"].encode() + b"\ndata: " + chunk["data"].replace(b"\n", b"\ndata: ") + b"\n\n"


def _keep(turn: CompletionContext, served: UpstreamResult, response: JSON) -> None:
    """Remember which model's provider keeps this response."""
    if isinstance(response.get("id"), str) and turn.ask.body.get("store") is not False:
        turn.container.responses.keep(turn.key.name, response["id"], served.model, KEPT)


def _failed(error: ApiError, last: JSON) -> bytes:
    told: JSON = {"type": "error", "code": error.code, "message": error.message, "param": None}
    if isinstance(last["number"], int):
        told["sequence_number"] = last["number"] + 1
    return b"event: error\ndata: " + orjson.dumps(told) + b"\n\n"


def _usage(chunk: JSON) -> JSON | None:
    usage = chunk.get("usage") or (chunk.get("response") or {}).get("usage")
    if not isinstance(usage, dict):
        return None
    return {"prompt_tokens": usage.get("input_tokens"), "completion_tokens": usage.get("output_tokens")}


RESPONSES = ApiAdapter("responses", parse_response_request, _told, _event, _failed, b"", _usage)
