"""How many cores there are for us: of those a process is bound to, what its control groups pay for."""

import os
from pathlib import Path

import pytest

from sweep.runners.cores import usable_cores

V2, V1 = "0::{}\n", "12:devices:{0}\n4:cpu,cpuacct:{0}\n1:name=systemd:{0}\n0::{0}\n"
QUOTAS = {  # cores -> what version 2 and version 1 write
    None: ("max 100000\n", ("-1\n", "100000\n")),
    0.5: ("50000 100000\n", ("50000\n", "100000\n")),
    2.0: ("200000 100000\n", ("200000\n", "100000\n")),
    3.75: ("187500 50000\n", ("187500\n", "50000\n")),
}


@pytest.fixture(autouse=True)
def _eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))


def group(folder: Path, cores: float | None, version: int) -> None:
    """A control group with so many cores."""
    folder.mkdir(parents=True, exist_ok=True)
    new, (quota, period) = QUOTAS[cores]
    if version == 2:
        (folder / "cpu.max").write_text(new)
    else:
        (folder / "cpu.cfs_quota_us").write_text(quota)
        (folder / "cpu.cfs_period_us").write_text(period)


@pytest.mark.parametrize(("cores", "expected"), [(None, 8), (0.5, 1), (2.0, 2), (3.75, 3)])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("seen_as", ["its own", "the root", "the cpu folder"])
def test_a_quota_decides(tmp_path, cores, expected, version, seen_as):
    """In a container its own group may be mounted as the root, and named as it is outside."""
    root = tmp_path / "groups"
    if version == 1:
        root /= "cpu" if seen_as == "the cpu folder" else "cpu,cpuacct"
    name = "/docker/0123abc"
    group(root / name.lstrip("/") if seen_as == "its own" else root, cores, version)
    (tmp_path / "self").write_text((V2 if version == 2 else V1).format(name))
    assert usable_cores(tmp_path / "self", tmp_path / "groups") == expected


@pytest.mark.parametrize("inner", [None, 2.0, 3.75])
def test_the_least_of_a_group_and_those_around_it_decides(tmp_path, inner):
    group(tmp_path / "groups/pod/container", inner, 2)
    group(tmp_path / "groups/pod", 3.75, 2)
    group(tmp_path / "groups", None, 2)
    (tmp_path / "self").write_text(V2.format("/pod/container"))
    assert usable_cores(tmp_path / "self", tmp_path / "groups") == (2 if inner == 2.0 else 3)


@pytest.mark.parametrize("text", ["", "0::/\n", "garbage\n", None])
@pytest.mark.parametrize("quota", ["", "max", "x 100000", "100000 0", "-1 100000"])
def test_what_says_nothing_of_a_quota_leaves_the_cores_a_process_is_bound_to(tmp_path, text, quota):
    (tmp_path / "groups").mkdir()
    (tmp_path / "groups/cpu.max").write_text(quota)
    if text is not None:
        (tmp_path / "self").write_text(text)
    assert usable_cores(tmp_path / "self", tmp_path / "groups") == 8


def test_a_quota_above_the_cores_it_is_bound_to_gives_no_more_of_them(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3})
    group(tmp_path / "groups", 3.75, 2)
    (tmp_path / "self").write_text(V2.format("/"))
    assert usable_cores(tmp_path / "self", tmp_path / "groups") == 1
