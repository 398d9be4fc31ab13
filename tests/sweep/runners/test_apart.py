"""Sweeps whose trainers are on another host, which shares no folder with the driver's."""

import sys

import pytest
from hosts import hosts_up
from tiny_runs import TINY, settings

from results.store import RunFolder
from results.table import ResultsTable

pytestmark = pytest.mark.filterwarnings("ignore")
GAN_SWEEP = (sys.executable, "-m", "sweep")
TIMING = ["seconds", "elapsed_seconds"]


def test_on_a_host_without_the_folder_a_sweep_is_the_same_bit_for_bit_in_the_rows_and_in_all_files(
    tmp_path, digits_run
):
    here, there = RunFolder(digits_run), RunFolder(tmp_path / "there")
    there.path.mkdir()
    with hosts_up(2) as hosts:
        hosts.start_ray(0, cpus=0)
        hosts.start_ray(1, private=[there.path], env={"GAN_SWEEP_CACHE": f"{hosts.folder}/node1/cache"})
        done = hosts.run(0, *GAN_SWEEP, "run", "--address", hosts.ray, "--out", there.path, *settings(*TINY))
        assert done.returncode == 0, done.stderr
        left = list((hosts.folder / "node1" / "tmp").glob("gan-sweep-files-*"))
    mine, theirs = (ResultsTable.load(folder.path).frame.drop(columns=TIMING) for folder in (here, there))
    assert mine.equals(theirs)
    of_trials = [
        {path.relative_to(folder.path): path.read_bytes() for path in folder.path.rglob("*/trial-*/*.safetensors")}
        | {path.name: path.read_bytes() for path in folder.samples.iterdir()}
        for folder in (here, there)
    ]
    assert len(of_trials[0]) >= 8
    assert of_trials[0] == of_trials[1]
    assert there.features.read_bytes() == here.features.read_bytes()
    assert left == []
