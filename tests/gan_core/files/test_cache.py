"""The cache: a file in it is what was written or is made anew, and what is wrong with it costs no more than time."""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch

from gan_core.files.cache import alone, keep, keep_tensors, kept_tensors

KINDS = {
    "numpy": (safetensors.numpy, lambda numbers: numbers),
    "torch": (safetensors.torch, torch.from_numpy),
}
as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root may be another user")


def tensors(kind: str) -> dict[str, Any]:
    of_kind = KINDS[kind][1]
    return {
        "weights": of_kind(np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)),
        "kept": of_kind(np.array([0, 1, 1], np.uint8)),
        "mean": of_kind(np.array([0.25])),
    }


def plain(found: dict[str, Any]) -> dict[str, tuple[str, list[Any]]]:
    return {name: (str(np.asarray(tensor).dtype), np.asarray(tensor).tolist()) for name, tensor in found.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_with_any_bit_turned_over_a_file_is_what_was_written_or_nothing(tmp_path, kind):
    package, written, path = KINDS[kind][0], tensors(kind), tmp_path / "kept.safetensors"
    keep_tensors(path, written, package.save_file)
    whole, refused = path.read_bytes(), 0
    for place in range(8 * len(whole)):
        turned = bytearray(whole)
        turned[place // 8] ^= 1 << place % 8
        path.write_bytes(turned)
        found = kept_tensors(path, package.load_file)
        refused += found is None
        assert found is None or plain(found) == plain(written), f"bit {place}"
    assert refused > 0.9 * 8 * len(whole)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [0, 7, 8, 100, -1])
def test_a_file_that_is_cut_short_is_nothing(tmp_path, kind, length):
    package, path = KINDS[kind][0], tmp_path / "kept.safetensors"
    keep_tensors(path, tensors(kind), package.save_file)
    path.write_bytes(path.read_bytes()[:length])
    assert kept_tensors(path, package.load_file) is None
    path.unlink()
    assert kept_tensors(path, package.load_file) is None
    path.mkdir()
    assert kept_tensors(path, package.load_file) is None


def test_what_earlier_versions_kept_without_a_digest_is_read(tmp_path):
    path = tmp_path / "kept.safetensors"
    safetensors.numpy.save_file(tensors("numpy"), path)
    assert plain(kept_tensors(path, safetensors.numpy.load_file) or {}) == plain(tensors("numpy"))


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_what_is_kept_may_be_read_by_whom_the_umask_says(tmp_path, umask):
    path, before = tmp_path / "kept.safetensors", os.umask(umask)
    try:
        keep_tensors(path, tensors("numpy"), safetensors.numpy.save_file)
        keep(tmp_path / "text", lambda partial: partial.write_text("x"))
    finally:
        os.umask(before)
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in (path.name, "text")} == {0o666 & ~umask}


def as_another_user(do: Callable[[], object]) -> int:
    """What a process of another user ends with: 0 where it does without an error."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgid(12345)
            os.setuid(12345)
            do()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@as_root
def test_files_and_locks_of_another_user_cost_time_alone(tmp_path):
    """In a folder that two users share, one of them with a umask that shuts the other out."""
    place = Path("/proc/self/fd") / str(os.open(tmp_path, os.O_RDONLY))  # whatever is above it
    path, before = place / "kept.safetensors", os.umask(0o077)
    try:
        with alone(path):
            keep_tensors(path, tensors("numpy"), safetensors.numpy.save_file)
    finally:
        os.umask(before)
    tmp_path.chmod(0o777)

    def another() -> None:
        assert kept_tensors(path, safetensors.numpy.load_file) is None
        with alone(path):
            keep_tensors(path, tensors("numpy"), safetensors.numpy.save_file)
        assert kept_tensors(path, safetensors.numpy.load_file) is not None

    assert as_another_user(another) == 0
    assert path.stat().st_uid == 12345
    assert kept_tensors(path, safetensors.numpy.load_file) is not None


def test_a_lock_that_cannot_be_had_at_all_is_done_without(tmp_path):
    (tmp_path / "kept.lock").mkdir()
    done = []
    with alone(tmp_path / "kept"):
        done.append(1)
    with pytest.raises(KeyError), alone(tmp_path / "kept"):
        raise KeyError
    assert done == [1]
