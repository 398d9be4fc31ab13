"""Sweeps whose hosts are killed, drained or cut off lose and double nothing."""

import random
from collections.abc import Iterator

import pytest
from hosts import hosts_up

from benchmarks.cluster.__main__ import HOSTS
from benchmarks.cluster.measured import SCENARIOS, Measured
from benchmarks.cluster.sweeps import Cluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def measured() -> Iterator[Measured]:
    with hosts_up(HOSTS) as hosts:
        yield Measured(Cluster(hosts, random.Random(0)))


@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if name not in ("cut-180", "formulas")])
def test_a_sweep_ends_by_itself_with_every_trial_once_and_each_rung_by_one_owner(measured, scenario):
    found = measured.measure(scenario, times=1)
    assert found.codes.total() > 0
    assert found.faults == dict.fromkeys(found.faults, 0)
