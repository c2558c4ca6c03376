"""Streams of each provider, drawn from its grammar together with what a client must get of them."""

import json
from dataclasses import dataclass, field
from itertools import chain, pairwise
from typing import Any

from hypothesis import strategies as st

JSON = dict[str, Any]


@dataclass
class Choice:
    """What one choice holds, as a client puts it together."""

    text: str = ""
    reasoning: str = ""
    calls: list[tuple[str, str, Any]] = field(default_factory=list)  # id, name, arguments
    carried: list[Any] = field(default_factory=list)  # what OpenAI's format has no field for
    finish: str | None = None


@dataclass
class Answer:
    choices: dict[int, Choice]
    usage: tuple[int, int] | None


@dataclass
class Sent:
    """An answer as a provider sends it.

    Attributes:
        events: of its stream: (name, data).
        whole: the same answer in one piece.
        answer: what a client must get.
        fails: the model gave up, so that there is an error instead.
        reordered: the events may be in an order that can only be an error.
    """

    events: list[tuple[str, bytes]]
    whole: JSON
    answer: Answer
    fails: bool = False
    reordered: bool = False


# characters of one to four bytes, those that split lines in Python and not in event streams, and JSON's own
TEXTS = st.text(st.sampled_from('ab \n\r\t"\\{}é€😀\u2028\x85\x00'), max_size=12)
NAMES = st.sampled_from(["now", "weather", "f"])
ARGUMENTS = st.dictionaries(st.sampled_from(["a", "b", "ü"]), st.one_of(st.integers(), TEXTS, st.none()), max_size=2)
COUNTS = st.integers(0, 10_000)
OPAQUE = st.dictionaries(
    st.sampled_from(["x", "data", "code"]), st.one_of(TEXTS, st.integers()), min_size=1, max_size=2
)
NOISE = st.lists(
    st.sampled_from([b": comment", b"data:", b"data: null", b"id: 7", b"retry: 10", b"data: {}"]), max_size=2
)


@st.composite
def pieces(draw: st.DrawFn, text: str) -> list[str]:
    """A text cut into pieces, some of them empty; sometimes in the middle of a surrogate pair."""
    if draw(st.booleans()):
        units = text.encode("utf-16-be")
        text = "".join(chr(high << 8 | low) for high, low in zip(units[::2], units[1::2]))
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=4)))
    bounds = [0, *cuts, len(text)]
    return [text[start:end] for start, end in pairwise(bounds)]


@st.composite
def dumped(draw: st.DrawFn, event: Any) -> bytes:
    """An event as JSON, as one serialiser or another writes it."""
    indent = draw(st.sampled_from([None, None, 1]))
    try:
        return json.dumps(event, ensure_ascii=draw(st.booleans()), indent=indent).encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return json.dumps(event, indent=indent).encode()


@st.composite
def interleaved(draw: st.DrawFn, queues: list[list[Any]]) -> list[Any]:
    """The items of several lists in one, each list in its order."""
    queues, items = [list(queue) for queue in queues if queue], []
    while queues:
        queue = queues[draw(st.integers(0, len(queues) - 1))]
        items.append(queue.pop(0))
        queues = [left for left in queues if left]
    return items


def plain_wire(sent: "Sent") -> list[bytes]:
    """Each event of a stream as its provider writes it, without a name."""
    return [b"".join(b"data: " + line + b"\n" for line in data.split(b"\n")) + b"\n" for _, data in sent.events]


@st.composite
def wire(draw: st.DrawFn, events: list[tuple[str, bytes]]) -> bytes:
    """Events as an event stream, with any line end, heartbeats, and a byte order mark or none."""
    end = draw(st.sampled_from([b"\n", b"\r\n", b"\r"]))
    lines = [b"\xef\xbb\xbf"] if draw(st.booleans()) else []
    space = draw(st.sampled_from([b"", b" "]))
    for name, data in events:
        lines += [noise + end + end for noise in draw(NOISE)]
        lines += [b"event: " + name.encode() + end] if name else []
        lines += [b"data:" + space + line + end for line in data.split(b"\n")]
        lines += [end]
    return b"".join(lines)


# OpenAI's chat completions


@st.composite
def openai_streams(draw: st.DrawFn) -> Sent:
    num_choices = draw(st.integers(1, 2))
    drawn = [draw(openai_choices(index)) for index in range(num_choices)]
    chunks = draw(interleaved([events for events, _ in drawn]))
    usage = draw(st.none() | st.tuples(COUNTS, COUNTS))
    if usage is not None:
        counts = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
        chunks.append({**HEAD, "choices": draw(st.sampled_from([[], None])), "usage": counts})
    if draw(st.booleans()):  # Azure's annotations, before the answer and after it
        chunks = [{"choices": [], "prompt_filter_results": []}, *chunks]
        chunks.append({**HEAD, "choices": [{"index": 0, "finish_reason": None, "content_filter_offsets": {}}]})
    events = [("", draw(dumped(chunk))) for chunk in chunks]
    if draw(st.booleans()) or usage is not None:
        events.append(("", b"[DONE]"))
    choices = {index: choice for index, (_, choice) in enumerate(drawn)}
    return Sent(events, openai_completion(choices, usage), Answer(choices, usage))


