"""Run the router before failing upstreams: what clients get, what keys are charged, and how memory grows.

Each answer of an upstream fails with a given chance, in one of nine ways. Sound ones report their tokens in one of
eleven forms (``faulty_upstream``). A third of the requests are streams, a fifth ask for three choices, a tenth belong
to sessions; keys ask unequally often. The router is the real command in a process of its own, with its accounts and
votes in files; upstreams and clients share another. Every second upstream has no prices. Bills are checked against the
upstreams' own account: each answer by its header or last chunk, each key by its sum.

    python benchmarks/router_faults.py [--requests 10000] [--upstreams 1] [--faults 0.2] [--connections 24]
"""

import argparse
import asyncio
import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web
from faulty_upstream import PRICES, SILENCE, Account, FaultyUpstream
from router import free_port

COSTS = (1.0, 2.5, 7.0)
# of a router that soon gives up on a silent upstream
IMPATIENT = {"backoff": 0.005, "max_backoff": 0.05, "read_timeout": SILENCE / 2, "total_timeout": 10, "cooldown": 0.1}
KEYS = {f"key-{i}": f"sk-client-{i}-00000000" for i in range(5)}
SHARES = (50, 25, 15, 7, 3)
PATIENCE = 30.0  # seconds after which a client counts as hung; the router gives up after 10


