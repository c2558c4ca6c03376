"""The supervisor of the endpoint's workers."""

import os
import re
import sys

from p2l.serving.endpoint.endpoint_settings import Settings
from p2l.serving.http.supervisor import Supervisor, WorkerProgram, listen
from p2l.waiting_policy import SHORT_SPIN, waiting_policy

SHUTDOWN_SECONDS = 5.0  # beyond the time that a response may take
# Libraries read these when they are loaded, so that they cannot be set later.
WORKER_DEFAULTS = {
    # oneDNN and torch keep kernels (half a megabyte each) for the last 1024 shapes. With prompts of all lengths a shape
    # seldom comes twice, and a worker grew by 2 MB a batch.
    "LRU_CACHE_CAPACITY": "64",
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64",
}


def make_supervisor(settings: Settings) -> Supervisor:
    """Listen on the address of the settings, for as many workers as they name; ConfigError if it is taken."""
    command = (sys.executable, "-m", "p2l.serving.endpoint.endpoint_worker")
    program = WorkerProgram(command, settings.to_json(), worker_environment(settings, os.environ.copy()))
    return Supervisor(
        listen(settings.host, settings.port),
        program,
        workers=settings.workers,
        stop_seconds=settings.timeout + SHUTDOWN_SECONDS,
        reload=settings.reload,
    )


def worker_environment(settings: Settings, environment: dict[str, str]) -> dict[str, str]:
    """Return a worker's environment: its share of the cores, and, unless they are set, the other defaults."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    given = re.match(r"\s*(\d+)", environment.get("OMP_NUM_THREADS", ""))  # may be "4,2": nested parallel regions
    threads = settings.threads or (int(given[1]) if given else max(1, cores // settings.workers))
    return {
        **WORKER_DEFAULTS,
        **waiting_policy(environment, SHORT_SPIN),
        **environment,
        "OMP_NUM_THREADS": str(threads),
    }
