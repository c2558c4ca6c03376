"""Scripts of this repository, run by processes that are forked from one which has imported torch already.

A script that starts from nothing spends most of its time in imports. ``tests.running.start_process`` is for tests that
need such a start.
"""

import logging
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from multiprocessing.connection import wait
from pathlib import Path

from tests.ranks import context


class ForkedScript:
    """A running script, with the methods of ``subprocess.Popen`` that the tests use."""

    def __init__(self, path: Path, arguments: tuple[str, ...], environment: Mapping[str, str]) -> None:
        descriptor, name = tempfile.mkstemp(prefix="script-", suffix=".log")
        os.close(descriptor)
        self._log = Path(name)
        self._process = context.Process(target=_run, args=(self._log, path, arguments, dict(environment)), daemon=False)
        self._process.start()

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()

    def terminate(self) -> None:
        self._process.terminate()

    @property
    def sentinel(self) -> int:
        """What ``multiprocessing.connection.wait`` waits for: ready when the script has ended."""
        return self._process.sentinel

    def communicate(self, timeout: float = 180) -> tuple[str, None]:
        """All output, once the script has ended; ``subprocess.TimeoutExpired`` if it does not end in time."""
        if not wait([self._process.sentinel], timeout):
            self.kill()
            raise subprocess.TimeoutExpired(str(self._log), timeout, self._log.read_text(errors="replace"))
        self._process.join()
        output = self._log.read_text(errors="replace")
        self._log.unlink()
        return output, None


def _run(log: Path, path: Path, arguments: tuple[str, ...], environment: dict[str, str]) -> None:
    """Become the script: its output, its environment and its arguments, on one thread."""
    import torch

    with log.open("w") as output, open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    os.environ.clear()
    os.environ |= environment
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    sys.path[:0] = environment.get("PYTHONPATH", "").split(os.pathsep)
    sys.argv = [str(path), *arguments]
    logging.root.handlers.clear()
    torch.set_num_threads(1)
    try:
        runpy.run_path(str(path), run_name="__main__")
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
