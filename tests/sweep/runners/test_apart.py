"""Sweeps whose trainers are on another host, which shares no folder with the driver's."""

import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from curve_array import curve_rows, rows_of
from heavy_curves import SIZE_BYTES, SPEC
from hosts import hosts_up
from made_files import write_mnist
from tiny_runs import TINY, settings

from results.store import RunFolder
from results.table import ResultsTable

pytestmark = pytest.mark.filterwarnings("ignore")
GAN_SWEEP = (sys.executable, "-m", "sweep")
LONGEST_SECONDS = 250.0  # on a machine that others use, where a host trains a classifier of its own
ELSEWHERE = ["seconds", "elapsed_seconds", "node"]


@pytest.mark.slow
def test_on_a_host_without_the_folder_a_sweep_is_the_same_bit_for_bit_in_the_rows_and_in_all_files(
    tmp_path, digits_run
):
    here, there = RunFolder(digits_run), RunFolder(tmp_path / "there")
    there.path.mkdir()
    with hosts_up(2) as hosts:
        hosts.start_ray(0, cpus=0)
        hosts.start_ray(1, private=[there.path], env={"GAN_SWEEP_CACHE": f"{hosts.folder}/node1/cache"})
        command = (*GAN_SWEEP, "run", "--address", hosts.ray, "--out", there.path, *settings(*TINY))
        done = hosts.run(0, *command, seconds=LONGEST_SECONDS, umask=0o077)
        assert done.returncode == 0, done.stderr
        left = list((hosts.folder / "node1" / "tmp").glob("gan-sweep-files-*"))
    mine, theirs = (ResultsTable.load(folder.path).frame.drop(columns=ELSEWHERE) for folder in (here, there))
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
    assert not any(path.stat().st_mode & 0o077 for path in there.path.rglob("*"))  # whoever started Ray


@pytest.mark.slow
def test_a_host_without_the_data_fetches_them_and_one_where_they_lack_a_file_is_named(tmp_path):
    raw, here, there = write_mnist(tmp_path), RunFolder(tmp_path / "here"), RunFolder(tmp_path / "there")
    root = raw.parents[1]
    there.path.mkdir()
    small = settings(*TINY, "structure.dataset=mnist", "scoring.samples=20")
    command = (*GAN_SWEEP, "run", *small, "--data-root", root)
    with hosts_up(3) as hosts:
        done = hosts.run(0, *command, "--local", "--out", here.path)
        assert done.returncode == 0, done.stderr
        hosts.start_ray(0, cpus=0)
        env = {"GAN_SWEEP_CACHE": f"{hosts.folder}/node1/cache"}
        first = hosts.start_ray(1, private=[there.path, root], env=env)
        done = hosts.run(0, *command, "--address", hosts.ray, "--out", there.path)
        assert done.returncode == 0, done.stderr
        assert len(list((hosts.folder / "node1" / "cache").glob("data-*.safetensors"))) == 1
        hosts.kill(1)
        first.wait()
        hosts.start_ray(2, private=[raw])  # the data root is there, and empty
        done = hosts.run(0, *command, "--address", hosts.ray, "--out", tmp_path / "other")
    mine, theirs = (ResultsTable.load(folder.path).frame.drop(columns=ELSEWHERE) for folder in (here, there))
    assert mine.equals(theirs)
    assert done.returncode == 2
    assert f"node node2: no file {raw}" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [10.0, math.inf], ids=["mended", "for ever"])
def test_a_link_that_is_cut_in_the_middle_of_a_file_costs_no_row_and_leaves_no_half_file(tmp_path, seconds):
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    with hosts_up(3) as hosts:
        hosts.start_ray(0, cpus=0)
        hosts.start_ray(1, private=[folder.path])
        said = (tmp_path / "said").open("w+")
        sweep = hosts.start(
            0, "python", "-m", "heavy_curves", folder.path, env={"RAY_ADDRESS": hosts.ray}, stdout=said, stderr=said
        )
        arriving = wait_for_half_a_file(folder, sweep)
        hosts.cut(1)
        if seconds < math.inf:
            time.sleep(seconds)
            hosts.mend(1)
        else:
            hosts.start_ray(2, private=[folder.path])
        code = sweep.wait(LONGEST_SECONDS)
        said.seek(0)
        words = said.read()
        said.close()
    assert code == 0, words
    assert not arriving.exists()
    assert not list(folder.path.rglob("*partial*"))
    mine = sorted((row["trial"], row["rung"], row["score"]) for row in rows_of(folder))
    assert mine == sorted(
        (row["trial"], row["rung"], row["score"]) for row in curve_rows(SPEC, tmp_path / "undisturbed")
    )


def wait_for_half_a_file(folder: RunFolder, sweep: subprocess.Popen[Any]) -> Path:
    """The file of an array that is on its way into the folder of a run."""
    while sweep.poll() is None:
        for path in folder.checkpoints.glob("cohort-*/rung-*.partial-*/array-*"):
            if 0 < path.stat().st_size < SIZE_BYTES:
                return path
        time.sleep(0.002)
    raise AssertionError("the sweep has ended")
