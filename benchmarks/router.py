"""Measure the router's overhead before an instant upstream on loopback, at 1, 16 and 64 connections, and of others.

The upstream answers every chat with the same bytes and every prompt with the same scores, so what is measured is the
gateway. The servers are started one after the other, and measured in turns over the rounds; the best round of each is
shown, since other work on the machine only ever slows one down. Ours is measured as a plain gateway (random choice)
and with scores by HTTP, which the published router also asks for and the others do not have. With random choice its
other APIs are measured too: each request is translated to a chat, and the answer back. Needs wrk.

    python benchmarks/router.py [--rounds 3] [--seconds 4] [--connections 1 16 64]
        [--before checkout] [--upstream p2l --upstream-python venv/bin/python] [--litellm venv/bin/litellm]
        [--portkey node_modules/@portkey-ai/gateway/build/start-server.js]
"""

import argparse
import asyncio
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from figures import Figure, save
from processes import cpu_seconds

CONNECTIONS = [1, 16, 64]
KEY = "sk-" + hashlib.sha256(b"a key for loopback").hexdigest()  # LiteLLM refuses to start with a weak one
MODELS = ("m0", "m1", "m2", "m3")
SAMPLING = {"temperature": 0.0, "top_p": 1.0}
MESSAGE = "what is 828913*1234? Please explain it step by step, and be careful to carry every digit."
CHAT: dict[str, object] = {**SAMPLING, "max_tokens": 64, "messages": [{"role": "user", "content": MESSAGE}]}
# path and body of each API for the same question
APIS = {
    "chat": ("/v1/chat/completions", CHAT),
    "messages": ("/v1/messages", CHAT),
    "completions": ("/v1/completions", {**SAMPLING, "max_tokens": 64, "prompt": MESSAGE}),
    "responses": ("/v1/responses", {**SAMPLING, "max_output_tokens": 64, "input": MESSAGE}),
}
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1700000000,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello there, how can I help you today?"},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 29, "completion_tokens": 10, "total_tokens": 39},
}


@dataclass(frozen=True)
class Target:
    """A server to measure by one API: port, command, and the headers that it needs."""

    name: str
    port: int
    command: list[str]
    api: str = "chat"
    headers: tuple[tuple[str, str], ...] = ()
    cwd: str | None = None
    model: str = "-"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{APIS[self.api][0]}"


@dataclass(frozen=True)
class Measured:
    """Result of one run; ``cpu``: milliseconds of the server's processor time for a request."""

    rate: float
    p50: float
    p99: float
    errors: int
    cpu: float


def _http(body: object) -> bytes:
    raw = json.dumps(body).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(raw) + raw


class Instant(asyncio.Protocol):
    """Answers by path as soon as a request is complete."""

    scores = _http({"coefs": [0.1, 0.5, 0.3, 0.2], "eta": 0.1})
    models = _http({"models": list(MODELS)})
    answer = _http(ANSWER)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            found = re.search(rb"content-length: *(\d+)", head)
            size = end + 4 + (int(found[1]) if found else 0)
            if len(self.buffer) < size:
                return
            self.buffer = self.buffer[size:]
            line = head[: head.find(b"\r\n")]
            reply = self.scores if b"/predict" in line else self.models if line.startswith(b"get") else self.answer
            self.transport.write(reply)  # type: ignore[attr-defined]


