"""``python -m p2l.endpoint`` in processes of its own, for the tests."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from tests.running import ROOT

KEY = "test-key"


@dataclass(frozen=True)
class Endpoint:
    """A running server."""

    url: str
    process: "subprocess.Popen[str]"
    log: Path

    def predict(self, prompt: list[str], key: str = KEY) -> requests.Response:
        return requests.post(f"{self.url}/predict", json={"prompt": prompt}, headers={"api-key": key}, timeout=30)

    def ready(self) -> bool:
        try:
            return requests.get(f"{self.url}/ready", timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def workers(self) -> list[int]:
        """Their process ids, as the log has them."""
        return [line["pid"] for line in self.lines() if line["message"].startswith("ready: ")]

    def lines(self) -> list[dict]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def wait_for(self, condition: Callable[[], bool], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.log.read_text()[-3000:]
            time.sleep(0.05)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Exit status after a signal."""
        self.process.send_signal(number)
        return self.process.wait(60)


def start(folder: Path, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
    """The server's process; its log goes to ``folder``/log."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **environment}
    with (folder / "log").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "p2l.endpoint", "--host", "127.0.0.1", "--port", "0", "--no-cuda", *arguments],
            env=env,
            stdout=subprocess.DEVNULL,
            stderr=log,
            text=True,
        )


@contextmanager
def endpoint(folder: Path, *arguments: str, **environment: str) -> Iterator[Endpoint]:
    """A server that is ready, killed at the end if it still runs."""
    process, log = start(folder, *arguments, **environment), folder / "log"
    try:
        waiting = Endpoint("", process, log)
        waiting.wait_for(lambda: process.poll() is not None or "listening" in log.read_text())
        port = re.search(r"port (\d+)", log.read_text())
        assert port, log.read_text()
        server = Endpoint(f"http://127.0.0.1:{port[1]}", process, log)
        server.wait_for(server.ready)
        yield server
    finally:
        process.kill()
        process.wait()
