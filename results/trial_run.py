"""TrialRun: which training of a trial is meant, the one in the search or one of its replicates."""

import re
from typing import NamedTuple

MOST_TRIALS = 1_000_000  # the numbers of trials lie below it
WRITTEN = re.compile(r"(?:trial-)?([0-9]+)(?:-seed-([1-9][0-9]*))?")


class TrialRun(NamedTuple):
    """One training of a trial. replicate: 0 for the training in the search; from 1 for a finalist that is trained again
    from another seed.

    As text it is `3` or `3-seed-1`. Earlier versions wrote one whole number, `replicate * MOST_TRIALS + trial`, which
    `read` understands too.
    """

    trial: int
    replicate: int = 0

    def __str__(self) -> str:
        return f"{self.trial}-seed-{self.replicate}" if self.replicate else str(self.trial)

    @property
    def name(self) -> str:
        """How files are named after it: `trial-0003` or `trial-0003-seed-1`."""
        return f"trial-{self.trial:04d}" + (f"-seed-{self.replicate}" if self.replicate else "")

    @property
    def number(self) -> int:
        """The whole number of earlier versions, from which the seed of a replicate is still derived."""
        return self.replicate * MOST_TRIALS + self.trial

    def plain(self) -> int | str:
        """The value for JSON: the number of the trial, or for a replicate the text."""
        return str(self) if self.replicate else self.trial

    @classmethod
    def read(cls, written: int | str) -> "TrialRun":
        """The inverse of `plain`, `str` and `name`. Raises ValueError for text of another form."""
        found = WRITTEN.fullmatch(str(written))
        if found is None or (found[2] and int(found[1]) >= MOST_TRIALS):
            raise ValueError(f"{written!r} does not name a trial; it must be such as 3, 3-seed-1 or trial-0003-seed-1")
        number, replicate = int(found[1]), found[2]
        return cls(number, int(replicate)) if replicate else cls(number % MOST_TRIALS, number // MOST_TRIALS)
