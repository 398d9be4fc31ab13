"""Sweeps whose hosts are killed, drained or cut off lose and double nothing."""

import random
from collections.abc import Iterator

import pytest
from hosts import hosts_up

from benchmarks.cluster import Cluster, cache, measure

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with hosts_up(3) as hosts:
        hosts.start_ray(0, cpus=0, env=cache(hosts))
        yield Cluster(hosts, random.Random(0))


@pytest.mark.parametrize("scenario", ["kill", "trainer", "drain", "cut-20", "cut-60", "join", "two"])
def test_a_sweep_ends_by_itself_with_every_trial_once_and_each_rung_by_one_owner(cluster, scenario):
    found = measure(cluster, scenario, times=1)
    assert found.ended == found.codes.total() > 0
    assert (found.lost, found.twice, found.two_owners) == (0, 0, 0)
    assert all(seconds < 30 for seconds in found.joined)
