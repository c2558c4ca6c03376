"""Send mixed requests over all APIs of the router to all types of provider: what clients get, and how memory grows.

Chats, legacy completions, Anthropic's messages and OpenAI's responses in turn; half of them streams, a quarter with
tools, some with images, long histories or sessions, one in 53 malformed. A random one of four models answers: of types
openai, anthropic and gemini, and one that has the Responses API itself. Each answer is checked for its text or call
and for the end of its stream. The router is the real command in a process of its own, with its accounts and votes in
files; the upstreams and clients share another.

    python benchmarks/mixed_requests.py [--requests 10000] [--connections 16]
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from router import free_port
from router_faults import KEYS, PATIENCE, Progress, load, start

JSON = dict[str, Any]
PIECES = ("Hello there, ", "how can I help you today?")
CALL = {"path": "src/main.py"}
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABh6FO1AAAAABJRU5ErkJggg=="
SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}}
FUNCTION = {"name": "read_file", "description": "Read a file", "parameters": SCHEMA}
USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
PRICES = {"input": 1.0, "output": 2.0}
APIS = ("chat", "completions", "messages", "responses")
PATHS = {"chat": "chat/completions", "completions": "completions", "messages": "messages", "responses": "responses"}
PATIENT = {"read_timeout": PATIENCE}  # a busy machine is no fault
ENDS = {"messages": "event: message_stop", "responses": "event: response.completed"}


@dataclass
class Tally(Progress):
    """``got``: outcomes by API."""

    got: Counter[str] = field(default_factory=Counter)


def chat_parts(calls: bool) -> list[JSON]:
    if not calls:
        return [{"content": piece} for piece in PIECES]
    function = {"name": FUNCTION["name"], "arguments": json.dumps(CALL)}
    return [{"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function}]}]


def chat(body: JSON) -> JSON | list[JSON]:
    """Return the answer of OpenAI's chats, or the chunks of it."""
    calls, head = bool(body.get("tools")), {"id": "c", "created": 1, "model": "m"}
    finish = "tool_calls" if calls else "stop"
    if not body.get("stream"):
        message = {"role": "assistant", "content": None if calls else "".join(PIECES)}
        message |= chat_parts(True)[0] if calls else {}
        return {**head, "choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": USAGE}
    deltas = [*chat_parts(calls), {}]
    ends = [*[None] * (len(deltas) - 1), finish]
    chunks = [{"index": 0, "delta": d, "finish_reason": end} for d, end in zip(deltas, ends, strict=True)]
    return [*({**head, "choices": [chunk]} for chunk in chunks), {**head, "choices": [], "usage": USAGE}]


def messages(body: JSON) -> JSON | list[JSON]:
    """Return the answer of Anthropic's API, or the events of it."""
    text = {"type": "text", "text": "".join(PIECES)}
    use = {"type": "tool_use", "id": "toolu_1", "name": FUNCTION["name"], "input": CALL}
    block = use if body.get("tools") else text
    head = {"id": "m", "type": "message", "role": "assistant", "model": "claude", "stop_sequence": None}
    end = {"stop_reason": "tool_use" if body.get("tools") else "end_turn"}
    usage = {"input_tokens": 9, "output_tokens": 3}
    thought = {"type": "thinking", "thinking": "Let me see.", "signature": "c2ln"}
    if not body.get("stream"):
        return {**head, **end, "content": [thought, block], "usage": usage}
    started: JSON = {**block, "input": {}} if block is use else {**block, "text": ""}
    deltas: list[JSON] = [{"type": "text_delta", "text": piece} for piece in PIECES]
    if block is use:
        deltas = [{"type": "input_json_delta", "partial_json": json.dumps(CALL)}]
    empty = {"type": "thinking", "thinking": "", "signature": ""}
    told = [{"type": "thinking_delta", "thinking": "Let me see."}, {"type": "signature_delta", "signature": "c2ln"}]
    events: list[JSON] = [{"type": "message_start", "message": {**head, "content": [], "usage": usage}}]
    for index, (first, rest) in enumerate(((empty, told), (started, deltas))):
        events.append({"type": "content_block_start", "index": index, "content_block": first})
        events += [{"type": "content_block_delta", "index": index, "delta": one} for one in rest]
        events.append({"type": "content_block_stop", "index": index})
    return [*events, {"type": "message_delta", "delta": end, "usage": usage}, {"type": "message_stop"}]


