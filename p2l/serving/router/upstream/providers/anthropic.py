"""Anthropic's Messages API (https://docs.anthropic.com/en/api/messages), version 2023-06-01."""

import time
from collections.abc import Callable, Iterator

import orjson

from p2l.serving.http.api_error import invalid
from p2l.serving.router.chat_request import JSON
from p2l.serving.router.config.server_config import ModelConfig
from p2l.serving.router.token_estimates import max_output_tokens
from p2l.serving.router.upstream.providers.openai_messages import (
    alternating,
    arguments_of,
    chosen_function,
    chunk,
    data_of,
    dropped,
    file_data,
    first_set,
    functions_of,
    part_url,
    parts_of,
    split_system,
    stops_of,
    text_of,
    without_none,
)
from p2l.serving.router.upstream.upstream_request import UpstreamRequest
from p2l.serving.router.upstream_error import UpstreamError, malformed

BASE_URL = "https://api.anthropic.com"
VERSION = "2023-06-01"
MAX_TOKENS = 4096  # the API requires a limit; every model since Claude 3 allows this one

_KNOWN = ("temperature", "top_p", "top_k", "max_tokens", "max_completion_tokens", "stop", "tools", "tool_choice")
_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


def build_request(model: ModelConfig, body: JSON, stream: bool, want_usage: bool) -> UpstreamRequest:
    """Translate a chat request. Streams of this API always end with their usage."""
    system, messages = split_system(body["messages"], model.system_prompt)
    temperature = first_set(body.get("temperature"), model.temp)
    user = body.get("user")
    out = without_none(
        {
            **(model.extra_fields or {}),
            "model": model.name,
            "messages": _messages(messages),
            "system": system,
            "max_tokens": first_set(max_output_tokens(body), model.max_tokens, MAX_TOKENS),
            "temperature": min(temperature, 1) if isinstance(temperature, (int, float)) else None,  # at most 1 here
            "top_p": first_set(body.get("top_p"), model.top_p),
            "top_k": first_set(body.get("top_k"), model.top_k),
            "stop_sequences": stops_of(body) or None,
            "metadata": {"user_id": user} if user else None,
            "stream": True if stream else None,
            **_tools(body),
        }
    )
    base = (model.base_url or BASE_URL).rstrip("/").removesuffix("/v1")
    headers = {"anthropic-version": VERSION, **({"x-api-key": model.key} if model.key else {})}
    known = (*_KNOWN, "parallel_tool_calls") if out.get("tools") else _KNOWN
    return UpstreamRequest(f"{base}/v1/messages", headers, out, dropped(body, known))


def _messages(messages: list[JSON]) -> list[JSON]:
    """Translate to messages of alternating roles; tool results belong to the user's message."""
    roles = ("assistant" if message["role"] == "assistant" else "user" for message in messages)
    return alternating(zip(roles, map(_blocks, messages)), "content")


def _blocks(message: JSON) -> list[JSON]:
    if message["role"] == "tool":
        content = text_of(message) if isinstance(message.get("content"), str) else _parts(message)
        return [without_none({"type": "tool_result", "tool_use_id": message.get("tool_call_id"), "content": content})]
    blocks = _parts(message)
    for call in message.get("tool_calls") or ():
        name, arguments = arguments_of(call)
        blocks.append({"type": "tool_use", "id": call.get("id"), "name": name, "input": arguments})
    return blocks


def _parts(message: JSON) -> list[JSON]:
    return [_block(part) for part in parts_of(message)]


def _block(part: JSON) -> JSON:
    cache = {"cache_control": part["cache_control"]} if "cache_control" in part else {}
    if part["type"] in ("text", "refusal"):
        return {"type": "text", "text": part.get("text") or part.get("refusal") or "", **cache}
    if part["type"] == "image_url":
        url = part_url(part)
        data = data_of(url)
        source = {"type": "url", "url": url} if data is None else _base64(*data)
        return {"type": "image", "source": source, **cache}
    if part["type"] == "file":
        return {"type": "document", "source": _base64(*file_data(part)), **cache}
    raise invalid(f"this model takes no part of type {part['type'][:64]!r}", "messages")


def _base64(mime: str, data: str) -> JSON:
    return {"type": "base64", "media_type": mime, "data": data}


def _tools(body: JSON) -> JSON:
    functions = functions_of(body)
    if not functions:
        return {}
    tools = [
        without_none(
            {
                "name": function["name"],
                "description": function.get("description"),
                "input_schema": function.get("parameters") or {"type": "object", "properties": {}},
            }
        )
        for function in functions
    ]
    return {"tools": tools, "tool_choice": _tool_choice(body)}


