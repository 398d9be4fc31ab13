"""What a sweep on a cluster loses when its hosts fail. The hosts are network namespaces of this machine. Linux, root.

    python -m benchmarks.cluster [--scenarios kill,trainer,drain,cut-20,cut-60,cut-180,join,two] [--times 5] [--seed 0]

Host 0 has Ray's head, no CPU for training, and the driver; hosts 1 and 2 have one CPU each. One sweep of the 8x8 digits
after the other is disturbed once, at a random moment after its first row. A killed or drained host joins again.
Printed is one line a scenario, as Markdown.
"""

import argparse
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from benchmarks.kills import ROOT
from results.store import JsonLines, RunFolder

sys.path.insert(0, str(ROOT / "tests"))  # the hosts are those of the tests, which are no package

from hosts import Hosts, hosts_up  # noqa: E402

SPEC = {
    "name": "cluster",
    "space": {"extends": "digits", "base": {f"structure.{n}_width": 32 for n in ("generator", "discriminator")}},
    "ladder": {"rungs_images": [32_768, 131_072, 393_216], "keep_fraction": 0.5},
    "sampler": "random",
    "scoring": {"samples": 500},
    "execution": "replayed",
    "trials": 24,
    "lanes_per_cohort": 2,
    "tracking": {"tensorboard": False},
}
LONGEST_SECONDS = 600.0  # of one sweep: one that takes longer is counted as hanging, and killed
LONGEST_WAIT_SECONDS = 20.0  # from the first row to what disturbs the sweep
NOTICE_SECONDS = 10  # of a drained host
AGAIN = re.compile(r"cohort \d+ starts again elsewhere from rung \d+, at most (\d+) images are trained again")


@dataclass
class Sweeps:
    """What became of the sweeps of one scenario. again: images that were trained twice, of each lost cohort."""

    ended: int = 0
    codes: Counter[int | None] = field(default_factory=Counter)
    lost: int = 0  # trials without an outcome, and trials that failed
    twice: int = 0  # rows that are there twice
    two_owners: int = 0  # cohorts with rows of two nodes at one rung
    again: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    joined: list[float] = field(default_factory=list)  # seconds until a host that joined had trained to a rung

    def line(self, name: str) -> str:
        """The line of the table."""
        joined = f", joined host's first row after {max(self.joined):.0f} s at most" if self.joined else ""
        return (
            f"| {name} | {self.ended} of {self.codes.total()} | {self.lost} | {self.twice} | {self.two_owners} "
            f"| {sum(self.again)} (most {max(self.again, default=0)}) "
            f"| {statistics.median(self.seconds):.0f} (most {max(self.seconds):.0f}){joined} |"
        )


HEAD = """| scenario | sweeps that ended | trials lost | rows twice | rungs of two owners | images twice | seconds |
|---|---|---|---|---|---|---|"""


@dataclass
class Cluster:
    """Ray on hosts, and the sweeps on it. hosts: 0 has the head; `standing` are those with a worker of Ray."""

    hosts: Hosts
    chance: random.Random
    standing: set[int] = field(default_factory=set)
    run: int = 0

    def stand(self, *wanted: int) -> None:
        """Lets exactly these hosts have a worker of Ray."""
        for host in self.standing - set(wanted):
            self.fall(host)
        for host in set(wanted) - self.standing:
            self.hosts.start_ray(host, env=cache(self.hosts))
            self.standing.add(host)

    def fall(self, host: int) -> None:
        """Kills a host."""
        self.hosts.kill(host)
        self.standing.discard(host)

    def sweep(self) -> "Sweep":
        """Starts the driver of a new sweep."""
        self.run += 1
        folder = RunFolder(self.hosts.folder / f"run-{self.run}")
        spec = self.hosts.folder / "spec.yaml"
        spec.write_text(json.dumps(SPEC))
        said = self.hosts.folder / f"said-{self.run}"
        command = (sys.executable, "-m", "sweep.commands.cli", "run", spec, "--address", self.hosts.ray)
        with said.open("w") as out:
            driver = self.hosts.start(
                0, *command, "--out", folder.path, stdout=out, stderr=subprocess.STDOUT, env=cache(self.hosts)
            )
        return Sweep(folder, said, driver)


def cache(hosts: Hosts) -> dict[str, str]:
    """The cache that all hosts share."""
    return {"GAN_SWEEP_CACHE": str(hosts.folder / "cache")}


@dataclass
class Sweep:
    """A sweep in progress, and what its driver says."""

    folder: RunFolder
    said: Path
    driver: subprocess.Popen[bytes]
    began: float = field(default_factory=time.monotonic)

    def rows(self) -> list[dict]:
        return JsonLines(self.folder.rows).read() if self.folder.rows.exists() else []

    def wait_for(self, there: Callable[[], object]) -> bool:
        """Waits until something is there. False if the sweep ended before."""
        while not there():
            if self.driver.poll() is not None or time.monotonic() - self.began > LONGEST_SECONDS:
                return False
            time.sleep(0.1)
        return True

    def end(self, into: Sweeps) -> None:
        """Waits for the end, and counts what became of the sweep."""
        try:
            code = self.driver.wait(LONGEST_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self.driver.pid, signal.SIGKILL)
            self.driver.wait()
            code = None
        into.seconds.append(time.monotonic() - self.began)
        into.codes[code] += 1
        into.ended += code == 0
        rows = self.rows()
        ends = {row["trial"]: row["outcome"] for row in rows}
        whole = {trial for trial, outcome in ends.items() if outcome not in ("running", "failed")}
        into.lost += SPEC["trials"] - len(whole)
        into.twice += len(rows) - len({(row["trial"], row["rung"]) for row in rows})
        pairs = {(row["cohort"], row["rung"], row["node"]) for row in rows}
        into.two_owners += len(pairs) - len({pair[:2] for pair in pairs})
        said = self.said.read_text()
        into.again += [int(images) for images in AGAIN.findall(said)]
        if code != 0:
            print(f"exit code {code}: {said[-2000:]}", file=sys.stderr)


