"""The vendors' APIs as strict fakes: a request that the vendor would refuse gets the vendor's 400."""

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from tests.serving.router.fakes import Reply, Seen, stream
from tests.serving.router.fakes_responses import response

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABh6FO1AAAAABJRU5ErkJggg=="
CITIES = ("Rome", "Oslo")
PROMPT_TOKENS, COMPLETION_TOKENS = 11, 7
CLAUDE, GEMINI = "claude-sonnet-4-5", "gemini-3-pro"

_numbers = itertools.count()


@dataclass(frozen=True)
class Said:
    """What the model says: text, or the call of a function after a signed thought."""

    text: str = ""
    function: str | None = None
    arguments: str = "{}"
    number: int = 0

    @property
    def signature(self) -> str:
        return f"c2lnbmVk{self.number:06d}"


def decide(
    *, tools: list[str], forced: str | None, results: int, structured: bool, image: bool, forgot: bool = False
) -> Said:
    """Return the answer of every faked model to a request, whatever its form; a wrong one if it forgot its thoughts."""
    number = next(_numbers)
    if structured:
        return Said('{"answer":42}', number=number)
    if forced is not None or (len(tools) == 1 and tools[0] != "weather"):
        return Said(function=forced or tools[0], arguments=f'{{"answer":{42 + image}}}', number=number)
    if tools and results < len(CITIES):
        return Said(function="weather", arguments=f'{{"city":"{CITIES[results]}"}}', number=number)
    if tools and forgot:
        return Said("My thoughts are lost", number=number)
    return Said("Rome 20, Oslo 5" if tools else "A cat" if image else "Hello there", number=number)


def refuse(message: str) -> Reply:
    return Reply(400, {"error": {"type": "invalid_request_error", "message": message}})


def pieces(text: str) -> list[str]:
    """Return the text in pieces, as a stream has it."""
    return re.findall(r"..?.?", text, re.DOTALL)


def openai(seen: Seen, reasoning: bool = False) -> Reply:
    """OpenAI's API; ``reasoning`` models refuse sampling and the old name of the limit."""
    if seen.path.endswith("/responses"):
        return openai_responses(seen)
    body = seen.body
    for name in ("temperature", "top_p", "max_tokens") if reasoning else ():
        if name in body:
            return refuse(f"Unsupported parameter: '{name}' is not supported with this model.")
    choice = body.get("tool_choice")
    said = decide(
        tools=[tool["function"]["name"] for tool in body.get("tools") or ()],
        forced=choice["function"]["name"] if isinstance(choice, dict) else None,
        results=sum(message["role"] == "tool" for message in body["messages"]),
        structured=(body.get("response_format") or {}).get("type") == "json_schema",
        image=f"data:image/png;base64,{PNG}" in str(body["messages"]),
    )
    head = {"id": "chatcmpl-1", "created": 1700000000, "model": "wire"}
    usage = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": COMPLETION_TOKENS, "total_tokens": 18}
    finish = "tool_calls" if said.function else "stop"
    function = {"name": said.function, "arguments": said.arguments}
    call = {"id": f"call_{said.number}", "type": "function", "function": function}
    if not body.get("stream"):
        message = {"role": "assistant", "content": said.text or None, "refusal": None}
        message |= {"tool_calls": [call]} if said.function else {}
        one = {"message": message, "logprobs": None, "finish_reason": finish}
        choices = [{"index": index, **one} for index in range(body.get("n") or 1)]
        return Reply(body={**head, "object": "chat.completion", "choices": choices, "usage": usage})
    deltas: list[Any] = [{"role": "assistant", "content": ""}, *({"content": piece} for piece in pieces(said.text))]
    if said.function:
        deltas.append({"tool_calls": [{"index": 0, **call, "function": {**function, "arguments": ""}}]})
        deltas += [{"tool_calls": [{"index": 0, "function": {"arguments": piece}}]} for piece in pieces(said.arguments)]
    chunks = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    chunks.append({"index": 0, "delta": {}, "finish_reason": finish})
    events: list[Any] = [{**head, "object": "chat.completion.chunk", "choices": [chunk]} for chunk in chunks]
    if (body.get("stream_options") or {}).get("include_usage"):
        events.append({**head, "object": "chat.completion.chunk", "choices": [], "usage": usage})
    return stream(*events)


