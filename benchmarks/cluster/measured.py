"""Measures scenarios, one after another, on one cluster."""

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.cluster.comparisons import COMPARISONS, right_table
from benchmarks.cluster.disturbances import DISTURBANCES, RAYLET, nothing
from benchmarks.cluster.laws import HEAD, Found, Table
from benchmarks.cluster.sweeps import TRIALS, WORKERS, Cluster

TRIALS_OF = {
    **{name: 64 for name in ("kill", "trainer", "drain", "cut-20", "join")},
    **{"cut-60": 80, "cut-180": 144},  # so that the sweep goes on when the link is there again
}
TIMES_A_SWEEP = {"kill": 5, "trainer": 5, "drain": 3, "cut-20": 3, "cut-60": 2}  # that it is disturbed; others: once
LONGEST_WAIT_SECONDS = 12.0  # from when a sweep trains, or was disturbed, to the next time
TRIES = 3  # for each time that a sweep is to be disturbed, because some end before
SCENARIOS = [*DISTURBANCES, *COMPARISONS]


class Measured:
    """The scenarios on a cluster. keep: see `--keep`."""

    def __init__(self, cluster: Cluster, keep: Path | None = None) -> None:
        self.cluster, self._keep = cluster, keep
        self._right: Table | None = None

    def table(self, wanted: Sequence[tuple[str, int]]) -> bool:
        """Measures each scenario so often and prints the table. Whether no law was broken."""
        whole = True
        print(HEAD, flush=True)
        for name, times in wanted:
            found = self.measure(name, times)
            whole &= found.whole
            print(found.line(name), flush=True)
        return whole

    def measure(self, name: str, times: int) -> Found:
        """Measures one scenario."""
        if name == "formulas":  # which trains nothing
            found = Found()
            COMPARISONS[name](self.cluster, found)
            return found
        if self._right is None:
            self._right = right_table(self.cluster)
        found = Found(self._right)
        if name in COMPARISONS:
            for _ in range(times):
                COMPARISONS[name](self.cluster, found)
            return found
        for _ in range(TRIES * times):
            self._disturbed(name, found, min(TIMES_A_SWEEP.get(name, 1), times - found.disturbed))
            if found.disturbed == times:
                break
        return found

    def _disturbed(self, name: str, found: Found, times: int) -> None:
        """One sweep that is disturbed so often, at random moments. One that ends before the first does not count."""
        cluster, disturb, before = self.cluster, DISTURBANCES[name], found.faults
        cluster.fall(*[host for host in cluster.standing if not cluster.pids(host, RAYLET)])
        cluster.stand(*WORKERS[: 1 if name == "join" else None])
        sweep, moments = cluster.sweep(trials=TRIALS_OF.get(name, TRIALS)), list[str]()
        sweep.wait_for(lambda: sweep.cohorts)
        for _ in range(times):
            until = sweep.seconds + cluster.chance.uniform(0, LONGEST_WAIT_SECONDS)
            if disturb is not nothing and not sweep.wait_for(lambda until=until: sweep.seconds >= until):
                break
            moments.append(f"{sweep.seconds:.0f} s ({len(sweep.rows)} rows)")
            disturb(cluster, sweep, found)
        found.disturbed += len(moments)
        if not moments:
            sweep.wait()
            return
        found.count(sweep)
        again = ", ".join(f"{seconds:.1f}" for seconds in found.again)
        _note(f"{name} at {', '.join(moments)}; took {found.seconds[-1]:.0f} s; all that was trained again: {again}")
        if found.faults != before:
            _note(f"broken: {before} became {found.faults}\n{sweep.words[-4000:]}")
            self._put_aside(f"{name}-{found.codes.total()}")

    def _put_aside(self, name: str) -> None:
        """Keeps the runs and Ray's logs."""
        if self._keep is not None:
            (self._keep / name).mkdir(parents=True)
            subprocess.run(["cp", "-a", f"{self.cluster.hosts.folder}/.", self._keep / name], check=False)


def _note(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S', time.gmtime())} {line}", file=sys.stderr, flush=True)
