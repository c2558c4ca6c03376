"""The command itself with two workers: they share budgets, reload together, and stop when asked."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml

from tests.ports import free_port
from tests.running import ROOT
from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import Reply, Seen, completion, delta, model, stream

LIMITED, FREE = "sk-limited-0000", "sk-free-0000"


@dataclass
class Command:
    """A running server of two workers."""

    process: "subprocess.Popen[str]"
    url: str
    folder: Path

    def chat(self, key: str, **fields: object) -> httpx.Response:
        """One request on a connection of its own, so that either worker may get it."""
        headers = {"authorization": f"Bearer {key}", "connection": "close"}
        body = {"messages": [{"role": "user", "content": "hi"}], **fields}
        return httpx.post(f"{self.url}/v1/chat/completions", json=body, headers=headers, timeout=60)

    def metrics(self) -> str:
        return httpx.get(f"{self.url}/metrics").text

    def models(self) -> set[str]:
        headers = {"authorization": f"Bearer {FREE}", "connection": "close"}
        return {entry["id"] for entry in httpx.get(f"{self.url}/v1/models", headers=headers).json()["data"]}


def answer(seen: Seen) -> Reply:
    if not seen.body.get("stream"):
        return Reply(body=completion())
    return stream(*[delta("x")] * 20, delta(finish="stop"), pause=0.2)


@pytest.fixture
def command(start: Starter, tmp_path: Path) -> Iterator[Command]:
    url = start.upstream(answer).url
    config = {
        "model_configs": {"dear": model(url, 3.0), "cheap": model(url, 1.0)},
        "keys": [{"name": "limited", "key": LIMITED, "budget": 10.0}, {"name": "free", "key": FREE}],
        "router": {"mean_cost": 1.5},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    port = free_port()
    options = ["--router-type", "random", "--workers", "2", "--host", "127.0.0.1", "--port", str(port)]
    files = ["-c", str(tmp_path / "config.yaml"), "--state", str(tmp_path / "state.sqlite")]
    line = [sys.executable, "-m", "p2l.routing.openai_server", *files, *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(line, env=environment, stderr=log, text=True)
        running = Command(process, f"http://127.0.0.1:{port}", tmp_path)
        try:
            until(lambda: (tmp_path / "log").read_text().count('"starting"') == 2 and is_ready(running), process, 180)
            yield running
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def until(is_so: Callable[[], bool], process: "subprocess.Popen[str]", seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)


def is_ready(command: Command) -> bool:
    try:
        return httpx.get(f"{command.url}/ready", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.mark.slow
def test_two_workers(command: Command) -> None:
    log = command.folder / "log"
    statuses = [command.chat(LIMITED, model="cheap").status_code for _ in range(14)]
    assert statuses == [200] * 10 + [429] * 4
    costs = [float(command.chat(FREE).headers["x-p2l-cost"]) for _ in range(60)]
    assert sum(costs) <= 1.5 * (60 + 10) and set(costs) == {1.0, 3.0}
    with sqlite3.connect(command.folder / "state.sqlite") as state:
        assert state.execute("SELECT target, count, spent FROM streams").fetchall() == [(1.5, 60, sum(costs))]
    assert 'p2l_router_choices_total{model="cheap"}' in command.metrics()
    reload_both(command)
    stop_while_a_stream_goes_on(command)
    logged = log.read_text()
    assert logged.count('"starting"') == 2  # no worker died or was restarted
    assert '"message":"answered"' in logged and "sk-" not in logged


@contextmanager
def stream_under_way(command: Command) -> Iterator[Iterator[str]]:
    """The lines of a streamed answer after its first."""
    headers = {"authorization": f"Bearer {FREE}"}
    body = {"messages": [{"role": "user", "content": "hi"}], "stream": True, "model": "cheap"}
    with httpx.stream("POST", f"{command.url}/v1/chat/completions", json=body, headers=headers, timeout=60) as answer:
        lines = answer.iter_lines()
        next(lines)
        yield lines


def stop_while_a_stream_goes_on(command: Command) -> None:
    """New connections are refused at once, and the stream ends as it should."""
    with stream_under_way(command) as lines:
        command.process.send_signal(signal.SIGTERM)
        time.sleep(1.0)
        began = time.monotonic()
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{command.url}/health", timeout=10)
        assert time.monotonic() - began < 2.0
        assert list(lines)[-2] == "data: [DONE]"
    assert command.process.wait(60) == 0


def reload_both(command: Command) -> None:
    """SIGHUP reaches both workers, and a stream goes on."""
    with stream_under_way(command) as lines:
        command.process.send_signal(signal.SIGHUP)
        until(lambda: 'p2l_router_reloads_total{result="done"} 2.0' in command.metrics(), command.process, 30)
        config = yaml.safe_load((command.folder / "config.yaml").read_text())
        config["model_configs"]["new"] = config["model_configs"].pop("dear")
        (command.folder / "config.yaml").write_text(yaml.safe_dump(config))
        command.process.send_signal(signal.SIGHUP)
        until(lambda: all("new" in command.models() for _ in range(20)), command.process, 30)
        rest = list(lines)
    assert rest[-2] == "data: [DONE]" and sum('"content":"x"' in line for line in rest) >= 19
