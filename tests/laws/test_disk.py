"""A disk that is full or read-only: one line that names the file, nothing half written, the same command goes on."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from curve_array import CurveArray, climbing, curve_spec, opened, run_cohorts, run_folder
from events import Clock
from full_disks import full_disk
from sabotage import facts
from tiny_runs import TINY, settings

from benchmarks.kills import differences
from gan_core.files.cache import keep
from gan_core.training.checkpoint import load_tensors, save_tensors
from results.pictures import draw_samples
from results.store import JsonLines, append_whole, write_atomically
from sweep.commands.cli import main
from sweep.proposals.journal import Journal

ROOT = Path(__file__).absolute().parents[2]


WRITERS = {
    "lines": lambda path: JsonLines(path).append([{"text": "x" * 500}, {"text": "y" * 500}]),
    "journal": lambda path: Journal(path).append_logs([{"text": "x" * 500}] * 2),
    "text": lambda path: write_atomically(path, "x" * 1000),
    "tensors": lambda path: save_tensors(path, {"x": torch.zeros(500)}),
    "picture": lambda path: draw_samples(
        np.random.default_rng(0).uniform(-1, 1, (64, 1, 28, 28)).astype(np.float32), path
    ),
}


@pytest.mark.parametrize("before", [b"", b'{"whole":1}\n'])
@pytest.mark.parametrize("kind", WRITERS)
def test_a_write_that_does_not_fit_names_its_file_and_leaves_what_was_there(tmp_path, kind, before):
    path = tmp_path / "file.name"
    path.write_bytes(before)
    with full_disk(600), pytest.raises(OSError) as raised:
        WRITERS[kind](path)
    assert (raised.value.errno, raised.value.filename) == (errno.EFBIG, str(path))
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"file.name": before}
    WRITERS[kind](path)
    assert path.stat().st_size > 600
    assert [p.name for p in tmp_path.iterdir()] == ["file.name"]


def test_a_line_that_never_reached_the_disk_is_taken_back(tmp_path, monkeypatch):
    def fails(file: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    append_whole(tmp_path / "lines", "one\n")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fails)
        with pytest.raises(OSError, match="lines"):
            append_whole(tmp_path / "lines", "two\n")
    append_whole(tmp_path / "lines", "three\n")
    assert (tmp_path / "lines").read_text() == "one\nthree\n"


def test_what_the_cache_has_no_room_for_is_made_again_next_time(tmp_path):
    path = tmp_path / "kept.safetensors"
    with full_disk(100), pytest.warns(UserWarning, match="cannot keep .*made again"):
        keep(path, lambda partial: save_tensors(partial, {"x": torch.ones(500)}))
    assert list(tmp_path.iterdir()) == []
    keep(path, lambda partial: save_tensors(partial, {"x": torch.ones(500)}))
    assert load_tensors(path)["x"].sum() == 500
    assert len(list(tmp_path.iterdir())) == 1


def syncs_of(run: object, monkeypatch: pytest.MonkeyPatch, fail_at: int = 0) -> int:
    """How often a call waits for the disk; at the fail_at-th time, the disk is full."""
    count = 0

    def sync(file: int) -> None:
        nonlocal count
        count += 1
        if count == fail_at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", sync)
        patch.setattr("sweep.ledger.study.time", Clock())
        run()  # type: ignore[operator]
    return count


def test_wherever_the_disk_is_full_a_sweep_ends_later_as_if_it_had_not_been(tmp_path, monkeypatch):
    spec = curve_spec(confirm={"top": 1, "seeds": 2})
    whole = run_folder(spec, tmp_path / "whole")
    syncs = syncs_of(lambda: run_cohorts(spec, whole), monkeypatch)
    expected = facts(whole, spec)
    assert syncs > 20
    for fail_at in range(1, syncs + 1):
        folder = run_folder(spec, tmp_path / str(fail_at))
        with pytest.raises(OSError) as raised:
            syncs_of(lambda folder=folder: run_cohorts(spec, folder), monkeypatch, fail_at)
        assert str(folder.path) in str(raised.value.filename)
        syncs_of(lambda folder=folder: run_cohorts(spec, folder), monkeypatch)
        assert facts(folder, spec) == expected, f"after wait {fail_at} of {syncs}"


def two_at_once(spec, folder) -> None:
    """Two cohorts in turn through one study, as two processes train them; one that meets an error is heard no more, and
    the sweep ends as soon as the other has had one more rung.
    """
    with opened(spec, folder) as study:
        running, ending = [], False
        while True:
            while len(running) < 2 and not ending and (cohort := study.open_cohort(spec.cohort_size(2))) is not None:
                running.append(climbing(cohort, study, CurveArray))
            if not running:
                return
            run, met = running.pop(0), ending
            try:
                if not run.done:  # as one may be that was judged before
                    run.advance()
            except OSError:
                ending = True
            else:
                running += [] if run.done else [run]
            if met:
                return


def test_what_is_written_after_a_failed_write_of_another_cohort_is_whole(tmp_path, monkeypatch):
    """Without pruning, so that the order in which cohorts come decides nothing."""
    spec = curve_spec(trials=6, lanes_per_cohort=2, ladder={"rungs_images": [100, 300], "keep_fraction": 1})
    whole = run_folder(spec, tmp_path / "whole")
    syncs = syncs_of(lambda: two_at_once(spec, whole), monkeypatch)
    asked = [json.loads(line)["trials"] for line in whole.cohorts.read_text().splitlines()]
    for fail_at in range(1, syncs + 1):
        folder = run_folder(spec, tmp_path / str(fail_at))
        try:
            syncs_of(lambda folder=folder: two_at_once(spec, folder), monkeypatch, fail_at)
        except OSError:
            assert fail_at > 0  # the study itself could not begin, or ask
        syncs_of(lambda folder=folder: two_at_once(spec, folder), monkeypatch)
        found = facts(folder, spec)
        assert found.warned == [], f"after wait {fail_at} of {syncs}"
        assert sorted((row["trial"], row["rung"]) for row in found.rows) == [(t, r) for t in range(6) for r in (0, 1)]
        assert [json.loads(line)["trials"] for line in folder.cohorts.read_text().splitlines()] == asked


def spoilt(run: Path) -> dict[str, int]:
    """Sizes at which one kind of file after another no longer fits, by what files of a finished run are large."""
    sizes = {name: (run / name).stat().st_size for name in ("spec.yaml", "cohorts.jsonl", "rows.jsonl", "optuna.jsonl")}
    states = [path.stat().st_size for path in run.rglob("last.safetensors")]
    return {**{name: size - 1 for name, size in sizes.items()}, "checkpoint": max(states) - 1}


OF_POINTS = ("run", "--space", "ring", "--local", *settings(*TINY))  # whose scores need no features, a large file


@pytest.fixture(scope="module")
def ring_run(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("ring") / "run"
    assert main([*OF_POINTS, "--out", str(out)]) == 0
    return out


@pytest.mark.parametrize("kind", ["spec.yaml", "cohorts.jsonl", "rows.jsonl", "optuna.jsonl", "checkpoint"])
def test_a_sweep_on_a_full_disk_ends_with_one_line_and_goes_on_when_there_is_space(kind, gan_sweep, ring_run, tmp_path):
    out = tmp_path / "run"
    command = (*OF_POINTS, "--out", out)
    with full_disk(spoilt(ring_run)[kind]):
        answer = gan_sweep(*command)
    lines = [line for line in answer.err.splitlines() if ": warning: " not in line]
    assert (answer.code, len(lines)) == (2, 1), answer.err
    assert f"cannot write {out}" in lines[0]
    limit = spoilt(ring_run)[kind] // 1024  # as `ulimit -f` counts
    assert f"File too large; raise ulimit -f {limit}, then run the same command again to continue" in lines[0]
    again = gan_sweep(*command)
    assert (again.code, again.err) == (0, "")
    assert differences(out, ring_run) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of half a megabyte; skips where nobody may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    if (
        mount is None
        or subprocess.run(
            [mount, "-t", "tmpfs", "-o", "size=512k", "tmpfs", folder], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def swept(out: Path, home: Path) -> tuple[int, list[str]]:
    """The tiny sweep through Ray, in a process of its own: its exit code, and what it said on stderr but warnings."""
    command = [sys.executable, "-m", "sweep.commands.cli", "run", "--out", str(out), *settings(*TINY)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, [line for line in done.stderr.splitlines() if ": warning: " not in line]


@pytest.mark.slow
def test_a_disk_that_fills_up_and_one_that_turns_read_only_end_a_sweep_through_ray_with_one_line(
    small_disk, digits_run, tmp_path
):
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(400 * 1024))
    code, said = swept(small_disk / "run", tmp_path)
    assert (code, len(said)) == (2, 1), said
    assert f"cannot write {small_disk}/run" in said[0]
    assert "No space left on device; free space" in said[0]
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    code, said = swept(small_disk / "run", tmp_path)
    assert (code, len(said)) == (2, 1), said
    assert "Read-only file system" in said[0]
    subprocess.run(["mount", "-o", "remount,rw,size=50m", small_disk], check=True)
    ballast.unlink()
    assert swept(small_disk / "run", tmp_path) == (0, [])
    trials = {row["trial"] for row in JsonLines(small_disk / "run" / "rows.jsonl").read()}
    assert trials == {0, 1, 2, 3}
