"""The cohorts and rows in the files of a run: how they are written, and how each line is checked when it is read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gan_core.config.gan import GanConfig
from gan_core.config.input_error import InputError
from gan_core.config.limits import Place, read_place, written
from results.rows import ResultRow, row_fault
from results.schema import AMOUNT, ANY_NUMBER, NUMBER, SCALAR, Kind, fault, list_of, mapping_of, whole_number
from results.store import RESTORE, JsonLines, ResultsError, RunFolder
from results.trial_run import TrialRun

IDENTITY, BROKEN = whole_number(), mapping_of(ANY_NUMBER)
PLACE = Kind("a number or two", lambda value: NUMBER.fits(value) or (list_of(NUMBER).fits(value) and len(value) == 2))
PLACES = mapping_of(PLACE)


def _is_run(value: Any) -> bool:
    if not isinstance(value, str):
        return IDENTITY.fits(value)
    try:
        TrialRun.read(value)
    except ValueError:
        return False
    return True


def _is_refusal(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and IDENTITY.fits(value[0]) and BROKEN.fits(value[1])


KINDS: Mapping[str, Kind] = {
    "cohort": whole_number(),
    "trials": list_of(Kind("a whole number of at least 0 or such as '3-seed-1'", _is_run)),
    "configs": list_of(mapping_of(SCALAR.or_none())),
    "derived": list_of(mapping_of(SCALAR)),
    "from_rung": whole_number(),
    "best": Kind("a mapping of trials to numbers", lambda value: PLACES.fits(value) and all(map(_is_run, value))),
    "averages_images": list_of(AMOUNT),
    "optuna": list_of(IDENTITY),
    "refused": list_of(Kind("an id and what it broke by how much", _is_refusal)),
    "elapsed_seconds": AMOUNT,
}
REQUIRED = ("cohort", "trials", "configs", "optuna")


@dataclass(frozen=True)
class Cohort:
    """The runs of trials that one process trains together. configs: one for each of `runs`, in the same order. derived:
    for each, what the sampler proposed that is no hyperparameter itself; empty if there is nothing. from_rung: the
    first rung to train to, above 0 if the runs go on from their own checkpoints; best: run -> the place of its best
    rung until then. averages_images: half-lives of the moving averages of the weights that each lane keeps side by
    side; empty if each keeps only the one of its configuration. owner: the number of the process to which it is handed
    out (`Owners`), which is not recorded.
    """

    number: int
    runs: tuple[TrialRun, ...]
    configs: tuple[GanConfig, ...]
    derived: tuple[Mapping[str, Any], ...] = ()
    from_rung: int = 0
    best: Mapping[TrialRun, Place] = field(default_factory=dict)
    averages_images: tuple[float, ...] = ()
    owner: int = field(default=0, compare=False)

    def plain(self) -> dict[str, Any]:
        """The cohort as plain values for JSON."""
        return {
            "cohort": self.number,
            "trials": [run.plain() for run in self.runs],
            "configs": [c.flatten() for c in self.configs],
            "derived": [dict(values) for values in self.derived],
            "from_rung": self.from_rung,
            "best": {str(run): written(place) for run, place in self.best.items()},
            "averages_images": list(self.averages_images),
        }

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> "Cohort":
        """The inverse of `plain`."""
        configs = tuple(GanConfig.unflatten(config) for config in values["configs"])
        derived = tuple(values.get("derived", ()))
        best = {TrialRun.read(run): read_place(place) for run, place in values.get("best", {}).items()}
        averages = tuple(values.get("averages_images", ()))
        from_rung = values.get("from_rung", 0)
        runs = tuple(map(TrialRun.read, values["trials"]))
        return cls(values["cohort"], runs, configs, derived, from_rung, best, averages)


@dataclass(frozen=True)
class CohortRecord:
    """A cohort with the rest of its line in `cohorts.jsonl`. identities: the ids of its trials in the storage of
    Optuna, empty if they were proposed for an earlier cohort. refused: the id of each proposal that broke a constraint,
    with constraint -> amount. elapsed_seconds: how long the sweep had gone on when the cohort was handed out.
    """

    cohort: Cohort
    identities: tuple[int, ...]
    refused: tuple[tuple[int, Mapping[str, float]], ...]
    elapsed_seconds: float

    def plain(self) -> dict[str, Any]:
        """The line, as plain values."""
        refused = [[identity, dict(broken)] for identity, broken in self.refused]
        return {
            **self.cohort.plain(),
            "optuna": list(self.identities),
            "refused": refused,
            "elapsed_seconds": self.elapsed_seconds,
        }

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> "CohortRecord":
        """The inverse of `plain`. Keys that an earlier version did not write have their defaults. Raises InputError for
        a mapping that is no configuration.
        """
        refused = tuple((identity, broken) for identity, broken in values.get("refused", ()))
        elapsed = values.get("elapsed_seconds", 0.0)
        return cls(Cohort.from_plain(values), tuple(values["optuna"]), refused, elapsed)

    @property
    def asked(self) -> set[int]:
        """The ids of all proposals that were asked for on the way to this cohort, refused ones included."""
        return {*self.identities, *(identity for identity, _ in self.refused)}


def read_cohorts(folder: RunFolder) -> list[CohortRecord]:
    """The cohorts of a run, in the order of their numbers. Raises ResultsError, which names the line, for a record that
    is no cohort or does not follow from those before it.
    """
    found, handed_out = list[CohortRecord](), _HandedOut()
    for line, values in enumerate(JsonLines(folder.cohorts).read(_fault), 1):
        try:
            record = CohortRecord.from_plain(values)
        except InputError as error:
            raise ResultsError(f"{folder.cohorts}, line {line}: {error}; {RESTORE}") from error
        if wrong := handed_out.take(record):
            raise ResultsError(f"{folder.cohorts}, line {line}: {wrong}; {RESTORE}")
        found.append(record)
    return found


def read_rows(folder: RunFolder) -> list[ResultRow]:
    """The rows of a run, in the order of their lines. Raises ResultsError, which names the line, for a record that is
    no row or whose hyperparameters are no configuration.
    """
    rows: list[ResultRow] = []
    known: dict[TrialRun, Mapping[str, Any]] = {}
    for line, record in enumerate(JsonLines(folder.rows).read(row_fault), 1):
        row = ResultRow.from_record(record)
        if known.get(row.run) != row.hyperparameters:  # they change between rungs only in a population
            known[row.run] = row.hyperparameters
            try:
                GanConfig.unflatten(row.hyperparameters)
            except InputError as error:
                raise ResultsError(f"{folder.rows}, line {line}: {error}; {RESTORE}") from error
        rows.append(row)
    return rows


def _fault(values: Mapping[str, Any]) -> str | None:
    if wrong := fault(values, KINDS, REQUIRED, lambda name: None):
        return wrong
    trials, most = values["trials"], len(values["trials"])
    if not most or len(set(map(TrialRun.read, trials))) < most or len(values["configs"]) != most:
        return "trials must be different ones, with a configuration each"
    if any(len(values.get(name) or trials) != most for name in ("derived", "optuna")):
        return "derived and optuna must be empty, or have one for each of trials"
    return None


class _HandedOut:
    """Tracks which runs and proposals earlier cohorts contained, to check the next one. Trials are handed out once
    each, in the order of their numbers; after that they can appear again only as replicates, or to go on from a later
    rung.
    """

    def __init__(self) -> None:
        self._cohorts, self._trials = 0, 0
        self._runs: set[TrialRun] = set()
        self._asked: set[int] = set()

    def take(self, record: CohortRecord) -> str | None:
        """Takes in the next cohort. Returns in words what is wrong with it, or None."""
        cohort = record.cohort
        runs = set(cohort.runs)
        new = {TrialRun(trial) for trial in range(self._trials, self._trials + len(cohort.runs))}
        if cohort.number != self._cohorts:
            return f"cohort must be {self._cohorts}, got {cohort.number}"
        if record.asked & self._asked:
            return f"optuna and refused name {min(record.asked & self._asked)}, which an earlier cohort has"
        if record.identities and (runs != new or cohort.from_rung):
            return f"trials must be {min(new)} to {max(new)}, from rung 0"
        if not record.identities and cohort.from_rung and not runs <= self._runs:
            return f"trial {min(runs - self._runs)} goes on from rung {cohort.from_rung}, and no earlier cohort has it"
        if not record.identities and not cohort.from_rung and (runs & self._runs or not self._confirms(runs)):
            return "optuna must have an id for each of trials, for they are not confirmations of earlier ones"
        self._cohorts, self._runs, self._asked = self._cohorts + 1, self._runs | runs, self._asked | record.asked
        self._trials += len(record.identities)
        return None

    def _confirms(self, runs: set[TrialRun]) -> bool:
        return all(run.replicate and run.trial < self._trials for run in runs)
