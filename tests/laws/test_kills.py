"""Slow tests: processes of a real sweep are killed at random moments; given the same command again, it ends as if it
had been left alone.
"""

import os
from collections.abc import Collection
from pathlib import Path

import pytest

from benchmarks.kills import VICTIMS, measure


def check_nothing_is_lost(folder: Path, each: int, kinds: Collection[str] = tuple(VICTIMS)) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HOME": str(folder)}
    record, differing = measure(folder, each, each, environment, kinds)
    assert dict(record.kills) == dict.fromkeys(kinds, each)
    assert differing == []
    assert (record.redone, record.twice, record.broken) == (0, 0, [])
    ended = [end for end in record.ends if end.kind in ("owner", "head")]
    assert len(ended) == 2 * each
    assert [end for end in ended if len(end.said) != 1 or "Traceback" in end.said[0]] == []
    assert {end.code for end in ended} == {2}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").exists(), reason="reads Linux's /proc")
def test_after_a_kill_of_the_studys_process_and_of_rays_head_a_sweep_ends_as_if_it_had_been_left_alone(tmp_path):
    """Drivers and processes that train are killed in `test_ray_runner` too."""
    check_nothing_is_lost(tmp_path, each=1, kinds=("owner", "head"))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_after_twenty_kills_of_each_process_a_sweep_ends_as_if_it_had_been_left_alone(tmp_path):
    check_nothing_is_lost(tmp_path, each=20)