@dataclass
class Progress:
    """``done``: number of requests; ``memory``: MB of the router by that number."""

    done: int = 0
    memory: list[tuple[int, float]] = field(default_factory=list)

    def shown(self) -> str:
        """Return the memory after a tenth of the requests and after all."""
        first, last = next(mark for mark in self.memory if mark[0] >= self.done // 10), self.memory[-1]
        return f"memory: {first[1]:.1f} MB after {first[0]} requests, {last[1]:.1f} MB after {last[0]}"


@dataclass
class Tally(Progress):
    """``got``: outcomes; ``due``: cost of each key's answers by the upstreams."""

    got: Counter[str] = field(default_factory=Counter)
    due: Counter[str] = field(default_factory=Counter)
    account: Account = field(default_factory=Account)
    misstated: int = 0


async def ask(session: aiohttp.ClientSession, url: str, index: int, tally: Tally, rng: random.Random) -> None:
    """Send one request and record the outcome."""
    (name,) = rng.choices(list(KEYS), SHARES)
    headers = {"authorization": f"Bearer {KEYS[name]}"}
    if index % 10 == 0:
        headers["x-p2l-session"] = f"session {rng.randrange(1000)}"
    body: dict[str, Any] = {"messages": [{"role": "user", "content": f"request {index} " + "y" * 2000}]}
    if index % 3 == 0:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    if index % 5 == 0:
        body["n"] = 3
    try:
        async with session.post(f"{url}/v1/chat/completions", json=body, headers=headers) as answer:
            text = await answer.text()
    except asyncio.TimeoutError:
        tally.got["hung"] += 1
    except aiohttp.ClientError:
        tally.got["cut off by the router"] += 1
    else:
        if answer.status == 200:
            due = tally.account.due[index]
            tally.due[name] += due
            stated = stated_cost(answer.headers, text)
            tally.misstated += stated is not None and abs(stated - due) > 1e-6 * max(1.0, due)
        sent = tally.account.answers.get(index, "")
        tally.got[outcome(answer.status, "stream" in body, text, sent, body.get("n", 1))] += 1


def stated_cost(headers: Mapping[str, str], text: str) -> float | None:
    """Return the cost that the client reads; None for a stream without usage."""
    if "x-p2l-cost" in headers:
        return float(headers["x-p2l-cost"])
    events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    return next((event["cost"] for event in reversed(events) if "cost" in event), None)


def outcome(status: int, streamed: bool, text: str, sent: str, num_choices: int) -> str:
    """Return the outcome as the client sees it; "unclear" unless it got what was sent, or one error."""
    try:
        if status != 200:
            error = json.loads(text)["error"]
            return "clear error" if set(error) == {"message", "type", "param", "code"} else "unclear"
        if not streamed:
            got = [choice["message"]["content"] for choice in json.loads(text)["choices"]]
            return "answered" if got == [sent] * num_choices else "unclear"
    except (ValueError, KeyError, TypeError):
        return "unclear"
    if not text.endswith("data: [DONE]\n\n"):
        return "unclear"
    errors, ends = text.count('"error":{'), text.count('"finish_reason":"stop"')
    if not errors and pieces_of(text) != [sent] * num_choices:
        return "unclear"
    return {(0, num_choices): "answered", (1, 0): "clear error in a stream"}.get((errors, ends), "unclear")


def pieces_of(text: str) -> list[str]:
    """Return the text of each choice of a stream."""
    texts: dict[int, str] = {}
    for line in text.splitlines():
        for choice in json.loads(line[6:]).get("choices", ()) if line.startswith("data: {") else ():
            texts[choice["index"]] = texts.get(choice["index"], "") + (choice["delta"].get("content") or "")
    return [texts[index] for index in sorted(texts)]


async def load(
    args: argparse.Namespace, pid: int, progress: Progress, ask: Callable[[aiohttp.ClientSession, int], Awaitable[None]]
) -> None:
    """Send all requests, some of them concurrently; ``ask`` sends one by its number."""
    numbers, every = iter(range(args.requests)), max(1, args.requests // 20)

    async def client(session: aiohttp.ClientSession) -> None:
        for index in numbers:
            await ask(session, index)
            progress.done += 1
            if progress.done % every == 0:
                progress.memory.append((progress.done, resident(pid)))
                print(f"{progress.done:8d} {progress.memory[-1][1]:8.1f} MB", file=sys.stderr, flush=True)

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(PATIENCE)) as session:
        await asyncio.gather(*(client(session) for _ in range(args.connections)))


def resident(pid: int) -> float:
    """Return the resident memory of a process in MB."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0]) / 1024


async def run(args: argparse.Namespace, folder: Path) -> tuple[Tally, dict[str, float]]:
    tally, runners = Tally(), []
    models = {}
    for i in range(args.upstreams):
        cost, priced = COSTS[i % len(COSTS)], i % 2 == 0
        runner = web.AppRunner(FaultyUpstream(args.faults, i, tally.account, cost, priced).app())
        await runner.setup()
        port = free_port()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        runners.append(runner)
        models[f"m{i}"] = {
            "name": "m",
            "type": "openai",
            "cost": cost,
            "api_key": "sk-upstream",
            "base_url": f"http://127.0.0.1:{port}/v1",
            **({"prices": PRICES} if priced else {}),
        }
    process, url = await start(models, folder, IMPATIENT)
    rng = random.Random(0)
    try:
        await load(args, process.pid, tally, lambda session, index: ask(session, url, index, tally, rng))
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 30)
        for runner in runners:
            await runner.cleanup()
    with sqlite3.connect(folder / "state.sqlite") as state:
        return tally, dict(state.execute("SELECT name, spent FROM accounts").fetchall())


async def start(
    models: dict[str, object], folder: Path, calls: Mapping[str, float]
) -> tuple["subprocess.Popen[bytes]", str]:
    """Start the router and wait until it is ready."""
    keys = [{"name": name, "key": key, "budget": 1e9} for name, key in KEYS.items()]
    (folder / "config.yaml").write_text(yaml.safe_dump({"model_configs": models, "keys": keys, "calls": dict(calls)}))
    port = free_port()
    options = ["--router-type", "random", "--host", "127.0.0.1", "--port", str(port), "--log-level", "error"]
    files = ["--state", str(folder / "state.sqlite"), "--feedback", str(folder / "votes.sqlite")]
    command = [sys.executable, "-m", "p2l.routing.openai_server", "-c", str(folder / "config.yaml"), *options, *files]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 300
    async with aiohttp.ClientSession() as session:
        while time.monotonic() < deadline and process.poll() is None:
            try:
                async with session.get(f"{url}/ready") as answer:
                    if answer.status == 200:
                        return process, url
            except aiohttp.ClientError:
                await asyncio.sleep(0.2)
    sys.exit("the router does not start")


def show(tally: Tally, spent: dict[str, float], seconds: float) -> int:
    """Print the figures; return 1 if one of them is wrong."""
    seen = tally.account.seen
    total = sum(seen.values())
    print(
        f"{tally.done} requests in {seconds:.0f} s; upstreams were asked {total} times, "
        f"and failed {total - seen['sound']} times:"
    )
    print("  " + ", ".join(f"{name} {count}" for name, count in sorted(seen.items()) if name != "sound"))
    for name in ("answered", "clear error", "clear error in a stream", "unclear", "cut off by the router", "hung"):
        print(f"{name:26} {tally.got[name]:8d}")
    wrong = [name for name in KEYS if abs(spent.get(name, 0.0) - tally.due[name]) > 1e-6 * max(1.0, tally.due[name])]
    billed = ", ".join(f"{name} {spent.get(name, 0.0):g} of {tally.due[name]:g}" for name in KEYS)
    print(f"{'keys billed wrongly':26} {len(wrong):8d}   ({billed})")
    print(f"{'answers with a wrong cost':26} {tally.misstated:8d}   ({dict(tally.account.usages)})")
    print(tally.shown())
    mistakes = [tally.got[name] for name in ("unclear", "cut off by the router", "hung")]
    return int(bool(wrong or tally.misstated or any(mistakes)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--upstreams", type=int, default=1)
    parser.add_argument("--faults", type=float, default=0.2)
    parser.add_argument("--connections", type=int, default=24)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        tally, spent = asyncio.run(run(args, Path(folder)))
        sys.exit(show(tally, spent, time.monotonic() - began))


if __name__ == "__main__":
    main()
