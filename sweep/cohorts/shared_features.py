"""What the scores of a run are fitted with. The first process that trains makes it, it is kept in the run's folder, and
all others use it: each kind of processor would train slightly other weights, and scores would differ.
"""

from pathlib import Path
from typing import Protocol

from gan_core.fidelity.fitted import protocol_in
from gan_core.files.whole_files import appearing_whole
from results.store import ResultsError, RunFolder, exclusive
from sweep.ledger.cohort_record import read_rows
from sweep.ledger.same_data import MEND

LONGEST_COPY_SECONDS = 60.0


class SharedFeatures(Protocol):
    """Where a process finds what scores are fitted with. fetch: the file, None where there is none yet. offer: is given
    a file that was made here, and returns the one that all processes use, which another may have offered before.
    """

    def fetch(self) -> Path | None: ...
    def offer(self, path: Path) -> Path: ...


class FeaturesInFolder:
    """Those in the folder of a run, which this process sees."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder

    def fetch(self) -> Path | None:
        """The file in the folder, unless it is missing or damaged."""
        return None if protocol_in(self._folder.features) is None else self._folder.features

    def offer(self, path: Path) -> Path:
        """Keeps a file unless there is one. Raises ResultsError where the rows of the run were scored otherwise, as
        after an earlier version, which did not keep the file, on another machine.
        """
        with exclusive(self._folder.features_lock, wait_seconds=LONGEST_COPY_SECONDS):
            if self.fetch() is None:
                self._check_protocol(path)
                with appearing_whole(self._folder.features) as partial:
                    partial.write_bytes(path.read_bytes())  # an error of copyfile would name the other file
        return self._folder.features

    def _check_protocol(self, path: Path) -> None:
        rows = read_rows(self._folder) if self._folder.rows.exists() else []
        before, now = next((row.protocol for row in rows if row.protocol), None), protocol_in(path)
        if before not in (None, now):
            raise ResultsError(
                f"{self._folder.path} was scored by {before}, and a cohort would be by {now} now; {MEND}; where its "
                "classifier was trained on another machine, continue there"
            )
