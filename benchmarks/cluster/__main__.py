"""Measures the scenarios, one line each, as Markdown: see the package."""

import argparse
import random
import sys
from pathlib import Path

import pytest

import benchmarks.cluster
from benchmarks.cluster.measured import SCENARIOS, Measured
from benchmarks.cluster.sweeps import Cluster, hosts_up

HOSTS = 5  # 3 and 4 are those of two users


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cluster",
        description=benchmarks.cluster.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--scenarios", default=",".join(SCENARIOS), help="joined by commas; kill=20 is 20 times kill")
    parser.add_argument("--times", type=int, default=5, help="how many sweeps each scenario has")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and the hosts")
    parser.add_argument("--keep", type=Path, help="folder for what is left of sweeps that broke a law")
    given = parser.parse_args()
    parts = [part.partition("=") for part in given.scenarios.split(",")]
    wanted = [(name, int(times or given.times)) for name, _, times in parts]
    if unknown := {name for name, _ in wanted} - set(SCENARIOS):
        parser.error(f"no scenario {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")
    try:
        with hosts_up(HOSTS) as hosts:
            whole = Measured(Cluster(hosts, random.Random(given.seed)), given.keep).table(wanted)
    except pytest.skip.Exception as why:  # the tests skip where no hosts can be made
        sys.exit(str(why))
    sys.exit(not whole)


if __name__ == "__main__":
    main()