def openai_completion(choices: dict[int, Choice], usage: tuple[int, int] | None) -> JSON:
    return {
        **{"id": "c", "object": "chat.completion", "created": 1, "model": "m"},
        "choices": [
            {
                "index": index,
                "finish_reason": choice.finish,
                "message": {
                    "role": "assistant",
                    "content": choice.text,
                    "reasoning_content": choice.reasoning,
                    "tool_calls": [
                        {"id": i, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
                        for i, name, arguments in choice.calls
                    ],
                },
            }
            for index, choice in choices.items()
        ],
        "usage": usage and {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)},
    }


HEAD = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def openai_chunk(index: int, delta: JSON, finish: str | None = None) -> JSON:
    return {**HEAD, "choices": [{"index": index, "delta": delta, "finish_reason": finish}]}


@st.composite
def openai_choices(draw: st.DrawFn, index: int) -> tuple[list[JSON], Choice]:
    choice, events = Choice(), [openai_chunk(index, {"role": "assistant", "content": ""})]
    for name in draw(st.lists(st.sampled_from(["reasoning_content", "content"]), max_size=3)):
        text = draw(TEXTS)
        events += [openai_chunk(index, {name: piece}) for piece in draw(pieces(text))]
        if name == "content":
            choice.text += text
        else:
            choice.reasoning += text
    calls = draw(st.lists(st.tuples(NAMES, ARGUMENTS), max_size=2))
    same_index = draw(st.booleans())  # as Gemini's OpenAI form sends parallel calls
    queues = []
    for position, (name, arguments) in enumerate(calls):
        choice.calls.append((f"call_{position}", name, arguments))
        sent = 0 if same_index else position
        first = {
            "index": sent,
            "id": f"call_{position}",
            "type": "function",
            "function": {"name": name, "arguments": ""},
        }
        rest = [{"index": sent, "function": {"arguments": p}} for p in draw(pieces(json.dumps(arguments)))]
        queues.append([openai_chunk(index, {"tool_calls": [call]}) for call in (first, *rest)])
    events += list(chain(*queues)) if same_index else draw(interleaved(queues))
    choice.finish = "tool_calls" if calls else draw(st.sampled_from(["stop", "length", "content_filter", "eos_token"]))
    return [*events, openai_chunk(index, {}, choice.finish)], choice


# Anthropic's messages

