"""The command itself, with two workers: it serves, shares budgets between them, and stops when asked."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import yaml

from tests.routing.server.conftest import Starter
from tests.routing.server.fakes import model
from tests.running import ROOT


@pytest.mark.slow
def test_two_workers(start: Starter, tmp_path: Path) -> None:
    keys = [{"name": "k", "key": "sk-process-0000", "budget": 10.0}]
    config = {"model_configs": {"m": model(start.upstream().url)}, "keys": keys}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--router-type", "random", "--workers", "2", "--host", "127.0.0.1", "--port", str(port)]
    command = [sys.executable, "-m", "p2l.routing.openai_server", "-c", str(tmp_path / "config.yaml"), *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        url = f"http://127.0.0.1:{port}"
        _await(f"{url}/ready", process)
        headers = {"authorization": "Bearer sk-process-0000", "connection": "close"}
        body = {"messages": [{"role": "user", "content": "hi"}]}
        statuses = [httpx.post(f"{url}/v1/chat/completions", json=body, headers=headers).status_code for _ in range(14)]
        assert statuses == [200] * 10 + [429] * 4
        assert 'p2l_router_choices_total{model="m"} 10.0' in httpx.get(f"{url}/metrics").text
    finally:
        process.send_signal(signal.SIGTERM)
        _, logged = process.communicate(timeout=30)
    assert process.returncode == 0
    assert '"message":"answered"' in logged and "sk-process" not in logged


def _await(url: str, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 90
    while True:
        try:
            if httpx.get(url, timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
