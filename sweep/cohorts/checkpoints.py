"""Checkpoints of one cohort: a complete folder for the latest rung, with a note, and the files to go on from later."""

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gan_core.config.gan import GanConfig
from gan_core.config.input_error import DamagedFile
from gan_core.config.limits import Place, read_place, written
from gan_core.config.reports import LaneReport
from results.store import RunFolder, read_whole, write_atomically
from results.trial_run import TrialRun
from sweep.cohorts.contracts import Transfer

DIGEST = "sha256"  # the key of the digest of all other keys
PICTURE, GENERATOR, LAST_STATE = ".png", ".generator.safetensors", ".safetensors"  # ends of the names of a run's files


@dataclass(frozen=True)
class RungNote:
    """A cohort at a rung that is trained, and not yet judged. groups: the runs of each array, in the order of its
    lanes. places: for each of them the name of the file of the array, and the lane in it. configs: of all runs of the
    cohort, those in force. reports: of the runs of all groups, one after another. best: run -> the place of its best
    rung so far.
    """

    rung: int
    groups: Sequence[Sequence[TrialRun]]
    places: Sequence[Sequence[tuple[str, int]]]
    configs: Mapping[TrialRun, GanConfig]
    reports: Sequence[LaneReport]
    best: Mapping[TrialRun, Place]

    def write(self, folder: Path) -> None:
        """Writes the note into the folder of a rung."""
        values = {
            "rung": self.rung,
            "groups": [[run.plain() for run in runs] for runs in self.groups],
            "places": self.places,
            "configs": {str(run): config.flatten() for run, config in self.configs.items()},
            "reports": [report.plain() for report in self.reports],
            "best": {str(run): written(place) for run, place in self.best.items()},
        }
        write_note(folder / "reports.json", values)

    @classmethod
    def read(cls, folder: Path) -> "RungNote":
        """The note in the folder of a rung. Raises DamagedFile when it is missing or not as it was written."""
        path = folder / "reports.json"
        with unreadable(path, "a rung"):
            values = read_note(path)
            return cls(
                rung=values["rung"],
                groups=[[TrialRun.read(run) for run in runs] for runs in values["groups"]],
                places=[[(name, lane) for name, lane in places] for places in values["places"]],
                configs={TrialRun.read(run): GanConfig.unflatten(c) for run, c in values["configs"].items()},
                reports=[LaneReport.from_plain(report) for report in values["reports"]],
                best={TrialRun.read(run): read_place(place) for run, place in values["best"].items()},
            )


def write_note(path: Path, values: Mapping[str, Any]) -> None:
    """Writes plain values as JSON, with a digest of them."""
    write_atomically(path, json.dumps({**values, DIGEST: _digest(json.dumps(values))}))


def read_note(path: Path) -> dict[str, Any]:
    """What `write_note` wrote. Raises DamagedFile where it is not as it was written, and as `unreadable` expects."""
    values = json.loads(read_whole(path) or b"")
    written = values.pop(DIGEST, None)  # earlier versions wrote no digest
    if written is not None and written != _digest(json.dumps(values)):
        raise DamagedFile(f"{path} is not as it was written")
    return values


@contextmanager
def unreadable(path: Path, what: str) -> Iterator[None]:
    """Raises DamagedFile for what is raised when something is made of values that are no note of `what`."""
    try:
        yield
    except DamagedFile:
        raise
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise DamagedFile(f"{path} is no note of {what}") from error


