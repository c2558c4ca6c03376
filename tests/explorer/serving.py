"""Run ``scripts/explore.py`` in its own process and call it over HTTP like the page in a browser."""

import json
import queue
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests

from tests.ports import free_port
from tests.running import start_process

SECONDS = 90


@dataclass(frozen=True)
class Page:
    """A served page."""

    url: str

    def ask(self, name: str, *values: Any, session: str) -> list[Any] | None:
        """Return the result of a call, or None if it fails; a session keeps its ranked prompts."""
        call = f"{self.url}/gradio_api/call/{name}"
        asked = requests.post(call, json={"data": values, "session_hash": session}, timeout=SECONDS)
        asked.raise_for_status()
        answer = requests.get(f"{call}/{asked.json()['event_id']}", timeout=SECONDS).text
        event, data = answer.strip().split("\n\n")[-1].split("\n")
        return json.loads(data.removeprefix("data: ")) if event == "event: complete" else None


@contextmanager
def explore(*arguments: str) -> Iterator[Page]:
    """Start a page, and stop it at the end."""
    port = free_port()
    process = start_process(*arguments, f"port={port}", script="explore")
    try:
        _wait_until_up(process)
        yield Page(f"http://127.0.0.1:{port}")
    finally:
        process.kill()
        process.communicate()


def _wait_until_up(process: "subprocess.Popen[str]") -> None:
    up: queue.Queue[bool] = queue.Queue()
    lines: list[str] = []

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if "the explorer is at" in line:
                up.put(True)
                return  # little follows
        up.put(False)

    threading.Thread(target=read, daemon=True).start()
    try:
        assert up.get(timeout=SECONDS), "".join(lines)
    except queue.Empty:
        raise AssertionError("".join(lines)) from None
