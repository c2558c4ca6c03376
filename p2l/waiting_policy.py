"""How the threads of torch wait for each other: asleep, so that p2l uses no more than its share of a busy machine.

OpenMP reads the policy when torch is loaded, so it is set before. By default its threads spin for milliseconds at the
end of every parallel region. On a machine with another busy process each region then waits for a thread that the
scheduler has suspended, while the others burn its time: training takes several times its CPU seconds. Asleep, one
prompt alone took no longer on a busy machine; an idle one was not measured. LOG.md has the measurements.
"""

from collections.abc import Mapping, MutableMapping

# GNU and LLVM OpenMP read the first; the others are their own ways to say the same
POLICY, FINER = "OMP_WAIT_POLICY", ("GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def waiting_policy(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables to set before torch is loaded: none if the environment already has a policy."""
    return {} if any(name in environment for name in (POLICY, *FINER)) else {POLICY: "PASSIVE"}


def set_waiting_policy(environment: MutableMapping[str, str]) -> None:
    """Set the policy of a process that has not loaded torch yet, and of those that it starts."""
    environment.update(waiting_policy(environment))
