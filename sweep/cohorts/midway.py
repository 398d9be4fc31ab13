"""Checkpoints on the way from one rung to the next, so that a process that is lost costs minutes and not a rung."""

import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gan_core.config.limits import Place, read_place, written
from gan_core.config.reports import LaneReport, Midway
from results.trial_run import TrialRun
from sweep.cohorts.arrays import Group
from sweep.cohorts.checkpoints import read_note, unreadable, write_note

NOTE, STATE = "midway.json", "midway.safetensors"


@dataclass(frozen=True)
class MidwayNote:
    """A cohort on its way to a rung. reached: the groups that have come there, each with its reports and the name of
    the file of its array, "" for a lane that did not fit the memory. training: the runs of the group that is on its
    way, and what belongs to its file. waiting: those of the groups that stand at the rung before. best: run -> the
    place of its best rung so far.
    """

    rung: int
    reached: Sequence[tuple[Sequence[TrialRun], Sequence[LaneReport], str]]
    training: Sequence[TrialRun]
    midway: Midway
    waiting: Sequence[Sequence[TrialRun]]
    best: Mapping[TrialRun, Place]

    @property
    def runs(self) -> set[TrialRun]:
        """All runs of the cohort that are in training."""
        return {run for runs in (*(runs for runs, _, _ in self.reached), self.training, *self.waiting) for run in runs}

    def write(self, folder: Path) -> None:
        """Writes the note into a folder."""
        values = {
            "rung": self.rung,
            "reached": [[_plain(runs), [r.plain() for r in reports], name] for runs, reports, name in self.reached],
            "training": _plain(self.training),
            "midway": self.midway.plain(),
            "waiting": [_plain(runs) for runs in self.waiting],
            "best": {str(run): written(place) for run, place in self.best.items()},
        }
        write_note(folder / NOTE, values)

    @classmethod
    def read(cls, folder: Path) -> "MidwayNote":
        """The note in a folder. Raises DamagedFile when it is missing or not as it was written."""
        with unreadable(folder / NOTE, "the way to a rung"):
            values = read_note(folder / NOTE)
            return cls(
                rung=values["rung"],
                reached=[(_runs(r), [LaneReport.from_plain(x) for x in found], n) for r, found, n in values["reached"]],
                training=_runs(values["training"]),
                midway=Midway.from_plain(values["midway"]),
                waiting=[_runs(runs) for runs in values["waiting"]],
                best={TrialRun.read(run): read_place(place) for run, place in values["best"].items()},
            )

    def groups(self, now: Sequence[Group], folder: Path, rung: Path) -> list[Group]:
        """The groups with which a cohort goes on from this note, in the order in which they are trained. now: its
        groups at the rung before. folder: of this note. rung: where the files of the rung will be.
        """
        places = {run: place for group in now for run, place in zip(group.runs, group.places, strict=False)}
        reached = [
            Group(list(runs), [(rung / name, lane) for lane in range(len(runs))] if name else [], reports=list(reports))
            for runs, reports, name in self.reached
        ]
        waiting = [
            Group(list(runs), [places[run] for run in runs if run in places]) for runs in (self.training, *self.waiting)
        ]
        waiting[0].midway = folder / STATE, self.midway
        return [*reached, *waiting]


class Pace:
    """Tells when a checkpoint is due. seconds: between two of them; 0: none is ever due."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._last = seconds, time.monotonic()

    def due(self) -> bool:
        """Whether one is due now."""
        return bool(self._seconds) and time.monotonic() - self._last >= self._seconds

    def note(self) -> None:
        """Notes that one was made: the next is due so many seconds later."""
        self._last = time.monotonic()


def take_along(files: Path, to: Path) -> None:
    """Puts the files of one folder into another on the same disk too, without copying them where it knows links."""
    for path in sorted(files.iterdir()):
        if path.name in (NOTE, STATE):
            continue
        try:
            os.link(path, to / path.name)
        except OSError:
            shutil.copyfile(path, to / path.name)


def _plain(runs: Sequence[TrialRun]) -> list[int | str]:
    return [run.plain() for run in runs]


def _runs(values: Sequence[int | str]) -> list[TrialRun]:
    return [TrialRun.read(value) for value in values]
