"""Anthropic's Messages API, for a client that speaks it itself: bodies, answers and events pass through."""

from collections.abc import Iterator
from typing import Any

from p2l.serving.router.chat_request import JSON, ChatRequest, Thoughts
from p2l.serving.router.config.server_config import ModelConfig
from p2l.serving.router.upstream.chat_answer import ChatStreamParser, check_completion
from p2l.serving.router.upstream.providers import anthropic_response
from p2l.serving.router.upstream.providers.anthropic_request import MAX_TOKENS, endpoint, headers
from p2l.serving.router.upstream.providers.claude_content import sent_id
from p2l.serving.router.upstream.providers.claude_limits import SAMPLING, fit_request
from p2l.serving.router.upstream.providers.openai_messages import first_set, merge_tools, without_none
from p2l.serving.router.upstream.thoughts import THINKING_BLOCKS, is_thinking_block
from p2l.serving.router.upstream.upstream_request import UpstreamRequest, UsageReport
from p2l.serving.router.upstream_error import malformed

NATIVE = "p2l_native"
"""Field of an answer that came in the client's own API: the whole message, or an event of a stream.

An event is a pair of its type and the bytes of its data. The rest of the answer is the same as a chat, for what the
router itself reads: usage, length, thoughts, its end.
"""

_FOREIGN_THOUGHTS = "messages.content.thinking"
_COUNTED = ("system", "tools", "tool_choice", "thinking", "output_config")  # of the configuration


def build_request(
    model: ModelConfig, body: JSON, stream: bool, want_usage: bool, thoughts: Thoughts | None = None
) -> UpstreamRequest:
    """Return the client's body with the model's name; the configuration fills in what the client left out."""
    extra = without_none(model.extra_fields or {})
    defaults: dict[str, Any] = {
        "system": model.system_prompt,
        "temperature": model.temp,
        "top_p": model.top_p,
        "top_k": model.top_k,
    }
    filled = {name: value for name, value in defaults.items() if value is not None and body.get(name) is None}
    limit = first_set(model.max_tokens, MAX_TOKENS)
    out = {"max_tokens": limit, **extra, **body, **filled, "model": model.name}
    if isinstance(extra.get("tools"), list) and body.get("tools"):
        out["tools"] = merge_tools(extra["tools"], body["tools"])
    if isinstance(extra.get("output_config"), dict) and body.get("output_config"):
        out["output_config"] = {**extra["output_config"], **body["output_config"]}
    out["messages"], gone = _readable(body["messages"], model.name, thoughts or {})
    if stream:
        out["stream"] = True
    else:
        out.pop("stream", None)
    dropped = [*gone, *fit_request(out, None)]
    own = headers(model)
    if not any(out.get(name) is not None for name in SAMPLING):
        del own["anthropic-version"]  # the client's; later ones than the translation's refuse sampling
    return UpstreamRequest(endpoint(model), own, out, tuple(sorted(set(dropped))))


def count_request(model: ModelConfig, request: ChatRequest) -> UpstreamRequest:
    """Return the request for the number of tokens of a prompt, as this model would get it."""
    sent = build_request(model, request.body, stream=False, want_usage=False, thoughts=request.thoughts)
    counted = {name: value for name, value in sent.body.items() if name in (*_COUNTED, *request.body)}
    url = endpoint(model, "/v1/messages/count_tokens")
    return UpstreamRequest(url, {**headers(model), **request.headers}, {"model": model.name, **counted})


def _readable(messages: list[JSON], model: str, thoughts: Thoughts) -> tuple[list[JSON], list[str]]:
    """Return the messages without thoughts of other models; and the name of these, if there were any.

    The ids of tools that other models called are written in the letters of this API.
    """
    readable = [_message(message, model, thoughts) for message in messages]
    num_blocks = sum(len(message["content"]) for message in messages if isinstance(message["content"], list))
    kept = sum(len(message["content"]) for message in readable if isinstance(message["content"], list))
    whole = [new for old, new in zip(messages, readable, strict=True) if new["content"] or not old["content"]]
    return whole, [_FOREIGN_THOUGHTS] if kept < num_blocks else []


def _message(message: JSON, model: str, thoughts: Thoughts) -> JSON:
    content = message["content"]
    if not isinstance(content, list):
        return message
    calls = (thoughts.get(str(block.get("id"))) for block in content if block["type"] == "tool_use")
    is_foreign = any(thought is not None and thought.model != model for thought in calls)
    kept = [b for b in content if b["type"] not in THINKING_BLOCKS or (is_thinking_block(b) and not is_foreign)]
    return {**message, "content": [_with_sent_id(block) for block in kept]}


def _with_sent_id(block: JSON) -> JSON:
    name = {"tool_use": "id", "tool_result": "tool_use_id"}.get(block["type"])
    return block if name is None else {**block, name: sent_id(block.get(name))}


def _finish(reason: object) -> str:
    """Return OpenAI's finish reason; a new stop reason is no failure, since the client gets it as it is."""
    is_new = isinstance(reason, str) and reason not in anthropic_response.FINISH_REASONS
    return "stop" if is_new else anthropic_response.finish_reason(reason)


def parse_completion(payload: JSON) -> JSON:
    """Return a message beside what the router reads of it."""
    return {**check_completion(anthropic_response.parse_completion(payload, _finish)), NATIVE: payload}


class StreamParser:
    """Yields each event beside what the router reads of it."""

    def __init__(self) -> None:
        self._chat = ChatStreamParser(anthropic_response.Translator(_finish))

    @property
    def ended(self) -> bool:
        return self._chat.ended

    def parse(self, event: JSON, raw: bytes) -> Iterator[JSON]:
        kind = event.get("type")
        if not isinstance(kind, str) or not kind.isprintable():
            raise malformed("an event without a type")
        *before, last = [*self._chat.parse(event, raw)] or [{"choices": []}]
        yield from before
        yield {**last, NATIVE: (kind, raw)}

    def take_usage(self) -> UsageReport | None:
        return self._chat.take_usage()

    def finish(self, saw_done: bool, num_choices: int) -> Iterator[JSON]:
        yield from self._chat.finish(saw_done, num_choices)
