"""Answers of the Responses API as OpenAI sends them."""

from typing import Any

from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import Reply, Running, model

USAGE = {
    "input_tokens": 9,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 3,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 12,
}


def message(text: str) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]
    return {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": content}


def response(*output: dict[str, Any], **rest: Any) -> dict[str, Any]:
    """A response as OpenAI sends it, with a field that nobody has heard of."""
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1700000000.0,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": "wire-name-2025",
        "output": list(output) or [message("Hello!")],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": USAGE,
        "unheard_of": {"x": 1},
        **rest,
    }


def events(*texts: str, end: str = "response.completed") -> list[dict[str, Any]]:
    """The events of a streamed answer."""
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    open_ = response(status="in_progress", usage=None) | {"output": []}
    found = [
        {"type": "response.created", "response": open_},
        {"type": "response.output_item.added", "output_index": 0, "item": message("") | {"content": []}},
        {"type": "response.content_part.added", **place, "part": message("")["content"][0]},
        *({"type": "response.output_text.delta", **place, "delta": text, "logprobs": []} for text in texts),
        {"type": end, "response": response(message("".join(texts)))},
    ]
    return [{**event, "sequence_number": number} for number, event in enumerate(found)]


ABLE: dict[str, Any] = {"capabilities": {"responses": True}}


def answering(text: str = "Hello!", **rest: Any) -> Any:
    return lambda seen: Reply(body=response(message(text), **rest))


def two(start: Starter, rest: dict[str, Any] | None = None, **options: Any) -> tuple[Running, Any, Any]:
    """A router over a better and a worse model that both declare the API; their upstreams."""
    fakes = {name: start.upstream(answering(id=f"resp_{name}")) for name in ("better", "worse")}
    models = {name: model(f"{fake.url}/v1", 3.0 - i, **ABLE) for i, (name, fake) in enumerate(fakes.items())}
    return start.router(models, rest, **options), *fakes.values()
