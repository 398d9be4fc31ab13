"""Checkpoints of one cohort: a complete folder for the latest rung, with a note, and the files to go on from later."""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gan_core.config.gan import GanConfig
from gan_core.config.input_error import DamagedFile
from gan_core.config.reports import LaneReport
from results.store import RunFolder, read_whole, write_atomically
from results.trial_run import TrialRun

DIGEST = "sha256"  # the key of the digest of all other keys


@dataclass(frozen=True)
class RungNote:
    """A cohort at a rung that is trained, and not yet judged. groups: the runs of each array, in the order of its
    lanes. places: for each of them the name of the file of the array, and the lane in it. configs: of all runs of the
    cohort, those in force. reports: of the runs of all groups, one after another. best: run -> its lowest score so far.
    """

    rung: int
    groups: Sequence[Sequence[TrialRun]]
    places: Sequence[Sequence[tuple[str, int]]]
    configs: Mapping[TrialRun, GanConfig]
    reports: Sequence[LaneReport]
    best: Mapping[TrialRun, float]

    def write(self, folder: Path) -> None:
        """Writes the note into the folder of a rung."""
        values = {
            "rung": self.rung,
            "groups": [[run.plain() for run in runs] for runs in self.groups],
            "places": self.places,
            "configs": {str(run): config.flatten() for run, config in self.configs.items()},
            "reports": [report.plain() for report in self.reports],
            "best": {str(run): score for run, score in self.best.items()},
        }
        write_atomically(folder / "reports.json", json.dumps({**values, DIGEST: _digest(json.dumps(values))}))

    @classmethod
    def read(cls, folder: Path) -> "RungNote":
        """The note in the folder of a rung. Raises DamagedFile when it is missing or not as it was written."""
        path = folder / "reports.json"
        content = read_whole(path) or b""
        try:
            values = json.loads(content)
            written = values.pop(DIGEST, None)  # earlier versions wrote no digest
            if written is None or written == _digest(json.dumps(values)):
                return cls(
                    rung=values["rung"],
                    groups=[[TrialRun.read(run) for run in runs] for runs in values["groups"]],
                    places=[[(name, lane) for name, lane in places] for places in values["places"]],
                    configs={TrialRun.read(run): GanConfig.unflatten(c) for run, c in values["configs"].items()},
                    reports=[LaneReport.from_plain(report) for report in values["reports"]],
                    best={TrialRun.read(run): score for run, score in values["best"].items()},
                )
        except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
            raise DamagedFile(f"{path} is no note of a rung") from error
        raise DamagedFile(f"{path} is not as it was written")


class Checkpoints:
    """The files of a cohort. Only those of the latest rung are kept; they suffice to go on in another process."""

    def __init__(self, folder: RunFolder, cohort: int) -> None:
        self._folder, self._home = folder, folder.checkpoint(cohort)

    def rung(self, rung: int) -> Path:
        """The folder of a rung, once it is complete."""
        return self._home / f"rung-{rung}"

    def begin(self, rung: int, owner: int) -> Path:
        """An empty folder into which the files of a rung are written by one owner of the cohort (`Cohort.owner`)."""
        partial = self._home / f"rung-{rung}.partial-{owner}"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        return partial

    def finish(self, note: RungNote, partial: Path) -> None:
        """Makes the folder of a rung appear complete, with its note, in place of the rung before."""
        final = self.rung(note.rung)
        note.write(partial)
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
        for older in self._home.glob("rung-*"):
            if older != final:
                shutil.rmtree(older, ignore_errors=True)

    def latest(self) -> Path | None:
        """The folder of the latest complete rung, or None."""
        found = [path for path in self._home.glob("rung-*") if path.name.removeprefix("rung-").isdecimal()]
        return max(found, key=lambda path: int(path.name.removeprefix("rung-")), default=None)

    def move_last_states(self, rung: Path) -> None:
        """Moves the last states of runs out of the folder of the last rung to where each run keeps its own. Until that
        folder is complete, the states that the runs began from must stay there.
        """
        for path in rung.glob("trial-*.safetensors"):
            kept = self._folder.last_state(TrialRun.read(path.stem))
            kept.parent.mkdir(parents=True, exist_ok=True)
            path.replace(kept)

    def clear(self) -> None:
        """Removes all rungs."""
        shutil.rmtree(self._home, ignore_errors=True)

    def remove_last_state(self, run: TrialRun) -> None:
        """Removes the file, if there is one, from which a run would go on."""
        with suppress(IsADirectoryError):
            self._folder.last_state(run).unlink(missing_ok=True)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
