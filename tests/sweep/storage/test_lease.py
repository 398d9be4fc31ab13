"""One driver at a time writes to an address."""

import json
import os
import time
from pathlib import Path

import pytest
from faulty_store import FaultyFiles, store_in

from gan_core.files.object_store import StoreError
from results.manifest import LEASE, MANIFEST, Manifest
from sweep.storage import lease
from sweep.storage.lease import Lease, LeaseLost, LeaseTimes

SHORT = LeaseTimes(renew_seconds=0.0, silent_seconds=0.2, settle_seconds=0.0, look_seconds=0.01)
LONG = LeaseTimes(renew_seconds=0.0, silent_seconds=60.0, settle_seconds=0.0, look_seconds=0.01)


def taken(store, times=SHORT, earlier=()) -> tuple[Lease, list[str]]:
    said: list[str] = []
    lease = Lease(store, times)
    lease.take(earlier, said.append)
    return lease, said


def test_a_driver_that_lives_keeps_the_second_out_with_one_line(tmp_path):
    """It is seen to live when it renews its lease while the second one watches."""
    store = store_in(tmp_path)
    first, said = taken(store, LONG)
    assert said == []
    second, looks = Lease(store, LONG), []

    def watched(line: str) -> None:
        looks.append(line)
        first.hold()

    with pytest.raises(StoreError) as raised:
        second.take((), watched)
    where = f"process {os.getpid()} of host {os.uname().nodename}"
    assert str(raised.value) == f"{where} is at work in s3://bucket/run; wait for it, stop it, or choose another --out"
    assert looks == [f"{where} was at work in s3://bucket/run 0 s ago; waiting up to 60 s to see whether it still is"]
    first.hold()


def test_a_driver_that_falls_silent_is_taken_over_with_a_line_and_stops_when_it_comes_back(tmp_path):
    store = store_in(tmp_path)
    first, _ = taken(store)
    second, said = taken(store)
    assert len(said) == 2
    assert said[1].endswith("has been silent for 0 minutes; its run in s3://bucket/run is taken over")
    with pytest.raises(
        LeaseLost, match=rf"process {os.getpid()} of host .* took over s3://bucket/run; this sweep stops"
    ):
        first.hold()
    with pytest.raises(LeaseLost):
        first.release()
    second.hold()
    second.release()
    assert store.read(LEASE) is None
    with pytest.raises(LeaseLost, match="the lease in s3://bucket/run was released"):
        second.hold()
    assert store.read(LEASE) is None


def test_a_driver_whose_lease_was_removed_stops(tmp_path):
    store = store_in(tmp_path)
    lease, _ = taken(store)
    store.delete(LEASE)
    with pytest.raises(LeaseLost, match="the lease in s3://bucket/run was removed; this sweep stops"):
        lease.hold()


def test_an_old_lease_is_taken_over_at_once_by_the_clock_of_the_store(tmp_path):
    store = store_in(tmp_path)
    taken(store, LONG)
    os.utime(tmp_path / LEASE, (time.time() - 3600, time.time() - 3600))
    _, said = taken(store, LONG)
    assert [line.partition(" has been ")[2] for line in said] == [
        "silent for 60 minutes; its run in s3://bucket/run is taken over"
    ]


def test_a_driver_of_this_machine_that_is_known_to_be_gone_is_followed_at_once(tmp_path):
    store = store_in(tmp_path)
    first, _ = taken(store, LONG)
    _, said = taken(store, LONG, earlier=(first.owner,))
    assert said == []


def test_a_lease_that_is_released_while_it_is_watched_is_free(tmp_path):
    store = store_in(tmp_path)
    first, _ = taken(store, LONG)
    second = Lease(store, LONG)
    second.take((), lambda line: first.release())
    second.hold()
    assert json.loads((tmp_path / LEASE).read_text())["owner"] == second.owner


def test_of_two_that_take_it_at_the_same_moment_one_has_it(tmp_path):
    files = FaultyFiles()
    store = store_in(tmp_path, files)

    def other_writes_after(kind: str, path: str) -> None:
        if kind == "read" and (tmp_path / LEASE).exists():
            (tmp_path / LEASE).write_text(json.dumps({"owner": "other", "host": "there", "process": 7}))

    files.fault = other_writes_after
    with pytest.raises(LeaseLost, match=r"process 7 of host there took over s3://bucket/run"):
        Lease(store, SHORT).take((), lambda line: None)


