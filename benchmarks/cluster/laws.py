"""What must be true of every sweep, whatever was done to it."""

import re
import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks.cluster.sweeps import CHECKPOINT_SECONDS, Sweep

AGAIN = re.compile(r"cohort \d+.* starts again (?:elsewhere )?from its last checkpoint, (\d+) images are trained again")
NOISE = ("Traceback", "state-dump", "*** SIG")  # what nobody should have to read
OF_PLACE_AND_TIME = {"cohort", "lane", "outcome", "reason", "seconds", "elapsed_seconds", "node", "overruled", "device"}
SLACK_SECONDS = 2.0  # by which a checkpoint may be late: it is made after a step, and sent

Table = Mapping[tuple[int, int], Mapping[str, object]]  # trial and rung -> what was measured there


def measured(rows: list[dict]) -> Table:
    """What a table says of each trial at each rung, wherever and in whichever company it was trained."""
    kept = [{key: value for key, value in row.items() if key not in OF_PLACE_AND_TIME} for row in rows]
    return {(row["trial"], row["rung"]): row for row in kept}


def differing(one: Table, other: Table) -> int:
    """How many rows that both have are not equal, bit for bit."""
    return sum(repr(one[key]) != repr(other[key]) for key in one.keys() & other.keys())


@dataclass
class Found:
    """What became of the sweeps of one scenario. right: the table of all trials at all rungs; None: not compared.
    again: seconds that each lost process had trained since its last checkpoint.
    """

    right: Table | None = None
    disturbed: int = 0
    ended: int = 0
    codes: Counter[int | None] = field(default_factory=Counter)
    lost: int = 0  # trials without an outcome, and trials that failed
    twice: int = 0  # rows that are there twice
    two_owners: int = 0  # cohorts with rows of two nodes at one rung
    wrong: int = 0  # rows that are not those of `right`
    noisy: int = 0  # sweeps that printed what nobody should have to read
    again: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)  # laws of this scenario alone, in words

    def count(self, sweep: Sweep) -> None:
        """Waits for the end of a sweep, and counts what became of it."""
        code = sweep.wait()
        rows, words = sweep.rows, sweep.words
        self.seconds.append(sweep.seconds)
        self.codes[code] += 1
        self.ended += code == 0
        if code != 0:
            self.remarks.append("killed, because it did not end" if code is None else f"exit code {code}")
        ends = {row["trial"]: row["outcome"] for row in rows}
        self.lost += sweep.trials - sum(outcome not in ("running", "failed") for outcome in ends.values())
        self.twice += len(rows) - len({(row["trial"], row["rung"]) for row in rows})
        pairs = {(row["cohort"], row["rung"], row["node"]) for row in rows}
        self.two_owners += len(pairs) - len({pair[:2] for pair in pairs})
        self.wrong += 0 if self.right is None else differing(measured(rows), self.right)
        self.noisy += any(word in words for word in NOISE)
        images_a_second = _pace(rows)
        self.again += [int(images) / images_a_second for images in AGAIN.findall(words) if images_a_second]

    @property
    def faults(self) -> dict[str, int]:
        """How often each law was broken."""
        late = sum(seconds > CHECKPOINT_SECONDS + SLACK_SECONDS for seconds in self.again)
        hung = self.codes.total() - self.ended
        return {
            **{"hung or failed": hung, "lost": self.lost, "twice": self.twice, "two owners": self.two_owners},
            **{"wrong": self.wrong, "noisy": self.noisy, "more trained again": late, "others": len(self.broken)},
        }

    @property
    def whole(self) -> bool:
        """Whether no law is broken."""
        return not any(self.faults.values())

    def _remarks(self) -> list[tuple[str, int]]:
        noise = [f"{self.noisy} printed a traceback"] if self.noisy else []
        return list(Counter([*self.broken, *noise, *self.remarks]).items())

    def line(self, name: str) -> str:
        """The line of the table."""
        return (
            f"| {name} | {self.disturbed or ''} | {self.ended} of {self.codes.total()} "
            f"| {self.lost} | {self.twice} | {self.two_owners} "
            f"| {self.wrong} | {len(self.again)} times, at most {max(self.again, default=0):.1f} s "
            f"| {statistics.median(self.seconds):.0f} (most {max(self.seconds):.0f}) "
            f"| {'; '.join(f'{why} ({n} times)' if n > 1 else why for why, n in self._remarks())} |"
        )


HEAD = (
    "| scenario | times | sweeps that ended by themselves | trials lost | rows twice | rungs of two owners "
    "| rows that differ | trained again | seconds | |\n|---|---|---|---|---|---|---|---|---|---|"
)


def _pace(rows: list[dict]) -> float:
    """Images of all its lanes that a process trains in a second, scoring included."""
    last: dict[int, int] = {}
    images = 0
    for row in sorted(rows, key=lambda row: row["rung"]):
        images += row["images_seen"] - last.get(row["trial"], 0)
        last[row["trial"]] = row["images_seen"]
    seconds = sum(row["seconds"] for row in rows)
    return images / seconds if seconds else 0.0
