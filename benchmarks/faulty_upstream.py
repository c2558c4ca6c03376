"""A model's server that fails in many ways, reports its tokens in every known form, and keeps its own account.

Its tokens have four characters, as the router assumes where no usage is reported.
"""

import asyncio
import json
import math
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

SILENCE = 0.4  # seconds; longer than the router waits
PRICES = {"input": 1000.0, "output": 10000.0, "cached_input": 250.0}
FAULTS = ("429", "500", "silence", "reset", "death", "malformed", "no choices", "error in 200", "empty body")
USAGES = ("plain", "thoughts in the total", "thoughts in the completion", "thoughts beside", "floats", "text")
USAGES += ("cached", "cached beside", "zeros", "missing", "every chunk")
_HEAD = {"id": "c", "created": 1, "model": "m"}


@dataclass
class Account:
    """What the server did: ``answers`` and ``due`` by number of the request, the last attempt of each."""

    answers: dict[int, str] = field(default_factory=dict)
    due: dict[int, float] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)
    usages: Counter[str] = field(default_factory=Counter)


@dataclass
class Answer:
    """One sound answer: its text, its tokens, and how they are reported."""

    text: str
    prompt: int
    cached: int
    thoughts: int
    choices: int
    form: str

    @property
    def shown(self) -> int:
        return self.choices * math.ceil(len(self.text) / 4)

    def cost(self, cost: float, priced: bool, *, is_whole: bool = True) -> float:
        """Return what the answer costs by the server's own count; as documented, where it reports no usage."""
        if not priced:
            return cost * self.choices
        if not is_whole:  # two pieces of each choice came, and no usage
            return max(cost * self.choices, (self.prompt * PRICES["input"] + self.shown * PRICES["output"]) / 1e6)
        hidden = 0 if self.form in ("zeros", "missing") else self.thoughts
        cached = self.cached if self.form.startswith("cached") else 0
        plain = (self.prompt - cached) * PRICES["input"] + cached * PRICES["cached_input"]
        price = (plain + (self.shown + hidden) * PRICES["output"]) / 1e6
        return max(cost * self.choices, price) if self.form in ("zeros", "missing") else price

    def usage(self) -> dict[str, Any] | None:
        """Return the usage in its form."""
        told = self.shown + (0 if self.form in ("thoughts in the total", "thoughts beside") else self.thoughts)
        usage: dict[str, Any] = {"prompt_tokens": self.prompt, "completion_tokens": told}
        total = self.prompt + self.shown + self.thoughts
        if self.form in ("thoughts in the completion", "thoughts beside"):
            usage["completion_tokens_details"] = {"reasoning_tokens": self.thoughts}
        if self.form == "floats":
            return {name: float(count) for name, count in usage.items()}
        if self.form == "text":
            return {name: str(count) for name, count in usage.items()}
        if self.form == "cached":
            usage["prompt_tokens_details"] = {"cached_tokens": self.cached}
        if self.form == "cached beside":
            usage |= {"prompt_tokens": self.prompt - self.cached, "cache_read_input_tokens": self.cached}
        if self.form == "zeros":
            return dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"), 0)
        if self.form == "missing":
            return None
        return {**usage, "total_tokens": total} if self.form != "thoughts beside" else usage


class FaultyUpstream:
    """Answers by chance; ``cost`` and ``priced`` are those of the router's configuration for it."""

    def __init__(self, faults: float, seed: int, account: Account, cost: float, priced: bool) -> None:
        self._rng = random.Random(seed)
        self._faults, self._account, self._cost, self._priced = faults, account, cost, priced

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        fault = self._rng.choice(FAULTS) if self._rng.random() < self._faults else None
        self._account.seen[fault or "sound"] += 1
        if fault in ("429", "500"):
            return web.json_response({"error": {"message": "no"}}, status=int(fault))
        if fault == "silence":
            await asyncio.sleep(SILENCE)
        if fault in ("silence", "reset") or (fault == "death" and not body.get("stream")):
            return _cut(request)
        broken = {"malformed": b'{"id": "chatcmpl-', "empty body": b"", "no choices": b'{"id": "c", "choices": []}'}
        broken["error in 200"] = b'{"error": {"message": "overloaded", "code": 503}}'
        if fault in broken:
            return web.Response(body=broken[fault], content_type="application/json")
        answer = self._draw(body)
        number = int(body["messages"][-1]["content"].split()[1])
        self._account.answers[number] = answer.text
        self._account.due[number] = answer.cost(self._cost, self._priced, is_whole=fault != "death")
        if body.get("stream"):
            return await self._stream(request, answer, dies=fault == "death")
        return web.json_response(_completion(answer))

    def _draw(self, body: dict[str, Any]) -> Answer:
        rng = self._rng
        prompt = sum(len(message["content"]) for message in body["messages"]) // 4
        form = rng.choice(USAGES)
        self._account.usages[form] += 1
        thoughts = rng.randrange(500, 9000) if form.startswith("thoughts") else 0
        # cached tokens beside the prompt show only if they are more than it
        cached = prompt * 9 // 10 if form.startswith("cached") else 0
        text = "Hello! " + "x" * rng.choice((1, 200, 4000))
        answer = Answer(text, prompt, cached, thoughts, body.get("n") or 1, form)
        if form == "thoughts beside":  # nothing but their number shows that they are not in the completion
            answer.thoughts += answer.shown
        return answer

    async def _stream(self, request: web.Request, answer: Answer, *, dies: bool) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await response.write(self._rng.choice((b"", b"\xef\xbb\xbf", b": wait\n\n", b"data: null\n\n", b"data:\n\n")))
        half = len(answer.text) // 2
        for piece in (answer.text[:half], answer.text[half:]):
            for index in range(answer.choices):
                usage = answer.usage() if answer.form == "every chunk" and not dies else None
                await response.write(_event([(index, {"content": piece}, None)], usage))
            await response.write(self._rng.choice((b"", b": wait\n\n")))
        if dies:
            await asyncio.sleep(0.05)
            _cut(request)
            return response
        await response.write(_event([(index, {}, "stop") for index in range(answer.choices)]))
        if (usage := answer.usage()) is not None:
            await response.write(_event([], usage))
        await response.write(b"data: [DONE]\n\n")
        return response


def _completion(answer: Answer) -> dict[str, Any]:
    message = {"role": "assistant", "content": answer.text}
    choices = [{"index": i, "message": message, "finish_reason": "stop"} for i in range(answer.choices)]
    completion = {**_HEAD, "object": "chat.completion", "choices": choices}
    usage = answer.usage()
    return completion if usage is None else {**completion, "usage": usage}


def _event(choices: list[tuple[int, dict[str, str], str | None]], usage: dict[str, Any] | None = None) -> bytes:
    parts = [{"index": index, "delta": delta, "finish_reason": finish} for index, delta, finish in choices]
    chunk = {**_HEAD, "object": "chat.completion.chunk", "choices": parts}
    return b"data: " + json.dumps(chunk if usage is None else {**chunk, "usage": usage}).encode() + b"\n\n"


def _cut(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
