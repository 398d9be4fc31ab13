"""A store that does not answer delays the copy and nothing else, until it is away for too long."""

import threading

import pytest
from curve_array import curve_spec, run_folder
from faulty_store import FaultyFiles, away, full, refused, store_in, tree

from results.manifest import LEASE
from sweep.ledger.endings import PlaceError
from sweep.storage.copier import Copier, CopierTimes
from sweep.storage.lease import Lease, LeaseLost, LeaseTimes
from sweep.storage.mirror import Mirror

QUICK = CopierTimes(pause_seconds=0.01, notice_seconds=0.0, first_wait_seconds=0.01, longest_wait_seconds=0.01)
LONGEST_SECONDS = 60.0  # for an event; a test that waits so long has failed


class Place:
    """A run that is copied, and what is said meanwhile."""

    def __init__(self, tmp_path, times=QUICK, fault=None, on_first=None) -> None:
        self.files, self.said, self.copied, self.told = FaultyFiles(), [], threading.Event(), threading.Event()
        self.folder, store = run_folder(curve_spec(), tmp_path / "run"), store_in(tmp_path / "store", self.files)
        self.lease = Lease(store, LeaseTimes(renew_seconds=0.0, settle_seconds=0.0))
        self.lease.take((), self.say)
        mirror = Mirror(store, self.folder, self.lease, None)
        self.files.fault = fault or self.files.fault
        self.copier = Copier(mirror, self.lease, store.name, self.say, on_first or self.copied.set, times)

    def say(self, line: str) -> None:
        self.said.append(line)
        self.told.set()


def test_what_changes_is_in_the_store_at_the_end(tmp_path):
    place = Place(tmp_path)
    assert place.copied.wait(LONGEST_SECONDS)
    place.folder.best_samples.write_text("picture")
    assert place.copier.finish(LONGEST_SECONDS) == ""
    assert tree(tmp_path / "store")["best.png"] == b"picture"
    assert place.said == []
    place.copier.check()


@pytest.mark.parametrize(
    ("fault", "meaning"),
    [(away, "it does not answer"), (full, "it is full, or over its quota; free space there"), (refused, "the key is")],
)
def test_an_outage_is_told_once_and_once_more_when_it_is_over_and_nothing_is_lost(tmp_path, fault, meaning):
    place = Place(tmp_path, fault=fault)
    assert place.told.wait(LONGEST_SECONDS)
    place.copier.check()  # the sweep goes on
    (line,) = place.said
    assert meaning in line
    assert line.endswith("; the sweep goes on, and for 60 minutes it is tried again")
    place.told.clear()
    place.files.fault = lambda kind, path: None
    assert place.told.wait(LONGEST_SECONDS)
    assert place.said[1:] == ["s3://bucket/run answers again, and has all that was reported"]
    assert place.copier.finish(LONGEST_SECONDS) == ""
    assert tree(tmp_path / "store")["spec.yaml"] == place.folder.spec.read_bytes()


def test_an_outage_that_is_too_long_ends_the_sweep_with_one_line(tmp_path):
    times = CopierTimes(
        0.01, notice_seconds=0.0, outage_seconds=0.0, first_wait_seconds=0.01, longest_wait_seconds=0.01
    )
    place = Place(tmp_path, times, away)
    assert place.told.wait(LONGEST_SECONDS)
    with pytest.raises(PlaceError) as raised:
        place.copier.check()
    assert str(raised.value).startswith(
        "for 0 minutes nothing could be copied: cannot read s3://bucket/run: it does not answer"
    )
    assert "run the same command again to continue" in str(raised.value)
    missing = place.copier.finish(0.0)
    assert missing.startswith("1 file (0.0 MB) not in s3://bucket/run yet: cannot read s3://bucket/run")


def test_a_sweep_whose_run_was_taken_over_is_told_so(tmp_path):
    place = Place(tmp_path)
    assert place.copied.wait(LONGEST_SECONDS)
    (tmp_path / "store" / LEASE).unlink()
    assert place.copier.finish(LONGEST_SECONDS).endswith("the lease in s3://bucket/run was removed; this sweep stops")
    with pytest.raises(LeaseLost):
        place.copier.check()


def test_a_time_that_is_too_short_is_told_with_what_is_missing(tmp_path):
    held = threading.Event()
    place = Place(tmp_path, fault=lambda kind, path: held.wait(LONGEST_SECONDS) and None)
    assert place.copier.finish(0.0) == "1 file (0.0 MB) not in s3://bucket/run yet: the time was too short"
    held.set()
    assert place.copier.finish(LONGEST_SECONDS) == ""


def test_an_error_that_nobody_expects_is_raised_in_the_sweep(tmp_path):
    place = Place(tmp_path, on_first=lambda: 1 / 0)
    assert place.copier.finish(LONGEST_SECONDS).endswith("division by zero")
    with pytest.raises(ZeroDivisionError):
        place.copier.check()