def gemini(body: JSON, streamed: bool) -> JSON | list[JSON]:
    """Return the answer of Gemini's API, or the events of it."""
    usage = {"promptTokenCount": 9, "candidatesTokenCount": 3, "totalTokenCount": 12}
    head = {"modelVersion": "gemini", "responseId": "r", "usageMetadata": usage}
    parts: list[JSON] = [{"text": piece} for piece in PIECES]
    if body.get("tools"):
        parts = [{"functionCall": {"name": FUNCTION["name"], "args": CALL}, "thoughtSignature": "c2ln"}]
    if not streamed:
        content = {"role": "model", "parts": parts}
        return {**head, "candidates": [{"content": content, "finishReason": "STOP", "index": 0}]}
    events: list[JSON] = [{"content": {"role": "model", "parts": [part]}, "index": 0} for part in parts]
    events[-1]["finishReason"] = "STOP"
    return [{**head, "candidates": [event]} for event in events]


def responses(body: JSON) -> JSON | list[JSON]:
    """Return the answer of OpenAI's Responses API, or the events of it."""
    usage = {"input_tokens": 9, "output_tokens": 3, "total_tokens": 12}
    content = [{"type": "output_text", "text": "".join(PIECES), "annotations": []}]
    item: JSON = {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": content}
    if body.get("tools"):
        call = {"call_id": "call_1", "name": FUNCTION["name"], "arguments": json.dumps(CALL)}
        item = {"type": "function_call", "id": "fc_1", "status": "completed", **call}
    whole = {"id": f"resp_{random.getrandbits(64):x}", "status": "completed", "output": [item], "usage": usage}
    if not body.get("stream"):
        return whole
    events: list[JSON] = [{"type": "response.created", "response": {**whole, "status": "in_progress", "output": []}}]
    if not body.get("tools"):
        events += [{"type": "response.output_text.delta", "output_index": 0, "delta": piece} for piece in PIECES]
    events.append({"type": "response.completed", "response": whole})
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


async def answer(request: web.Request) -> web.StreamResponse:
    """Answer as the vendor whose path is asked."""
    body = await request.json()
    if request.path.endswith("/messages"):
        made = messages(body)
    elif request.path.endswith("/responses"):
        made = responses(body)
    elif "enerateContent" in request.path:
        made = gemini(body, "stream" in request.path)
    else:
        made = chat(body)
    if isinstance(made, dict):
        return web.json_response(made)
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    for event in made:
        await response.write(b"data: " + json.dumps(event).encode() + b"\n\n")
    if "choices" in made[0]:
        await response.write(b"data: [DONE]\n\n")
    await response.write_eof()
    return response


def question(api: str, index: int, streamed: bool, tools: bool) -> JSON:
    """Return the body of a request; its form depends on the API, its size and parts on the number."""
    text = f"request {index} " + "y" * (4000 if index % 11 == 0 else 200)
    body: JSON = {"model": "-", "stream": streamed, "max_tokens": 500}
    if api == "completions":
        return {**body, "prompt": text}
    image = f"data:image/png;base64,{PNG}"
    parts: list[JSON] = [{"type": "text", "text": text}]
    if index % 7 == 0:
        source = {"type": "base64", "media_type": "image/png", "data": PNG}
        own: JSON = {"type": "image", "source": source}
        parts.append(own if api == "messages" else {"type": "image_url", "image_url": {"url": image}})
    history = [one for _ in range(index % 4) for one in (("user", "before"), ("assistant", "and then"))]
    said: list[JSON] = [{"role": role, "content": content} for role, content in history]
    if api == "responses":
        own_parts = [{"type": "input_text", "text": text}]
        own_parts += [{"type": "input_image", "image_url": image}] if len(parts) > 1 else []
        body = {"model": "-", "stream": streamed, "input": [*said, {"role": "user", "content": own_parts}]}
        return {**body, "tools": [{"type": "function", **FUNCTION}]} if tools else body
    body["messages"] = [*said, {"role": "user", "content": parts}]
    if tools:
        own_tool = {"name": FUNCTION["name"], "input_schema": SCHEMA}
        body["tools"] = [own_tool if api == "messages" else {"type": "function", "function": FUNCTION}]
    return body


async def ask(session: aiohttp.ClientSession, url: str, index: int, tally: Tally) -> None:
    """Send one request and record the outcome."""
    api, streamed = APIS[index % 4], index // 4 % 2 == 0
    tools = index // 8 % 4 == 0 and api != "completions"
    body, is_wrong = question(api, index, streamed, tools), index % 53 == 52
    if is_wrong:
        body = {name: value for name, value in body.items() if name not in ("messages", "prompt", "input")}
    headers = {"authorization": f"Bearer {list(KEYS.values())[index % len(KEYS)]}"}
    if index % 10 == 0:
        headers["x-p2l-session"] = f"session {index % 1000}"
    try:
        async with session.post(f"{url}/v1/{PATHS[api]}", json=body, headers=headers) as reply:
            text, status = await reply.text(), reply.status
    except asyncio.TimeoutError:
        tally.got[f"{api}: hung"] += 1
        return
    if is_wrong:
        tally.got[f"{api}: {'refused' if status == 400 else 'unclear'}"] += 1
        return
    wanted = (FUNCTION["name"], CALL["path"]) if tools else PIECES
    whole = status == 200 and all(str(piece) in text for piece in wanted)
    ended = not streamed or ENDS.get(api, "data: [DONE]") in text
    tally.got[f"{api}: {'answered' if whole and ended else 'unclear'}"] += 1


def configured(url: str) -> dict[str, object]:
    """Return a model of each type, and one that has the Responses API itself."""
    entry: JSON = {"cost": 1.0, "api_key": "sk-upstream", "prices": PRICES}
    return {
        "gpt": {**entry, "name": "m", "type": "openai", "base_url": f"{url}/v1"},
        "own": {**entry, "name": "o", "type": "openai", "base_url": f"{url}/v1", "capabilities": {"responses": True}},
        "claude": {**entry, "name": "claude-sonnet-4-5", "type": "anthropic", "base_url": url},
        "gemini": {**entry, "name": "gemini-3-pro", "type": "gemini", "base_url": url},
    }


async def run(args: argparse.Namespace, folder: Path) -> Tally:
    tally, app = Tally(), web.Application(client_max_size=1 << 26)
    app.router.add_post("/{path:.*}", answer)
    runner, port = web.AppRunner(app), free_port()
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    process, url = await start(configured(f"http://127.0.0.1:{port}"), folder, PATIENT)
    try:
        await load(args, process.pid, tally, lambda session, index: ask(session, url, index, tally))
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 30)
        await runner.cleanup()
    return tally


def show(tally: Tally, seconds: float) -> int:
    """Print the figures; return 1 if a client did not get what was sent."""
    print(f"{tally.done} requests in {seconds:.0f} s")
    for name, count in sorted(tally.got.items()):
        print(f"{name:24} {count:8d}")
    print(tally.shown())
    return int(any(name.endswith(("unclear", "hung")) for name in tally.got))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--connections", type=int, default=16)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        tally = asyncio.run(run(args, Path(folder)))
        sys.exit(show(tally, time.monotonic() - began))


if __name__ == "__main__":
    main()
