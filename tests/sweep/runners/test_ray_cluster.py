"""How a sweep connects to Ray, and what its processes find there. Nothing here starts Ray."""

import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import tiny_runs
from curve_array import run_folder
from test_ray_runner import quiet, tiny_spec

from gan_core.config.gan import InputError
from sweep.runners.ray.address import begun_here, has_session
from sweep.runners.ray.cluster import (
    NICENESS_VARIABLE,
    PRINTING_THREAD,
    _local_environment,
    _places,
    _refuse_other_cluster,
    _without_states_of_ray,
)
from sweep.runners.ray.runner import run_ray
from sweep.runners.ray.trainable import trainable_class


def test_a_process_that_trains_keeps_its_working_folder_whatever_its_cluster_says(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_CHDIR_TO_TRIAL_DIR", "1")
    monkeypatch.setenv("TUNE_ORIG_WORKING_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    class Idle(trainable_class()):
        def setup(self, config):
            """Trains nothing."""

    Idle({}, SimpleNamespace(trial_fs_path="tune/1", trial_working_directory=str(tmp_path / "trial")))
    assert (tmp_path / "trial").is_dir()
    assert Path.cwd() == tmp_path


@pytest.mark.parametrize("address", [None, "auto", "127.0.0.1:6379", "localhost:6379", "127.0.0.2:6379"])
def test_an_address_of_the_cluster_that_this_program_uses_is_accepted_however_it_is_written(monkeypatch, address):
    monkeypatch.setattr("ray.get_runtime_context", lambda: SimpleNamespace(gcs_address="127.0.0.1:6379"))
    assert _refuse_other_cluster(address) is None


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("localhost:6380", "was given 'localhost:6380'; leave the address out"),
        ("192.0.2.1:6379", "was given '192.0.2.1:6379'; leave the address out"),
        ("localhost", "was given 'localhost'; leave the address out"),
    ],
)
def test_an_address_of_another_cluster_is_refused(monkeypatch, address, says):
    monkeypatch.setattr("ray.get_runtime_context", lambda: SimpleNamespace(gcs_address="127.0.0.1:6379"))
    with pytest.raises(InputError, match="this program is connected to Ray at 127.0.0.1:6379") as refused:
        _refuse_other_cluster(address)
    assert says in str(refused.value)


def test_what_stands_for_no_place_is_no_place():
    assert _places("192.0.2.1:6379") == {("192.0.2.1", "6379")}
    assert [_places(address) for address in ("", "6379", "localhost:no-such-service")] == [set()] * 3


def test_workers_have_the_priority_of_the_driver_unless_the_user_has_chosen_another(monkeypatch):
    monkeypatch.delenv(NICENESS_VARIABLE, raising=False)
    assert _local_environment("folder")[NICENESS_VARIABLE] == "0"
    monkeypatch.setenv(NICENESS_VARIABLE, "7")
    found = _local_environment("folder")
    assert (found[NICENESS_VARIABLE], found["RAY_TMPDIR"]) == ("7", "folder")


def test_standard_output_drops_what_ray_prints_of_nodes_and_stays_what_it_is(capsys):
    before = sys.stdout
    with _without_states_of_ray():
        assert sys.stdout is before
        thread = threading.Thread(target=print, args=("two screens",), name=PRINTING_THREAD)
        thread.start()
        thread.join()
        print("ours")
    thread = threading.Thread(target=print, args=("theirs",), name=PRINTING_THREAD)
    thread.start()
    thread.join()
    assert capsys.readouterr().out == "ours\ntheirs\n"


def test_a_sweep_beside_another_that_has_started_ray_is_refused_and_where_the_program_has_it_is_not(
    tmp_path, monkeypatch
):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("ray.is_initialized", lambda: True)
    spec = tiny_spec()
    assert has_session()
    with begun_here():
        assert not has_session()
        with pytest.raises(InputError, match="another sweep of this program has started Ray, and will end it: wait"):
            run_ray(spec, run_folder(spec, tmp_path / "run"), quiet(spec))
    assert has_session()


TWO_THREADS = """
import sys, threading
from pathlib import Path
from sweep.run import run_sweep
from sweep.spec.sweep_spec import SweepSpec

ends = []

def sweep(name):
    try:
        table = run_sweep(SweepSpec.from_mapping({}, sys.argv[2:]), Path(sys.argv[1]) / name, progress=False)
        ends.append(f"{len(table.trials)} trials")
    except ValueError as error:
        ends.append(str(error))

threads = [threading.Thread(target=sweep, args=(name,)) for name in "ab"]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
sweep("c")
print("\\n".join(ends))
"""


@pytest.mark.slow
def test_of_two_threads_that_each_start_ray_one_trains_and_the_other_is_told_so(tmp_path):
    environment = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", TWO_THREADS, str(tmp_path), *tiny_runs.TINY],
        env=environment, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    refused, *swept = done.stdout.splitlines()
    assert refused.startswith("another sweep of this program has started Ray, and will end it")
    assert swept == ["4 trials"] * 2


def test_two_sweeps_of_one_program_have_classes_of_their_own_for_tune():
    assert trainable_class().__name__ != trainable_class().__name__
