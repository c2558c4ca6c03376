"""A server's process and those that it started, by /proc: their processor time and memory."""

import os
from contextlib import suppress
from pathlib import Path


def children_of(pid: int) -> list[int]:
    """Return the processes that a process started itself, as far as they live."""
    return [child for child, (parent, _) in _processes().items() if parent == pid]


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process and of all below it; 0 if it has ended."""
    processes = _processes()
    return sum(processes[one][1] for one in _family(pid, processes)) / os.sysconf("SC_CLK_TCK")


def largest_mb(pid: int) -> float:
    """Return the memory of the largest process among a process and all below it, in megabytes."""
    pages = (Path(f"/proc/{one}/statm").read_text().split()[1] for one in _family(pid, _processes()))
    return max(map(int, pages)) * os.sysconf("SC_PAGE_SIZE") / 2**20


def _family(pid: int, processes: dict[int, tuple[int, int]]) -> set[int]:
    found: set[int] = {pid} & processes.keys()
    while more := {one for one, (parent, _) in processes.items() if parent in found} - found:
        found |= more
    return found


def _processes() -> dict[int, tuple[int, int]]:
    """Return the parent and the clock ticks of each process."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            found[int(path.parent.name)] = int(fields[1]), int(fields[11]) + int(fields[12])
    return found
