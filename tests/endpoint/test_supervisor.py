"""What the supervisor and a worker do when a model cannot be loaded or a worker keeps dying."""

import logging
import subprocess
import sys
import time

from p2l.endpoint.settings import Settings
from p2l.endpoint.supervisor import Supervisor, listen
from p2l.endpoint.worker import Worker

HERE = {"host": "127.0.0.1", "port": 0}


def test_a_checkpoint_that_is_not_there_is_said_in_one_line(tmp_path, caplog):
    settings = Settings(model_path=str(tmp_path / "nowhere"), cuda=False, **HERE)
    with listen("127.0.0.1", 0) as listening:
        assert Worker(settings, listening, wait=True).run() == 2
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "no model folder at" in record.message and record.exc_info is None


class Scripted(Supervisor):
    """Its workers are one-line programs."""

    def __init__(self, *programs: str, workers: int = 1) -> None:
        super().__init__(Settings(workers=workers, **HERE))
        self.programs = list(programs)
        self.starts: list[float] = []

    def _start(self, slot, metrics):
        self.starts.append(time.monotonic())
        slot.started = time.monotonic()
        program = self.programs.pop(0) if self.programs else "import sys; sys.exit(2)"
        slot.process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, text=True)


def test_bad_options_end_the_server_with_status_2():
    assert Scripted().run() == 2


def test_a_worker_that_dies_is_started_again_at_growing_intervals():
    supervisor = Scripted(*["import os; os.abort()"] * 3)
    assert supervisor.run() == 2
    waits = [late - early for early, late in zip(supervisor.starts, supervisor.starts[1:])]
    assert len(waits) == 3 and waits[2] > waits[1] + 0.5 > waits[0]
