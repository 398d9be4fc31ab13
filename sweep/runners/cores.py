"""How many cores this process may use: fewer than the machine has, where it is bound to some, or given a share."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

GROUPS_OF_THIS, GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def usable_cores(groups_of_this: Path = GROUPS_OF_THIS, groups: Path = GROUPS) -> int:
    """At least 1. Of the cores that the process is bound to (`taskset`, a batch queue), as many as its control groups'
    quota pays for, rounded down (a container's `--cpus`, a pod's limit): more trainers would wait for each other.

    groups_of_this, groups: where Linux says what groups the process is in, and what they may use, in version 1 or 2.
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.floor(min([bound, *_quotas(groups_of_this, groups)])))


def _quotas(groups_of_this: Path, groups: Path) -> Iterator[float]:
    """Cores that each group of this process, and each around it, may use; a group without a limit is left out. In a
    container its own group may be the root of what is mounted, whatever its name outside.
    """
    try:
        lines = groups_of_this.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        controllers, _, name = line.partition(":")[2].partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        parts = [part for part in name.split("/") if part not in ("", "..")]
        for root in (groups / (controllers or "."), groups / ("cpu" if controllers else "unified")):
            for depth in range(len(parts) + 1):
                yield from _quota(root.joinpath(*parts[:depth]))


def _quota(group: Path) -> Iterator[float]:
    """Of one group, where it is there and has one: microseconds of a core in a period of microseconds."""
    try:
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota, period = ((group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        if quota != "max" and int(quota) > 0:
            yield int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # not there, or not what Linux writes
        return
