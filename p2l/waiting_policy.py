"""How the threads of torch wait for each other, so that p2l uses no more than its share of a busy machine.

OpenMP reads the policy when torch is loaded, so it is set before. By default its threads spin for milliseconds at the
end of every parallel region. On a machine with another busy process each region then waits for a thread that the
scheduler has suspended, while the others burn its time.

- Commands let the threads sleep: long work on all cores, beside whatever else runs.
- Servers spin for a tenth of the default: a prompt alone on an idle machine has hundreds of short regions, and waking a
  thread for each takes longer than the work. They use more threads than one only on idle cores
  (``p2l.serving.batching.idle_cores``). LOG.md has the measurements.
"""

from collections.abc import Mapping, MutableMapping

# GNU and LLVM OpenMP read the first; the others are their own ways to say the same
POLICY, FINER = "OMP_WAIT_POLICY", ("GOMP_SPINCOUNT", "KMP_BLOCKTIME")
SLEEP = {POLICY: "PASSIVE"}
SHORT_SPIN = {"GOMP_SPINCOUNT": "30000"}


def waiting_policy(environment: Mapping[str, str], policy: Mapping[str, str]) -> dict[str, str]:
    """Return the variables to set before torch is loaded: none if the environment already has a policy."""
    return {} if any(name in environment for name in (POLICY, *FINER)) else dict(policy)


def set_waiting_policy(environment: MutableMapping[str, str], policy: Mapping[str, str] = SLEEP) -> None:
    """Set the policy of a process that has not loaded torch yet, and of those that it starts."""
    environment.update(waiting_policy(environment, policy))
