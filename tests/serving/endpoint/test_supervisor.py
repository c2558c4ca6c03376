"""What the supervisor and a worker do when a model cannot be loaded or a worker keeps dying."""

import logging
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import requests
import torch

from p2l.models import save_checkpoint
from p2l.serving.endpoint.endpoint_settings import Settings
from p2l.serving.endpoint.supervisor import Supervisor, listen
from p2l.serving.endpoint.worker import DEVICE_LOST, Worker

HERE = {"host": "127.0.0.1", "port": 0}


def test_a_checkpoint_that_is_not_there_is_said_in_one_line(tmp_path, caplog):
    settings = Settings(model_path=str(tmp_path / "nowhere"), cuda=False, **HERE)
    with listen("127.0.0.1", 0) as listening:
        assert Worker(settings, listening, wait=True, sign=tmp_path / "ready").run() == 2
    assert not (tmp_path / "ready").exists()
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "no model folder at" in record.message and record.exc_info is None


def test_a_worker_whose_accelerator_fails_answers_and_ends(tiny_checkpoint, tmp_path):
    folder, sign = save_checkpoint(tmp_path / "checkpoint", tiny_checkpoint), tmp_path / "ready"
    answers = []

    def broken(ids):
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    with listen("127.0.0.1", 0) as listening:
        worker = Worker(Settings(model_path=str(folder), cuda=False, **HERE), listening, wait=True, sign=sign)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/predict"

        def ask():
            while not sign.exists():
                time.sleep(0.01)
            worker._service.batcher.predictor.forward = broken
            answers.append(requests.post(url, json={"prompt": ["hi"]}, timeout=30).status_code)

        asking, handler = threading.Thread(target=ask), signal.getsignal(signal.SIGTERM)
        asking.start()
        try:
            assert worker.run() == DEVICE_LOST
        finally:
            signal.signal(signal.SIGTERM, handler)  # a worker has a process of its own elsewhere
        asking.join()
    assert answers == [500]


FAILS = "import sys; sys.exit(2)"
SLEEPS = "import time; time.sleep(60)"


class Scripted(Supervisor):
    """Its workers are one-line programs, which find the file to make when they are ready in ``sys.argv[1]``."""

    def __init__(self, *programs: str, workers: int = 1) -> None:
        super().__init__(Settings(workers=workers, **HERE))
        self.programs = list(programs)
        self.starts: list[float] = []
        self.most_starts = 10

    def _start(self, slot, folder):
        self.starts.append(time.monotonic())
        slot.sign = Path(folder) / f"ready-{len(self.starts)}"
        program = self.programs.pop(0) if self.programs else FAILS
        command = [sys.executable, "-c", program, str(slot.sign)]
        slot.process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True)
        if len(self.starts) == self.most_starts:
            self._stopping.set()


def test_bad_options_end_the_server_with_status_2():
    assert Scripted().run() == 2


def test_a_worker_that_dies_is_started_again_at_growing_intervals():
    supervisor = Scripted(*["import os; os.abort()"] * 3)
    assert supervisor.run() == 2
    waits = [late - early for early, late in zip(supervisor.starts, supervisor.starts[1:])]
    assert len(waits) == 3 and waits[2] > waits[1] + 0.5 > waits[0]


def test_workers_that_fail_in_turns_end_the_server_too():
    slow = "import sys, time; time.sleep(0.6); sys.exit(2)"
    supervisor = Scripted(FAILS, slow, SLEEPS, workers=2)
    assert supervisor.run() == 2
    assert len(supervisor.starts) == 3


def test_a_failure_after_the_model_was_served_is_tried_again():
    serves = "import os, pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(0.5); os.abort()"
    supervisor = Scripted(serves, FAILS, FAILS)
    supervisor.most_starts = 4
    assert supervisor.run() == 0
    assert len(supervisor.starts) == 4