STOPS = {
    **{"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "pause_turn": "length"},
    **{"refusal": "content_filter", "model_context_window_exceeded": "length"},
}


@st.composite
def anthropic_streams(draw: st.DrawFn) -> Sent:
    blocks = draw(st.lists(anthropic_blocks(), max_size=4))
    choice, queues = Choice(), []
    for index, (kind, whole, block_events) in enumerate(blocks):
        queues.append([{**event, "index": index} for event in block_events])
        if kind == "text":
            choice.text += whole["text"]
        elif kind == "thinking":
            choice.reasoning += whole["thinking"]
        elif kind == "tool_use":
            block_events[0]["content_block"]["id"] = whole["id"] = f"toolu_{len(choice.calls)}"
            choice.calls.append((whole["id"], whole["name"], whole["input"]))
        else:
            choice.carried.append(whole)
    usage = (draw(COUNTS), draw(COUNTS))
    start: JSON = {"id": "msg", "type": "message", "role": "assistant", "model": "claude", "content": []}
    start |= {"stop_reason": None, "usage": {"input_tokens": usage[0], "output_tokens": 1}}
    stop = "tool_use" if choice.calls else draw(st.sampled_from([*STOPS, "a_new_reason"]))
    choice.finish = "tool_calls" if choice.calls else STOPS.get(stop)
    reordered = draw(st.booleans())
    middle = draw(interleaved(queues)) if reordered else list(chain(*queues))
    middle = draw(interleaved([middle, [{"type": "ping"}] * draw(st.integers(0, 2))]))
    unknown = {"type": "a_new_event", **draw(OPAQUE)}
    if draw(st.booleans()):
        middle.insert(draw(st.integers(0, len(middle))), unknown)
        choice.carried.append(unknown)
    end = {"type": "message_delta", "delta": {"stop_reason": stop}, "usage": {"output_tokens": usage[1]}}
    events = [{"type": "message_start", "message": start}, *middle, end, {"type": "message_stop"}]
    named = [(event["type"], draw(dumped(event))) for event in events]
    contents = [block for _, block, _ in blocks] + [event for event in choice.carried if event is unknown]
    whole = {**start, "content": contents, "stop_reason": stop}
    whole["usage"] = {"input_tokens": usage[0], "output_tokens": usage[1]}
    return Sent(named, whole, Answer({0: choice}, usage), stop == "a_new_reason", reordered)


@st.composite
def anthropic_blocks(draw: st.DrawFn) -> tuple[str, JSON, list[JSON]]:
    """(kind, whole block, its events); what a start can hold whole is sometimes there and sometimes in deltas."""
    kind = draw(st.sampled_from(["text", "thinking", "tool_use", "server_tool_use", "a_new_block"]))
    if kind in ("text", "thinking"):
        text = draw(TEXTS)
        first, *rest = draw(pieces(text))
        start = {"type": kind, kind: first}
        deltas = [{"type": f"{kind}_delta", kind: piece} for piece in rest]
        return kind, {"type": kind, kind: text}, block_events(start, deltas)
    if kind == "a_new_block":
        whole = {"type": kind, **draw(OPAQUE)}
        return kind, whole, block_events(whole, [])
    arguments = draw(ARGUMENTS)
    whole = {"type": kind, "id": "s", "name": draw(NAMES), "input": arguments}
    if draw(st.booleans()):
        return kind, whole, block_events(dict(whole), [])
    deltas = [{"type": "input_json_delta", "partial_json": p} for p in draw(pieces(json.dumps(arguments)))]
    return kind, whole, block_events({**whole, "input": {}}, deltas)


def block_events(start: JSON, deltas: list[JSON]) -> list[JSON]:
    return [
        {"type": "content_block_start", "content_block": start},
        *({"type": "content_block_delta", "delta": delta} for delta in deltas),
        {"type": "content_block_stop"},
    ]


# Gemini's content

REASONS = {"STOP": "stop", "MAX_TOKENS": "length", "SAFETY": "content_filter", "RECITATION": "content_filter"}
FAILURES = ("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "OTHER", "NO_IMAGE", "A_NEW_REASON")


@st.composite
def gemini_streams(draw: st.DrawFn) -> Sent:
    drawn = [draw(gemini_candidates(index)) for index in range(draw(st.integers(1, 2)))]
    candidates = draw(interleaved([events for events, _, _ in drawn]))
    usage = (draw(COUNTS), draw(COUNTS))
    counts = {"promptTokenCount": usage[0], "candidatesTokenCount": usage[1], "totalTokenCount": sum(usage)}
    with_usage = draw(st.sampled_from(["each", "last"]))
    events: list[JSON] = [{"candidates": [c], "modelVersion": "gemini", "responseId": "r"} for c in candidates]
    for event in events if with_usage == "each" else events[-1:]:
        event["usageMetadata"] = counts
    whole: JSON = {"modelVersion": "gemini", "responseId": "r", "usageMetadata": counts}
    whole["candidates"] = [gemini_whole(events, index) for index, (events, _, _) in enumerate(drawn)]
    if draw(st.booleans()):
        whole["aNewField"] = events[draw(st.integers(0, len(events) - 1))]["aNewField"] = draw(OPAQUE)
        drawn[0][1].carried.append({"aNewField": whole["aNewField"]})
    choices = {index: choice for index, (_, choice, _) in enumerate(drawn)}
    named = [("", draw(dumped(event))) for event in events]
    return Sent(named, whole, Answer(choices, usage), fails=any(fails for *_, fails in drawn))


def gemini_whole(events: list[JSON], index: int) -> JSON:
    parts = [part for event in events for part in event["content"].get("parts") or ()]
    reason = next(event["finishReason"] for event in events if "finishReason" in event)
    return {"content": {"role": "model", "parts": parts}, "finishReason": reason, "index": index}


@st.composite
def gemini_candidates(draw: st.DrawFn, index: int) -> tuple[list[JSON], Choice, bool]:
    choice, groups = Choice(), []
    for kind in draw(st.lists(st.sampled_from(["text", "thought", "call", "code", "image", "new"]), max_size=4)):
        groups.append(draw(gemini_parts(kind, choice)))
    reason = draw(st.sampled_from([*REASONS, *FAILURES, *["STOP"] * 8]))
    choice.finish = "tool_calls" if choice.calls and reason == "STOP" else REASONS.get(reason)
    events: list[JSON] = [{"content": {"role": "model", "parts": parts}, "index": index} for parts in groups]
    if events and draw(st.booleans()):
        events[-1]["finishReason"] = reason
    else:
        events.append({"content": {}, "finishReason": reason, "index": index})
    return events, choice, reason in FAILURES


@st.composite
def gemini_parts(draw: st.DrawFn, kind: str, choice: Choice) -> list[JSON]:
    if kind == "call":
        call = {"id": f"f{len(choice.calls)}", "name": draw(NAMES), "args": draw(ARGUMENTS)}
        choice.calls.append((call["id"], call["name"], call["args"]))
        return [{"functionCall": call}]
    if kind in ("text", "thought"):
        whole = draw(TEXTS)
        texts = draw(pieces(whole))
        if kind == "text":
            choice.text += whole
            return [{"text": text} for text in texts]
        choice.reasoning += whole
        return [{"text": text, "thought": True} for text in texts]
    if kind == "image":
        choice.carried.append("data:image/png;base64,iVBORw0KGgo=")
        return [{"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}]
    name = "executableCode" if kind == "code" else "aNewPart"
    choice.carried.append({name: (content := draw(OPAQUE))})
    return [{name: content}]


SENT = {
    "openai": openai_streams(),
    "openai-reasoning": openai_streams(),
    "openai-o1": openai_streams(),
    "anthropic": anthropic_streams(),
    "gemini": gemini_streams(),
}
