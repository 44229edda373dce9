"""How many cores there are to work on. Needs nothing: it is shipped inside the served model."""

from __future__ import annotations

import os


def usable_cpus() -> int:
    """Cores that this process may run on: taskset, a cpuset or SLURM may leave it a few of all."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    # macOS and Windows do not hold a process to some of their cores.
    return os.cpu_count() or 1