def test_a_lease_that_is_no_json_is_of_nobody_known_and_is_watched_like_any_other(tmp_path):
    (tmp_path / LEASE).write_bytes(b"\xff[")
    lease, said = taken(store_in(tmp_path))
    assert len(said) == 2
    lease.hold()


def test_it_is_looked_at_again_only_after_a_while(tmp_path):
    files = FaultyFiles()
    lease, _ = taken(store_in(tmp_path, files), LeaseTimes(settle_seconds=0.0))
    before = len(files.requests)
    lease.hold()
    assert len(files.requests) == before


class StandingStill:
    """Two drivers of one run. The first stands still for an hour in the middle of a renewal, between its look and its
    write, and the second takes the run over meanwhile. The time is `seconds`, which each look of the first moves on.
    """

    def __init__(self, tmp_path, monkeypatch) -> None:
        self.seconds = 0.0
        monkeypatch.setattr(lease, "now_seconds", lambda: self.seconds)
        self.place, self.times = tmp_path, LeaseTimes(renew_seconds=20.0, settle_seconds=0.0, look_seconds=0.0)
        self.files, self.looks = FaultyFiles(), 0
        self.first, _ = taken(store_in(tmp_path, self.files), self.times)
        self.second = Lease(store_in(tmp_path), self.times)
        self.seconds += 30.0
        self.files.fault = self.stands_still

    def stands_still(self, kind: str, path: str) -> None:
        if (kind, Path(path).name) == ("write", LEASE):
            self.files.fault = self.wakes
            hour = time.time() - 3600
            os.utime(self.place / LEASE, (hour, hour))
            self.second.take((), lambda line: None)
            self.seconds += 3600.0

    def wakes(self, kind: str, path: str) -> None:
        """What happens before each request of the first from then on."""
        self.seconds += 10.0
        self.looks += 1

    @property
    def owner(self) -> str:
        return json.loads((self.place / LEASE).read_text())["owner"]


def test_a_driver_that_stood_still_in_a_renewal_writes_nothing_before_the_other_has_its_lease_again(
    tmp_path, monkeypatch
):
    both = StandingStill(tmp_path, monkeypatch)

    def other_renews_in_time(kind: str, path: str) -> None:
        both.looks += 1
        if both.looks == 3:  # the first has looked twice, found its own lease, and gone on waiting
            assert both.owner == both.first.owner
            both.seconds -= 3600.0  # the second did not stand still
            both.second.hold()
            both.seconds += 3600.0
        both.seconds += 10.0

    monkeypatch.setattr(both, "wakes", other_renews_in_time)
    with pytest.raises(LeaseLost, match="took over s3://bucket/run"):
        both.first.hold()
    assert both.owner == both.second.owner
    both.seconds -= 3600.0
    both.second.look()


def test_a_driver_that_stood_still_goes_on_where_the_other_one_has_gone(tmp_path, monkeypatch):
    both = StandingStill(tmp_path, monkeypatch)
    both.first.hold()
    assert both.looks * 10.0 > both.times.silent_seconds / 2  # it has waited
    with pytest.raises(LeaseLost):
        both.second.hold()  # which comes back too late to write its lease again
    assert both.owner == both.first.owner


def test_a_driver_that_stood_still_ends_where_the_other_one_has_written_a_manifest_and_gone(tmp_path, monkeypatch):
    both = StandingStill(tmp_path, monkeypatch)
    (tmp_path / MANIFEST).write_bytes(Manifest(both.second.owner).to_bytes())
    with pytest.raises(LeaseLost, match="another driver went on with s3://bucket/run; this sweep stops"):
        both.first.hold()


def test_a_driver_that_stood_still_does_not_wait_where_its_sweep_has_ended(tmp_path, monkeypatch):
    both = StandingStill(tmp_path, monkeypatch)
    monkeypatch.setattr(both, "wakes", lambda kind, path: setattr(both.first, "_released", True))
    with pytest.raises(LeaseLost, match="was released"):
        both.first.hold()


def test_a_renewal_in_time_waits_for_nobody(tmp_path, monkeypatch):
    both = StandingStill(tmp_path, monkeypatch)
    both.files.fault = both.wakes
    both.first.hold()
    assert both.looks == 2  # a look, and the renewal
