"""The endpoint and the router of the README, started by its commands on free ports, for the shown requests."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from tests.docs.sandbox import KEYS
from tests.docs.shown_code import ShownCommand, shown_commands
from tests.ports import free_port
from tests.running import ROOT, script_environment

ENDPOINT_PORT, ROUTER_PORT = "10250", "8000"  # as the pages have them


@dataclass(frozen=True)
class LiveServers:
    """Running servers and their ports."""

    endpoint_port: str
    router_port: str

    def at_these_ports(self, text: str) -> str:
        """Return a command or program with the ports of the pages replaced."""
        return text.replace(f"localhost:{ENDPOINT_PORT}", f"localhost:{self.endpoint_port}").replace(
            f"localhost:{ROUTER_PORT}", f"localhost:{self.router_port}"
        )


@contextmanager
def live_servers(folder: Path) -> Iterator[LiveServers]:
    """Start what the README starts; the ports are the only words that differ."""
    live = LiveServers(str(free_port()), str(free_port()))
    readme = [command for command in shown_commands(ROOT / "README.md") if command.text.startswith("p2l ")]
    endpoint = next(command for command in readme if command.words[1] == "endpoint")
    router = next(command for command in readme if command.words[1] == "router")
    processes = [
        _start(folder, live, endpoint, live.endpoint_port),
        _start(folder, live, router, live.router_port),
    ]
    try:
        for port, process in zip((live.endpoint_port, live.router_port), processes, strict=True):
            _wait_until_ready(port, process)
        yield live
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            process.communicate(timeout=60)


def _start(folder: Path, live: LiveServers, command: ShownCommand, port: str) -> "subprocess.Popen[str]":
    arguments = [live.at_these_ports(word) for word in command.words[1:]]
    with (folder / f"{command.words[1]}.log").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "p2l", *arguments, "--port", port],
            cwd=folder,
            env=script_environment(**KEYS),
            stdout=subprocess.DEVNULL,
            stderr=log,
            text=True,
        )


def _wait_until_ready(port: str, process: "subprocess.Popen[str]", seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, f"{process.args} ended with {process.returncode}"
        try:
            if requests.get(f"http://localhost:{port}/ready", timeout=5).status_code == 200:
                return
        except requests.RequestException:
            pass
        time.sleep(0.1)
    raise TimeoutError(f"{process.args} is not ready after {seconds} s")
