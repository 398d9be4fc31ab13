"""Sweeps that are compared: on two hosts and on one, of two users at once, and of formulas on one host and on three."""

import os
import re
import sys
import time

from benchmarks.cluster.laws import Found, Table, differing, measured
from benchmarks.cluster.sweeps import WORKERS, Cluster, Sweep
from results.table import ResultsTable

ELSEWHERE = ["seconds", "elapsed_seconds", "node"]
USERS = {3: 20_001, 4: 20_002}  # host -> the user whose it is
FORMULA_TRIALS, FORMULA_LANES = 2_000, 16
SLOTS = {"one host": {0: 8}, "three hosts": {0: 2, 1: 3, 2: 3}}  # host -> its CPUs
SLOWEST = 1.2  # three hosts against one
MOST_KILOBYTES = {"study": 16.0, "driver": 8.0}  # a trial; the study has all rows and Optuna's trials in memory


def right_table(cluster: Cluster) -> Table:
    """What a table says of the first TRIALS trials at all rungs, by a sweep that prunes none, on one host without a
    cluster.
    """
    sweep = cluster.sweep("--local", "--set", "ladder.keep_fraction=1.0", alone=True)
    if sweep.wait() != 0:
        raise RuntimeError(f"the sweep without a cluster failed: {sweep.words[-2000:]}")
    return measured(sweep.rows)


def alone(cluster: Cluster, found: Found) -> None:
    """Two hosts without a shared folder against one host with as many slots; and the same of one slot, bit for bit."""
    cores = len(os.sched_getaffinity(0))
    for slots in (1, 2):
        cluster.stand(*WORKERS[:slots])
        apart = cluster.sweep()
        found.count(apart)
        here = cluster.sweep("--set", f"resources.cpus_per_cohort={cores // slots}", alone=True)
        found.count(here)
        tables = [ResultsTable.load(sweep.folder.path).frame.drop(columns=ELSEWHERE) for sweep in (apart, here)]
        if slots == 1 and not tables[0].equals(tables[1]):
            found.broken.append("with one slot the tables are not equal bit for bit")
        if _trials(apart) != _trials(here):
            found.broken.append(f"with {slots} slots the trials are not the same")
        if differing(measured(apart.rows), measured(here.rows)):
            found.broken.append(f"with {slots} slots rows of the same trial and rung differ")
        hosts = ", ".join(sorted({row["node"] for row in apart.rows}))
        found.remarks.append(f"{slots} of {hosts}: {len(apart.rows)} rows, {len(here.rows)} on one host")


def _trials(sweep: Sweep) -> set[tuple]:
    """The trials with their hyperparameters."""
    kept = ("trial", "seed", "lane.", "structure.")
    return {tuple((key, value) for key, value in row.items() if key.startswith(kept)) for row in sweep.rows}


def two(cluster: Cluster, found: Found) -> None:
    """Two sweeps at once."""
    cluster.stand(*WORKERS)
    for sweep in [cluster.sweep(), cluster.sweep()]:
        found.count(sweep)


def users(cluster: Cluster, found: Found) -> None:
    """Two sweeps at once by two users, each on a host of their own, with a umask that lets nobody else read."""
    for host, user in USERS.items():
        if host not in cluster.standing:
            cluster.start(host, cpus=0, private=False, user=user)
    cluster.stand(*WORKERS, *USERS)
    sweeps = {host: cluster.sweep(host=host, user=user) for host, user in USERS.items()}
    for host, sweep in sweeps.items():
        sweep.wait_for(lambda sweep=sweep: sweep.rows)
        _look_into(cluster, host, sweep, found, "in the middle")
    for host, sweep in sweeps.items():
        found.count(sweep)
        _look_into(cluster, host, sweep, found, "in the end")


def _look_into(cluster: Cluster, owner: int, sweep: Sweep, found: Found, when: str) -> None:
    """What of a run its owner cannot read, and another user can."""
    for host, user in USERS.items():
        wanted = ["!", "-readable"] if host == owner else ["-readable"]
        listed = cluster.hosts.run(host, "find", sweep.folder.path, *wanted, user=user).stdout.split()
        if listed:
            found.broken.append(
                f"{when} the {'owner cannot' if host == owner else 'other can'} read {len(listed)} files"
            )


def formulas(cluster: Cluster, found: Found) -> None:
    """A sweep that trains nothing, with eight slots on one host and on three."""
    seconds = {}
    for name, slots in SLOTS.items():
        cluster.fall(*cluster.standing)
        for host, cpus in slots.items():
            cluster.start(host, cpus)
        began = time.monotonic()
        done = cluster.hosts.run(
            0, sys.executable, "-m", "benchmarks.formulas", "--address", cluster.hosts.ray, "--trials",
            str(FORMULA_TRIALS), "--lanes", str(FORMULA_LANES), seconds=900, env=cluster.env(0),
        )  # fmt: skip
        took = re.search(r": ([0-9.]+) s;", done.stdout)
        if done.returncode or took is None:
            found.broken.append(f"on {name}, exit code {done.returncode}: {done.stderr[-500:]}")
            continue
        found.ended, found.codes[0] = found.ended + 1, found.codes[0] + 1
        found.seconds.append(time.monotonic() - began)
        seconds[name] = float(took[1])
        memory = re.findall(r"(driver|study) +MB, a quarter +(\d+), end +(\d+)", done.stdout)
        grown = ", ".join(f"{kind} {early} and {late} MB" for kind, early, late in memory)
        found.remarks.append(f"{name}: {seconds[name]:.1f} s, at a quarter and in the end {grown}")
        since_a_quarter = 0.75 * FORMULA_TRIALS
        for kind, early, late in memory:
            kilobytes = 1000 * (int(late) - int(early)) / since_a_quarter
            line = f"{kind} grows by {kilobytes:.0f} kB a trial"
            (found.broken if kilobytes > MOST_KILOBYTES[kind] else found.remarks).append(line)
        found.broken += [] if len(memory) == 2 else ["memory was not seen"]
    cluster.fall(*cluster.standing)
    if len(seconds) == len(SLOTS):
        ratio = seconds["three hosts"] / seconds["one host"]
        found.remarks.append(f"ratio {ratio:.2f}")
        found.broken += [f"ratio above {SLOWEST}"] if ratio > SLOWEST else []


COMPARISONS = {"alone": alone, "two": two, "users": users, "formulas": formulas}
