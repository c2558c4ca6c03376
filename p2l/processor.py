"""What the processor of this machine can compute."""

import contextlib


def has_bfloat16() -> bool:
    """Return whether the processor has instructions for bfloat16; False if the system does not tell."""
    flags = _cpu_flags()
    return "avx512_bf16" in flags or "bf16" in flags.split()


def _cpu_flags() -> str:
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        return next((line for line in file if line.startswith(("flags", "Features"))), "")
    return ""