def openai_responses(seen: Seen) -> Reply:
    body = seen.body
    items = body["input"] if isinstance(body["input"], list) else []
    said = decide(
        tools=[tool["name"] for tool in body.get("tools") or ()],
        forced=None,
        results=sum(item.get("type") == "function_call_output" for item in items),
        structured=((body.get("text") or {}).get("format") or {}).get("type") == "json_schema",
        image=PNG in str(items),
    )
    calls = [item["call_id"] for item in items if item.get("type") == "function_call"]
    thoughts = [item for item in items if item.get("type") == "reasoning" and item.get("encrypted_content")]
    if len(thoughts) < len(calls):
        return refuse("Item of type 'function_call' was provided without its required 'reasoning' item")
    reasoning = {"type": "reasoning", "id": f"rs_{said.number}", "summary": [], "encrypted_content": said.signature}
    if said.function:
        call = {"type": "function_call", "id": f"fc_{said.number}", "call_id": f"call_{said.number}"}
        output: list[Any] = [
            reasoning,
            {**call, "name": said.function, "arguments": said.arguments, "status": "completed"},
        ]
    else:
        content = [{"type": "output_text", "text": said.text, "annotations": [], "logprobs": []}]
        output = [{"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": content}]
    usage = {"input_tokens": PROMPT_TOKENS, "output_tokens": COMPLETION_TOKENS, "total_tokens": 18}
    details = {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
    whole = response(*output, usage={**usage, **details})
    if not body.get("stream"):
        return Reply(body=whole)
    events: list[Any] = [
        {"type": "response.created", "response": {**whole, "status": "in_progress", "output": [], "usage": None}},
        *(event for index, item in enumerate(output) for event in _item_events(item, index, said)),
        {"type": "response.completed", "response": whole},
    ]
    return stream(
        *({**event, "sequence_number": number} for number, event in enumerate(events)), done=False, named=True
    )


def _item_events(item: Any, index: int, said: Said) -> list[Any]:
    place = {"item_id": item["id"], "output_index": index}
    inner: list[Any] = []
    shown = item
    if item["type"] == "function_call":
        shown = {**item, "arguments": ""}
        delta = {"type": "response.function_call_arguments.delta", **place}
        inner = [{**delta, "delta": piece} for piece in pieces(said.arguments)]
    elif item["type"] == "message":
        shown, place = {**item, "content": []}, {**place, "content_index": 0}
        part = {"type": "output_text", "text": "", "annotations": []}
        delta = {"type": "response.output_text.delta", **place, "logprobs": []}
        inner = [{"type": "response.content_part.added", **place, "part": part}]
        inner += [{**delta, "delta": piece} for piece in pieces(said.text)]
    added = {"type": "response.output_item.added", "output_index": index, "item": shown}
    return [added, *inner, {"type": "response.output_item.done", "output_index": index, "item": item}]


def anthropic(seen: Seen) -> Reply:
    """Anthropic's Messages API with a thinking budget, which wants the thoughts of a turn under way back."""
    body = seen.body
    thinks = (body.get("thinking") or {}).get("type") == "enabled"
    choice = body.get("tool_choice") or {}
    if "anthropic-version" not in seen.headers or "max_tokens" not in body:
        return refuse("max_tokens: Field required")
    if {"temperature", "top_p"} <= body.keys():
        return refuse("`temperature` and `top_p` cannot both be specified for this model. Please use only one.")
    if thinks and (error := _thinking_error(body, choice)):
        return refuse(error)
    blocks = [block for message in body["messages"] for block in _blocks(message)]
    said = decide(
        tools=[tool["name"] for tool in body.get("tools") or ()],
        forced=choice.get("name"),
        results=sum(block["type"] == "tool_result" for block in blocks),
        structured="format" in body.get("output_config", {}),
        image=any(block["type"] == "image" and block["source"].get("data") == PNG for block in blocks),
        forgot=sum(block["type"] == "thinking" for block in blocks) < len(CITIES),
    )
    thought = {"type": "thinking", "thinking": "Let me see.", "signature": said.signature}
    input_ = orjson.loads(said.arguments)
    last = (
        {"type": "tool_use", "id": f"toolu_{said.number}", "name": said.function, "input": input_}
        if said.function
        else {"type": "text", "text": said.text}
    )
    content = [thought, last] if thinks else [last]
    stop = "tool_use" if said.function else "end_turn"
    usage = {"input_tokens": PROMPT_TOKENS, "output_tokens": COMPLETION_TOKENS}
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": body["model"], "usage": usage}
    if not body.get("stream"):
        return Reply(body={**head, "content": content, "stop_reason": stop, "stop_sequence": None})
    events: list[Any] = [{"type": "message_start", "message": {**head, "content": [], "stop_reason": None}}]
    for index, block in enumerate(content):
        events += [{"index": index, **event} for event in _block_events(block, said)]
    end = {"delta": {"stop_reason": stop, "stop_sequence": None}, "usage": {"output_tokens": COMPLETION_TOKENS}}
    return stream(*events, {"type": "message_delta", **end}, {"type": "message_stop"}, done=False, named=True)


def _thinking_error(body: Any, choice: Any) -> str | None:
    if body["thinking"]["budget_tokens"] >= body["max_tokens"]:
        return "`max_tokens` must be greater than `thinking.budget_tokens`"
    if body.get("temperature", 1) != 1:
        return "`temperature` may only be set to 1 when thinking is enabled"
    if choice.get("type") in ("any", "tool"):
        return "Thinking may not be enabled when tool_choice forces tool use."
    for message in body["messages"]:
        kinds = [block["type"] for block in _blocks(message)]
        if "tool_use" in kinds and kinds[0] != "thinking":
            return "Expected `thinking` or `redacted_thinking`, but found `tool_use`"
        signatures = [block.get("signature", "") for block in _blocks(message) if block["type"] == "thinking"]
        if not all(signature.startswith("c2lnbmVk") for signature in signatures):
            return "Invalid `signature` in `thinking` block"
    return None


def _blocks(message: Any) -> list[dict[str, Any]]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _block_events(block: dict[str, Any], said: Said) -> list[Any]:
    if block["type"] == "thinking":
        start: Any = {"type": "thinking", "thinking": "", "signature": ""}
        deltas: list[Any] = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"])]
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
    elif block["type"] == "text":
        start, deltas = {"type": "text", "text": ""}, [{"type": "text_delta", "text": p} for p in pieces(block["text"])]
    else:
        start = {**block, "input": {}}
        deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces(said.arguments)]
    return [
        {"type": "content_block_start", "content_block": start},
        *({"type": "content_block_delta", "delta": delta} for delta in deltas),
        {"type": "content_block_stop"},
    ]