# ---- what disturbs a sweep


def killed(cluster: Cluster, sweep: Sweep) -> None:
    """A host is lost with all its processes, and comes back."""
    host = cluster.chance.choice(sorted(cluster.standing))
    cluster.fall(host)
    cluster.stand(1, 2)


def without_trainer(cluster: Cluster, sweep: Sweep) -> None:
    """One process that trains is killed."""
    host = cluster.chance.choice(sorted(cluster.standing))
    for pid in cluster.hosts.pids(host):
        if b"Trainable" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)


def drained(cluster: Cluster, sweep: Sweep) -> None:
    """A host is preempted: it is drained with notice, then lost, and comes back."""
    host = cluster.chance.choice(sorted(cluster.standing))
    found = cluster.hosts.run(
        0, sys.executable, "-c",
        "import ray; ray.init('auto', log_to_driver=False, logging_level=40); print('node', "
        f"*(n['NodeID'] for n in ray.nodes() if n['Alive'] and n['NodeManagerHostname'] == 'node{host}'))",
        env={"RAY_ADDRESS": cluster.hosts.ray},
    )  # fmt: skip
    node = found.stdout.split("node ")[-1].strip()
    answer = cluster.hosts.run(
        0, Path(sys.executable).parent / "ray", "drain-node", "--address", cluster.hosts.ray, "--node-id", node,
        "--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "preempted",
        "--deadline-remaining-seconds", str(NOTICE_SECONDS),
    )  # fmt: skip
    if answer.returncode:
        raise RuntimeError(f"not drained: {answer.stdout}{answer.stderr}")
    time.sleep(NOTICE_SECONDS)
    cluster.fall(host)
    cluster.stand(1, 2)


def cut(seconds: float) -> Callable[[Cluster, Sweep], None]:
    """The link of a host is cut for so long. Ray ends on a host that it took for dead, which then joins again."""

    def disturb(cluster: Cluster, sweep: Sweep) -> None:
        host = cluster.chance.choice(sorted(cluster.standing))
        cluster.hosts.cut(host)
        time.sleep(seconds)
        cluster.hosts.mend(host)

    return disturb


def joined(cluster: Cluster, sweep: Sweep) -> float:
    """A host joins. Returns after how many seconds it had trained to a rung."""
    cluster.stand(1, 2)
    began = time.monotonic()
    sweep.wait_for(lambda: any(row["node"] == "node2" for row in sweep.rows()))
    return time.monotonic() - began


DISTURBING: dict[str, Callable[[Cluster, Sweep], object]] = {
    "kill": killed,
    "trainer": without_trainer,
    "drain": drained,
    **{f"cut-{seconds}": cut(seconds) for seconds in (20, 60, 180)},
    "join": joined,
    "two": lambda cluster, sweep: None,
    "undisturbed": lambda cluster, sweep: None,
}


def measure(cluster: Cluster, name: str, times: int) -> Sweeps:
    """Runs the sweeps of one scenario."""
    found = Sweeps()
    for _ in range(times):
        for host in sorted(cluster.standing):  # Ray may have ended on a host that was cut off
            if not any(b"raylet" in Path(f"/proc/{pid}/cmdline").read_bytes() for pid in cluster.hosts.pids(host)):
                cluster.fall(host)
        cluster.stand(*([1] if name == "join" else [1, 2]))
        sweeps = [cluster.sweep() for _ in range(2 if name == "two" else 1)]
        if sweeps[0].wait_for(sweeps[0].rows):
            time.sleep(cluster.chance.uniform(0, LONGEST_WAIT_SECONDS) if name != "join" else 0)
            took = DISTURBING[name](cluster, sweeps[0])
            if isinstance(took, float):
                found.joined.append(took)
        for sweep in sweeps:
            sweep.end(found)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster", description=__doc__)
    parser.add_argument("--scenarios", default=",".join(DISTURBING), help="joined by commas")
    parser.add_argument("--times", type=int, default=5, help="how many sweeps each scenario has")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and the hosts")
    given = parser.parse_args()
    names = given.scenarios.split(",")
    if unknown := set(names) - set(DISTURBING):
        parser.error(f"no scenario {', '.join(sorted(unknown))}; there are {', '.join(DISTURBING)}")
    try:
        whole = measure_all(names, given.times, given.seed)
    except pytest.skip.Exception as why:  # the tests skip where no hosts can be made
        sys.exit(str(why))
    sys.exit(not whole)


def measure_all(names: Sequence[str], times: int, seed: int) -> bool:
    """Measures these scenarios and prints the table. Whether no sweep lost or doubled anything."""
    whole = True
    with hosts_up(3) as hosts:
        cluster = Cluster(hosts, random.Random(seed))
        hosts.start_ray(0, cpus=0, env=cache(hosts))
        print(HEAD, flush=True)
        for name in names:
            found = measure(cluster, name, times)
            whole &= not (found.lost or found.twice or found.two_owners) and found.ended == found.codes.total()
            print(found.line(name), flush=True)
    return whole


if __name__ == "__main__":
    main()
