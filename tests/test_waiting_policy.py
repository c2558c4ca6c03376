"""Commands put the threads of torch to sleep while they wait, servers let them spin; a policy of the user stays."""

import os
import subprocess
import sys

import pytest

from p2l.serving.endpoint.endpoint_settings import Settings
from p2l.serving.endpoint.endpoint_supervisor import worker_environment
from p2l.waiting_policy import FINER, POLICY, SHORT_SPIN, SLEEP, waiting_policy
from tests.running import ROOT

CHOSEN = (POLICY, *FINER)
SPINS = "GOMP_SPINCOUNT"  # GNU OpenMP prints how often a thread looks before it sleeps: 300000 by default


def spins_of(*arguments: str, **environment: str) -> int:
    """Return the number of spins that OpenMP reports when a process loads torch."""
    clean = {name: value for name, value in os.environ.items() if name not in CHOSEN}
    found = subprocess.run(
        [sys.executable, *arguments],
        env={**clean, "PYTHONPATH": str(ROOT), "OMP_DISPLAY_ENV": "verbose", **environment},
        text=True,
        capture_output=True,
    )
    if SPINS not in found.stderr:
        pytest.skip("this torch has an OpenMP that does not print its spins")
    return next(int(line.split("=")[1].strip(" '")) for line in found.stderr.splitlines() if SPINS in line)


@pytest.mark.parametrize(
    ("environment", "allowed"),
    [({}, range(1)), ({POLICY: "active"}, range(10**9, 10**12)), ({SPINS: "500"}, range(500, 501))],
)
def test_a_command_loads_torch_with_the_policy(environment: dict[str, str], allowed: range, tmp_path) -> None:
    ends_after_imports = ("-m", "p2l", "leaderboard", "votes=nowhere.csv", f"output_dir={tmp_path}")
    assert spins_of(*ends_after_imports, **environment) in allowed


def test_the_router_sets_it_before_it_loads_torch() -> None:
    program = "from p2l.routing.openai_server import main; import sys, atexit; sys.argv = ['router', '--help']"
    assert spins_of("-c", f"{program}; atexit.register(__import__, 'torch'); main()") == 30_000


def test_workers_of_the_endpoint_get_it() -> None:
    assert worker_environment(Settings(), {}).items() >= SHORT_SPIN.items()


@pytest.mark.parametrize("name", CHOSEN)
def test_a_policy_of_the_user_stays(name: str) -> None:
    assert waiting_policy({name: "1"}, SLEEP) == waiting_policy({name: "1"}, SHORT_SPIN) == {}
    assert worker_environment(Settings(), {name: "1"}).keys() & set(CHOSEN) == {name}
