"""What the supervisor does with workers that fail, die, hang and are told to reload."""

import os
import signal
import sys
import threading
import time
from dataclasses import replace

import pytest

from p2l.serving.http.supervisor import Supervisor, WorkerProgram, listen

FAILS = "import sys; sys.exit(2)"
SLEEPS = "import time; time.sleep(60)"


class Scripted(Supervisor):
    """Its workers are one-line programs, which find the file to create when they are ready in ``sys.argv[3]``."""

    def __init__(self, *programs: str, workers: int = 1, **options: object) -> None:
        super().__init__(listen("127.0.0.1", 0), WorkerProgram((), "", os.environ), workers=workers, **options)
        self.programs = list(programs)
        self.starts: list[float] = []
        self.most_starts = 10

    def _start(self, slot, folder):
        self.starts.append(time.monotonic())
        program = self.programs.pop(0) if self.programs else FAILS
        self._program = replace(self._program, command=(sys.executable, "-c", program))
        super()._start(slot, folder)
        if len(self.starts) == self.most_starts:
            self.stop()


@pytest.fixture(autouse=True)
def _handlers_as_they_were():
    """The supervisor sets signal handlers for its process, which here is pytest's."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    handlers = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, handlers, strict=True):
        signal.signal(number, handler)


def test_bad_options_end_the_server_with_status_2():
    assert Scripted().run() == 2


def test_a_worker_that_ends_before_it_takes_its_settings_is_one_that_fails():
    supervisor = Scripted()
    supervisor._program = replace(supervisor._program, settings="x" * 2**20)  # more than a pipe holds
    assert supervisor.run() == 2


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
    serves = "import os, pathlib, sys, time; pathlib.Path(sys.argv[3]).touch(); time.sleep(0.5); os.abort()"
    supervisor = Scripted(serves, FAILS, FAILS)
    supervisor.most_starts = 4
    assert supervisor.run() == 0
    assert len(supervisor.starts) == 4


READY = "import pathlib, sys, time; pathlib.Path(sys.argv[3]).touch(); "


def send(*numbers: signal.Signals, until) -> threading.Thread:
    """Send signals to this process, one after the other, once ``until`` has returned."""

    def wait_and_send() -> None:
        until()
        for number in numbers:
            os.kill(os.getpid(), number)
            time.sleep(0.3)

    thread = threading.Thread(target=wait_and_send)
    thread.start()
    return thread


def test_a_hangup_reaches_the_workers_that_are_ready(tmp_path):
    told = tmp_path / "told"
    notes = f"import signal; signal.signal(signal.SIGHUP, lambda *_: open({str(told)!r}, 'a').write('x')); "
    supervisor = Scripted(*[notes + READY + "[time.sleep(0.1) for _ in range(600)]"] * 2, workers=2, passes_hangup=True)

    def both_ready():
        while not all(slot.seconds_ready is not None for slot in supervisor._slots):
            time.sleep(0.02)

    sending = send(signal.SIGHUP, until=both_ready)
    stopping = threading.Thread(target=lambda: (sending.join(), supervisor.stop()))
    stopping.start()
    assert supervisor.run() == 0
    stopping.join()
    assert told.read_text() == "xx" and len(supervisor.starts) == 2


def test_a_worker_that_does_not_stop_is_killed_after_the_deadline_or_at_a_second_signal():
    hangs = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + READY + "time.sleep(60)"
    for numbers, seconds in (([signal.SIGTERM], 0.2), ([signal.SIGTERM, signal.SIGINT], None)):
        supervisor = Scripted(hangs, stop_seconds=seconds)

        def ready(supervisor=supervisor):
            while supervisor._slots[0].seconds_ready is None:
                time.sleep(0.02)

        start, sending = time.monotonic(), send(*numbers, until=ready)
        assert supervisor.run() == 0
        sending.join()
        assert time.monotonic() - start < 20


def test_a_worker_that_is_not_ready_does_not_delay_the_stop():
    """It would hold the socket open, so that new connections wait for nobody."""
    starting = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    supervisor = Scripted(READY + "time.sleep(60)", starting, workers=2)

    def both_live():
        while not (supervisor._slots[0].seconds_ready is not None and supervisor._slots[1].is_alive):
            time.sleep(0.02)

    start, sending = time.monotonic(), send(signal.SIGTERM, until=both_live)
    assert supervisor.run() == 0
    sending.join()
    assert time.monotonic() - start < 20