def gemini(seen: Seen) -> Reply:
    """Gemini 3, which wants the thought signature of each step's first function call back."""
    body = seen.body
    parts = [part for content in body["contents"] for part in content["parts"]]
    for content in body["contents"]:
        calls = [part for part in content["parts"] if "functionCall" in part]
        if calls and not str(calls[0].get("thoughtSignature", "")).startswith(("c2lnbmVk", "skip_thought")):
            return refuse("Function call `weather` in the `1.` content block is missing a `thought_signature`.")
    calling = (body.get("toolConfig") or {}).get("functionCallingConfig") or {}
    generation = body["generationConfig"]
    said = decide(
        tools=[f["name"] for tool in body.get("tools") or () for f in tool["functionDeclarations"]],
        forced=next(iter(calling.get("allowedFunctionNames") or ()), None),
        results=sum("functionResponse" in part for part in parts),
        structured="responseJsonSchema" in generation,
        image=any((part.get("inlineData") or {}).get("data") == PNG for part in parts),
        forgot=any(str(part.get("thoughtSignature", "")).startswith("skip_thought") for part in parts),
    )
    call = {"functionCall": {"name": said.function, "args": orjson.loads(said.arguments)}}
    usage = {"promptTokenCount": PROMPT_TOKENS, "candidatesTokenCount": COMPLETION_TOKENS, "totalTokenCount": 18}
    head = {"modelVersion": GEMINI, "responseId": "r1", "usageMetadata": usage}
    one = [{**call, "thoughtSignature": said.signature}] if said.function else [{"text": said.text}]
    if "stream" not in seen.path:
        count = range(generation.get("candidateCount", 1))
        whole = [{"content": {"role": "model", "parts": one}, "finishReason": "STOP", "index": i} for i in count]
        return Reply(body={**head, "candidates": whole})
    shown: list[Any] = one if said.function else [{"text": piece} for piece in pieces(said.text)]
    events: list[Any] = [{"content": {"role": "model", "parts": [part]}, "index": 0} for part in shown]
    events[-1]["finishReason"] = "STOP"
    return stream(*({**head, "candidates": [event]} for event in events), done=False)


@dataclass(frozen=True)
class Vendor:
    """One provider type: its fake, and the keys of its model's configuration."""

    answer: Callable[[Seen], Reply]
    keys: dict[str, Any]


_DECLARED = {"capabilities": {"responses": True}}
VENDORS = {
    "openai": Vendor(openai, {"name": "gpt-4o", **_DECLARED}),
    "openai-reasoning": Vendor(lambda seen: openai(seen, reasoning=True), {"name": "o3", **_DECLARED}),
    "openai-o1": Vendor(lambda seen: openai(seen, reasoning=True), {"name": "o1"}),
    "anthropic": Vendor(
        anthropic,
        {
            "name": CLAUDE,
            "extra_fields": {"thinking": {"type": "enabled", "budget_tokens": 1024}},
            "temp": 0.7,
            "top_p": 0.7,
        },
    ),
    "gemini": Vendor(gemini, {"name": GEMINI, "temp": 0.7}),
    "litellm": Vendor(openai, {"name": "openai/gpt-4o"}),
}
