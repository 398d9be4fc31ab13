"""ReportedRun: a run as a report sees it, which may have no rows yet."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from results.store import RunFolder, read_whole
from results.stored_run import records, run_folder
from results.table import ResultsTable


@dataclass(frozen=True)
class ReportedRun:
    """place: the folder or the address of the run. table: None while no trial has reached its first rung. state: in
    words, what is left to do, such as `this run is going on`; "" for a finished one.
    """

    place: str | Path
    folder: RunFolder
    table: ResultsTable | None
    state: str = ""

    @classmethod
    def load(cls, place: str | Path, state: str = "") -> "ReportedRun":
        """Reads a run from its folder, or fetches it from its address. Raises ResultsError if there is none or its
        files are damaged, and StoreError if a store cannot be read.
        """
        folder = run_folder(place).require()
        begun = b"\n" in (read_whole(folder.rows) or b"")
        return cls(place, folder, ResultsTable.load(folder.path) if begun else None, state)

    @cached_property
    def name(self) -> str:
        """The name of the run, or else its place."""
        named = self.table.spec.get("name") if self.table is not None else None
        return str(named or Path(self.folder.shown.rstrip("/")).name or self.folder.shown)

    def pictures(self, paths: Collection[Path]) -> None:
        """Fetches pictures of a run at an address; those in a folder are there."""
        wanted = {path.relative_to(self.folder.path).as_posix() for path in paths}
        run_folder(self.place, lambda name: records(name) or name in wanted)
