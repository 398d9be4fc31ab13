"""How many cores this process may use, which may be fewer than the machine has."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

GROUPS_OF_THIS, GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def usable_cores(groups_of_this: Path = GROUPS_OF_THIS, groups: Path = GROUPS) -> int:
    """The number of cores that this process may use, at least 1: those that it is bound to (`taskset`, a batch queue),
    and at most as many as the quota of its control groups allows (`--cpus` of a container, the limit of a pod), rounded
    down. More trainers than that would wait for each other.

    groups_of_this: the file in which Linux lists the control groups of this process. groups: the folder in which it
    tells what each may use, in version 1 or 2.
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.floor(min([bound, *_quotas(groups_of_this, groups)])))


def _quotas(groups_of_this: Path, groups: Path) -> Iterator[float]:
    """How many cores each control group of this process and each group around it may use. Groups without a limit are
    left out. In a container the process's group may be the root of what is mounted, whatever its name is outside.
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
    """The quota of one group in cores, where the group exists and has one. Linux writes it as microseconds of a core's
    time and the period, in microseconds, in which they may be used.
    """
    try:
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota, period = ((group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        if quota != "max" and int(quota) > 0:
            yield int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # the files are missing, or not what Linux writes
        return
