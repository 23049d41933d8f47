"""What a process has used, as Linux tells it."""

import os
import time
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
QUIET_SECONDS = 2.0
QUIET_SHARE = 0.03
"""Share of one CPU below which a process counts as quiet."""


def cpu_seconds(pid: int) -> float:
    """CPU time of a process, in user and system mode."""
    # The name, in brackets, may hold spaces.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident_bytes(pid: int) -> int:
    """Resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"process {pid} has no memory")


def wait_quiet(pid: int, timeout: float = 120.0) -> float:
    """Wait until a process has nothing to do, and return its CPU seconds so far."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        before = cpu_seconds(pid)
        time.sleep(QUIET_SECONDS)
        after = cpu_seconds(pid)
        if after - before <= QUIET_SHARE * QUIET_SECONDS:
            return after
    raise TimeoutError(f"process {pid} is not quiet after {timeout:.0f} s")