class Checkpoints:
    """The files of a cohort. Only those of the latest rung are kept; they suffice to go on in another process. What is
    kept of each run for itself (its best picture and generator, and its last state) is written beside them, and moved
    to its own place once the rung is complete.

    folder: the folder of the run, or a folder of this process alone with the same layout. transfer: takes the files to
    the folder of the run; None where this process writes there itself.
    """

    def __init__(self, folder: RunFolder, cohort: int, transfer: Transfer | None = None) -> None:
        self._folder, self._home, self._transfer = folder, folder.checkpoint(cohort), transfer

    def rung(self, rung: int) -> Path:
        """The folder of a rung, once it is complete."""
        return self._home / f"rung-{rung}"

    def midway(self, rung: int) -> Path:
        """The folder of what the cohort was on its way to a rung."""
        return self._home / f"rung-{rung}.midway"

    def midways(self) -> list[Path]:
        """The folders of all ways to a rung that are there: at most one, until the rung is complete."""
        return sorted(self._home.glob("rung-*.midway"))

    def partial(self, rung: int, owner: int, *, midway: bool = False) -> Path:
        """The folder into which one owner of the cohort (`Cohort.owner`) writes the files of a rung, or of the way."""
        return self._home / f"rung-{rung}{'.midway' * midway}.partial-{owner}"

    def begin(self, rung: int, owner: int, *, midway: bool = False) -> Path:
        """Makes `partial` anew, and empty."""
        partial = self.partial(rung, owner, midway=midway)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        return partial

    def finish(self, note: RungNote, partial: Path) -> None:
        """Makes the folder of a rung appear complete, with its note, in place of the rung before. When this returns,
        all that must last is in the folder of the run.
        """
        note.write(partial)
        self.complete(note.rung, partial)
        if self._transfer is not None:
            self._transfer.deliver(note.rung, self.rung(note.rung), whole=True)
        self.keep_of_runs(self.rung(note.rung))

    def complete(self, rung: int, partial: Path) -> None:
        """Makes the folder of a rung, whose files are all in `partial`, appear in place of the rung before."""
        final = self.rung(rung)
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
        for older in self._home.glob("rung-*"):
            if older != final:
                shutil.rmtree(older, ignore_errors=True)

    def finish_midway(self, rung: int, partial: Path) -> None:
        """Makes the folder of the way to a rung appear complete, in place of an earlier one."""
        self.complete_midway(rung, partial)
        if self._transfer is not None:
            self._transfer.deliver(rung, self.midway(rung), whole=True, midway=True)

    def complete_midway(self, rung: int, partial: Path) -> None:
        """Does the same here alone. The rung before stays until the next is complete."""
        final = self.midway(rung)
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)

    def break_off(self, rung: int, partial: Path) -> None:
        """Keeps, of a rung that not all arrays have reached, what is kept of each run for itself."""
        if self._transfer is not None:
            self._transfer.deliver(rung, partial, whole=False)
        self.keep_of_runs(partial)

    def latest(self) -> Path | None:
        """The folder of the latest complete rung, or None."""
        found = [path for path in self._home.glob("rung-*") if path.name.removeprefix("rung-").isdecimal()]
        return max(found, key=lambda path: int(path.name.removeprefix("rung-")), default=None)

    def keep_of_runs(self, rung: Path) -> None:
        """Moves what is kept of each run for itself from the folder of a rung to its own place. Until the last rung is
        complete, the states that the runs began from must stay there.
        """
        for path in of_runs(rung):
            name, dot, suffix = path.name.partition(".")
            run = TrialRun.read(name)
            kept = {
                PICTURE: self._folder.trial_samples(run),
                GENERATOR: self._folder.best_generator(run),
                LAST_STATE: self._folder.last_state(run),
            }[dot + suffix]
            kept.parent.mkdir(parents=True, exist_ok=True)
            path.replace(kept)

    def forget(self, runs: Iterable[TrialRun]) -> None:
        """Removes all rungs, and the files, where there are any, from which these runs would go on."""
        if self._transfer is not None:
            self._transfer.forget(runs)
        shutil.rmtree(self._home, ignore_errors=True)
        for run in runs:
            with suppress(IsADirectoryError):
                self._folder.last_state(run).unlink(missing_ok=True)


def of_runs(rung: Path) -> list[Path]:
    """The files in the folder of a rung that are kept of each run for itself."""
    return sorted(rung.glob("trial-*"))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