def serve_instant(port: int) -> None:
    import uvloop

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(Instant, "127.0.0.1", port)
        await server.serve_forever()

    uvloop.run(serve())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(target: Target, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start the server and wait until it answers a chat; its output goes to a file."""
    with (folder / f"{re.sub('[^a-z]', '-', target.name.lower())}.log").open("wb") as log:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PORT": str(target.port)}
        process = subprocess.Popen(target.command, stdout=log, stderr=log, env=environment, cwd=target.cwd)
        try:
            _await(target, process, log.name)
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def _await(target: Target, process: "subprocess.Popen[bytes]", log: str) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            request = urllib.request.Request(target.url, _body(target))
            for name, value in _headers(target):
                request.add_header(name, value)
            urllib.request.urlopen(request, timeout=10).read()
            return
        except (OSError, urllib.error.URLError) as error:
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"{target.name} does not answer ({error}); its output: {log}")
            time.sleep(0.5)


def _body(target: Target) -> bytes:
    return json.dumps({"model": target.model, **APIS[target.api][1]}).encode()


def _headers(target: Target) -> list[tuple[str, str]]:
    return [("content-type", "application/json"), ("authorization", f"Bearer {KEY}"), *target.headers]


def measure(
    target: Target, process: "subprocess.Popen[bytes]", connections: int, seconds: int, folder: Path
) -> Measured:
    """Run wrk once."""
    script = folder / "request.lua"
    lines = [f'wrk.headers["{name}"] = "{value}"' for name, value in _headers(target)]
    script.write_text("\n".join(['wrk.method = "POST"', f"wrk.body = [[{_body(target).decode()}]]", *lines]))
    before = cpu_seconds(process.pid)
    command = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
        "--latency",
        "--timeout",
        "30s",
        "-s",
        str(script),
        target.url,
    ]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    requests = int(re.search(r"(\d+) requests in", text)[1])  # type: ignore[index]
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    return Measured(
        rate=float(re.search(r"Requests/sec: *([\d.]+)", text)[1]),  # type: ignore[index]
        p50=_milliseconds(text, "50%"),
        p99=_milliseconds(text, "99%"),
        errors=int(bad[1]) if bad else 0,
        cpu=1000 * (cpu_seconds(process.pid) - before) / max(requests, 1),
    )


def _milliseconds(text: str, quantile: str) -> float:
    value, unit = re.search(rf"{quantile}\s+([\d.]+)(us|ms|s)", text).groups()  # type: ignore[union-attr]
    return float(value) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[unit]


def targets(args: argparse.Namespace, folder: Path) -> list[Target]:
    """Return the instant upstream itself, then the gateways that the options name."""
    mock = free_port()
    url = f"http://127.0.0.1:{mock}"
    entry = {
        "api_key": "sk-upstream",
        "base_url": f"{url}/v1",
        "name": "m",
        "temp": 0.7,
        "top_p": 1.0,
        "type": "openai",
    }
    config = folder / "config.yaml"
    config.write_text(json.dumps({"model_configs": {m: {**entry, "cost": 1.0 + i} for i, m in enumerate(MODELS)}}))
    scored = ["--router-type", "grk-endpoint", "--router-model-endpoint", url]
    found = [
        Target("upstream itself", mock, [sys.executable, __file__, "--instant", str(mock)]),
        _ours("p2l", config, ["--router-type", "random"]),
        _ours("p2l with scores", config, scored),
    ]
    if args.before:
        found += [
            _ours("before", config, ["--router-type", "random"], args.before),
            _ours("before with scores", config, scored, args.before),
        ]
    if args.upstream:
        port = free_port()
        options = [
            "-c",
            str(config),
            *scored,
            "--api-key",
            KEY,
            "--port",
            str(port),
            "--host",
            "127.0.0.1",
            "--no-reload",
        ]
        command = [args.upstream_python, "-m", "route.openai_server", *options]
        found.append(Target("upstream's router", port, command, cwd=args.upstream))
    if args.litellm:
        found.append(_litellm(args.litellm, url, folder))
    if args.portkey:
        headers = (("x-portkey-provider", "openai"), ("x-portkey-custom-host", f"{url}/v1"))
        port = free_port()
        found.append(Target("Portkey", port, ["node", args.portkey, f"--port={port}"], headers=headers))
    return found


def _ours(name: str, config: Path, options: list[str], checkout: str | None = None) -> Target:
    port = free_port()
    fixed = ["--api-key", KEY, "--host", "127.0.0.1", "--port", str(port), "-c", str(config), "--log-level", "warning"]
    return Target(name, port, [sys.executable, "-m", "p2l.routing.openai_server", *fixed, *options], cwd=checkout)


def _litellm(command: str, url: str, folder: Path) -> Target:
    port = free_port()
    params = {"model": "openai/m", "api_base": f"{url}/v1", "api_key": "sk-upstream"}
    config = folder / "litellm.yaml"
    models = [{"model_name": "m0", "litellm_params": params}]
    config.write_text(json.dumps({"model_list": models, "general_settings": {"master_key": KEY}}))
    options = ["--config", str(config), "--port", str(port), "--host", "127.0.0.1"]
    return Target("LiteLLM", port, [command, *options], model="m0")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4, help="of each measurement, whole ones for wrk")
    parser.add_argument("--connections", type=int, nargs="+", default=CONNECTIONS)
    parser.add_argument("--before", help="folder of another commit of this project, measured in the same run")
    parser.add_argument("--upstream", help="folder of the published code, which holds route/")
    parser.add_argument("--upstream-python", default=sys.executable)
    parser.add_argument("--litellm", help="command of the LiteLLM proxy")
    parser.add_argument("--portkey", help="start-server.js of the Portkey gateway")
    parser.add_argument("--json", help="file for the figures, for benchmarks/report.py")
    parser.add_argument("--instant", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.instant:
        serve_instant(args.instant)
        return
    if shutil.which("wrk") is None:
        sys.exit("wrk is needed to make the load: apt-get install wrk")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        started = [(t, stack.enter_context(running(t, Path(folder)))) for t in targets(args, Path(folder))]
        plain, process = started[1]
        by_api = [(replace(plain, name=f"{plain.name}, {api}", api=api), process) for api in APIS if api != "chat"]
        started[3:3] = by_api
        best: dict[tuple[str, int], Measured] = {}
        for _ in range(args.rounds):
            for target, process in started:
                for connections in args.connections:
                    got = measure(target, process, connections, args.seconds, Path(folder))
                    key = (target.name, connections)
                    best[key] = max(best.get(key, got), got, key=lambda one: one.rate)
        names = [target.name for target, _ in started]
        show(names, best, args.connections)
        ours, others = names[1 : 3 + len(by_api)], names[3 + len(by_api) :]
        save(args.json, [one for name in ours for c in args.connections for one in figures(name, others, c, best)])


def figures(ours: str, others: list[str], connections: int, best: dict[tuple[str, int], Measured]) -> Iterator[Figure]:
    """Yield the rate and, at one connection, the time of one request."""
    label = ours.removeprefix("p2l").strip(" ,") or "random choice"
    at = f"router, instant upstream, {label}, {connections} connections"
    rates = {name: best[name, connections].rate for name in others}
    yield Figure(at, "requests/s", best[ours, connections].rate, rates)
    if connections == 1:
        yield Figure(f"{at}: p50", "ms", best[ours, 1].p50, {name: best[name, 1].p50 for name in others})


def show(names: list[str], best: dict[tuple[str, int], Measured], numbers: list[int]) -> None:
    """Print a line for each server and number of connections, then the ratio of this router to the others."""
    print(f"{'':20} {'conn.':>5} {'req/s':>8} {'p50 ms':>8} {'p99 ms':>8} {'CPU ms':>7} {'errors':>6}")
    for name in names:
        for connections in numbers:
            got = best[name, connections]
            figures = f"{got.rate:8.0f} {got.p50:8.2f} {got.p99:8.2f} {got.cpu:7.2f} {got.errors:6d}"
            print(f"{name:20} {connections:5d} {figures}")
    own = [name for name in names if name.startswith("p2l")]
    fewest = min(numbers)
    added = (f"{name} {best[name, fewest].p50 - best['upstream itself', fewest].p50:.2f}" for name in own)
    print(f"\np50 added at {fewest} connections, ms: {'; '.join(added)}")
    for ours in own:
        for name in names[1 + len(own) :]:
            if name.startswith("before") and name.endswith("scores") != ours.endswith("scores"):
                continue
            ratios = [f"{best[ours, c].rate / best[name, c].rate:.1f}x" for c in numbers]
            print(f"{ours} over {name}: {', '.join(ratios)} at {', '.join(map(str, numbers))} connections")


if __name__ == "__main__":
    main()
