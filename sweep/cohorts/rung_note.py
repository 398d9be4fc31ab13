"""What a cohort writes beside its arrays at a rung: enough to be judged there again, and to go on."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gan_core.config.gan import GanConfig
from gan_core.config.input_error import DamagedFile
from gan_core.config.reports import LaneReport
from results.store import read_whole, write_atomically

DIGEST = "sha256"  # of the rest of a note


@dataclass(frozen=True)
class RungNote:
    """groups: the trials of each array, in the order of its lanes; places: of each of them the array's file, by its
    name, and the lane in it; configs: of all trials of the cohort, what is in force; reports: of the trials of all
    groups, one after another; best: trial -> its lowest score so far.
    """

    rung: int
    groups: Sequence[Sequence[int]]
    places: Sequence[Sequence[tuple[str, int]]]
    configs: Mapping[int, GanConfig]
    reports: Sequence[LaneReport]
    best: Mapping[int, float]

    def write(self, folder: Path) -> None:
        """Writes the note into a rung's folder."""
        values = {
            "rung": self.rung,
            "groups": self.groups,
            "places": self.places,
            "configs": {trial: config.flatten() for trial, config in self.configs.items()},
            "reports": [report.plain() for report in self.reports],
            "best": self.best,
        }
        write_atomically(folder / "reports.json", json.dumps({**values, DIGEST: _digest(json.dumps(values))}))

    @classmethod
    def read(cls, folder: Path) -> "RungNote":
        """The note of a rung's folder. Raises DamagedFile where it is missing, or is not as it was written."""
        path = folder / "reports.json"
        content = read_whole(path) or b""
        try:
            values = json.loads(content)
            written = values.pop(DIGEST, None)  # an earlier version wrote none
            if written is None or written == _digest(json.dumps(values)):
                return cls(
                    rung=values["rung"],
                    groups=values["groups"],
                    places=[[(name, lane) for name, lane in places] for places in values["places"]],
                    configs={int(trial): GanConfig.unflatten(config) for trial, config in values["configs"].items()},
                    reports=[LaneReport.from_plain(report) for report in values["reports"]],
                    best={int(trial): score for trial, score in values["best"].items()},
                )
        except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
            raise DamagedFile(f"{path} is no note of a rung") from error
        raise DamagedFile(f"{path} is not as it was written")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
