"""Batches get as many threads as there are cores that no other process uses."""

import os
import subprocess
import sys
import time

import pytest

from p2l.serving.batching.idle_cores import IdleCores, Usage, read_usage, share_of, threads_for


class Machine:
    """Four cores whose use a test sets: by this process and by others."""

    def __init__(self) -> None:
        self.now, self.own, self.others = 100.0, 7.0, 50.0

    def run(self, seconds: float, own: float = 0.0, others: float = 0.0) -> None:
        self.now += seconds
        self.own += own * seconds
        self.others += others * seconds

    def count(self, idle: IdleCores, seconds: float = 1.0, own: float = 0.0, others: float = 0.0) -> int:
        self.run(seconds, own, others)
        return idle.count()

    def cores(self) -> IdleCores:
        return IdleCores(lambda: Usage(self.own + self.others, self.own, 4), lambda: self.now)


def test_cores_that_others_use_are_not_idle() -> None:
    machine = Machine()
    idle = machine.cores()
    assert idle.count() == 4
    assert machine.count(idle, own=4.0) == 4
    assert machine.count(idle, others=0.2) == 4
    assert machine.count(idle, own=2.0, others=1.0) == 3
    assert machine.count(idle, others=1.4) == 2
    assert machine.count(idle, own=0.1, others=3.9) == 1
    assert machine.count(idle, others=4.0) == 1
    assert machine.count(idle) == 4


def test_a_short_time_is_not_judged() -> None:
    machine = Machine()
    idle = machine.cores()
    assert machine.count(idle, seconds=0.15, others=4.0) == 4
    assert machine.count(idle, seconds=0.15, others=4.0) == 1
    assert machine.count(idle, seconds=0.15) == 1


@pytest.mark.parametrize(
    ("cores", "side_by_side", "idle", "choices", "threads"),
    [
        (2, 1, 2, (), 2),
        (2, 1, 1, (), 1),
        (2, 2, 2, (), 1),
        (16, 1, 13, (), 13),
        (16, 2, 13, (), 6),
        (4, 1, 16, (), 4),
        (16, 1, 13, (1, 8, 16), 8),
        (16, 2, 13, (1, 8, 16), 1),
        (16, 2, 1, (1, 8, 16), 1),
    ],
)
def test_threads_of_a_batch(cores: int, side_by_side: int, idle: int, choices: tuple[int, ...], threads: int) -> None:
    assert threads_for(cores, side_by_side, idle, choices) == threads
    assert share_of(cores, 2) == max(1, cores // 2)


def test_this_process_and_another_are_told_apart() -> None:
    program = "import time\nend = time.time() + 20\nwhile time.time() < end: pass"
    with subprocess.Popen([sys.executable, "-c", program]) as other:
        try:
            time.sleep(0.5)
            before, start = read_usage(), time.perf_counter()
            cpu = time.process_time()
            while time.process_time() - cpu < 0.5:
                pass
            after, seconds = read_usage(), time.perf_counter() - start
        finally:
            other.kill()
    own, everybody = after.own - before.own, after.everybody - before.everybody
    assert own == pytest.approx(0.5, abs=0.1)
    assert own + 0.1 * seconds < everybody < after.cores * seconds + 0.2
    assert after.cores == len(os.sched_getaffinity(0))