def _tool_choice(body: JSON) -> JSON | None:
    wanted = body.get("tool_choice")
    name = chosen_function(wanted)
    if name is not None:
        choice: JSON = {"type": "tool", "name": name}
    else:
        choice = {"type": {"required": "any", "none": "none"}.get(str(wanted), "auto")}
    if body.get("parallel_tool_calls") is False and choice["type"] != "none":
        choice["disable_parallel_tool_use"] = True
    return choice if wanted is not None or len(choice) > 1 else None


def parse_completion(payload: JSON) -> JSON:
    """Translate a message to a chat completion."""
    blocks = payload.get("content")
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        raise malformed("an answer without content")
    texts = [block["text"] for block in blocks if isinstance(block.get("text"), str)]
    thoughts = [block["thinking"] for block in blocks if isinstance(block.get("thinking"), str)]
    calls = [_tool_call(block) for block in blocks if block.get("type") == "tool_use"]
    message: JSON = {"role": "assistant", "content": "".join(texts) if texts or not calls else None, "refusal": None}
    if calls:
        message["tool_calls"] = calls
    if thoughts:
        message["reasoning_content"] = "".join(thoughts)
    finish = _FINISH.get(str(payload.get("stop_reason")), "stop")
    return {
        "id": payload.get("id"),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": payload.get("model"),
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
        "usage": _usage(payload.get("usage") or {}),
    }


def _tool_call(block: JSON) -> JSON:
    arguments = orjson.dumps(block.get("input") or {}).decode()
    return {"id": block.get("id"), "type": "function", "function": {"name": block.get("name"), "arguments": arguments}}


def _usage(usage: JSON) -> JSON:
    """Translate usage; tokens read from or written to the cache are part of the prompt."""
    cached = usage.get("cache_read_input_tokens") or 0
    prompt = (usage.get("input_tokens") or 0) + cached + (usage.get("cache_creation_input_tokens") or 0)
    completion = usage.get("output_tokens") or 0
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
    }


class StreamParser:
    """Translates the events of a stream, from message_start to message_stop, to chunks."""

    def __init__(self) -> None:
        self.finished = False
        self.ended = False
        self._head: JSON = {}
        self._usage: JSON = {}
        self._num_calls = 0

    def parse(self, data: bytes) -> Iterator[JSON]:
        try:
            event = orjson.loads(data)
            handle = self._handlers().get(event["type"])
            if handle is not None:
                yield from handle(event)
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            raise malformed("an event that is not in its form") from None

    def _handlers(self) -> dict[str, Callable[[JSON], Iterator[JSON]]]:
        return {
            "message_start": self._start,
            "content_block_start": self._block_start,
            "content_block_delta": self._delta,
            "message_delta": self._end,
            "message_stop": self._stop,
            "error": self._error,
        }

    def _start(self, event: JSON) -> Iterator[JSON]:
        message = event["message"]
        self._usage = dict(message.get("usage") or {})
        self._head = {
            "id": message["id"],
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": message["model"],
        }
        yield chunk(self._head, {"role": "assistant", "content": ""})

    def _block_start(self, event: JSON) -> Iterator[JSON]:
        block = event["content_block"]
        if block["type"] == "tool_use":
            function = {"name": block["name"], "arguments": ""}
            call = {"index": self._num_calls, "id": block["id"], "type": "function", "function": function}
            self._num_calls += 1
            yield chunk(self._head, {"tool_calls": [call]})

    def _delta(self, event: JSON) -> Iterator[JSON]:
        delta = event["delta"]
        if delta["type"] == "text_delta":
            yield chunk(self._head, {"content": delta["text"]})
        elif delta["type"] == "thinking_delta":
            yield chunk(self._head, {"reasoning_content": delta["thinking"]})
        elif delta["type"] == "input_json_delta" and delta["partial_json"]:
            call = {"index": self._num_calls - 1, "function": {"arguments": delta["partial_json"]}}
            yield chunk(self._head, {"tool_calls": [call]})

    def _end(self, event: JSON) -> Iterator[JSON]:
        self._usage |= {k: v for k, v in (event.get("usage") or {}).items() if v is not None}
        reason = event["delta"].get("stop_reason")
        if reason is not None:
            yield chunk(self._head, {}, finish_reason=_FINISH.get(reason, "stop"))

    def _stop(self, event: JSON) -> Iterator[JSON]:
        self.finished = self.ended = True
        yield {**self._head, "choices": [], "usage": _usage(self._usage)}

    def _error(self, event: JSON) -> Iterator[JSON]:
        kind = str((event.get("error") or {}).get("type"))
        raise UpstreamError(
            "stream_error",
            "the model reported an error in its stream" + (": it is overloaded" if kind == "overloaded_error" else ""),
        )
