"""What a run's files say of its cohorts and rows, read back and checked line by line."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gan_core.config.gan import GanConfig, InputError
from results.rows import ResultRow, row_fault
from results.schema import AMOUNT, ANY_NUMBER, NUMBER, SCALAR, Kind, fault, list_of, mapping_of, whole
from results.store import RESTORE, JsonLines, ResultsError, RunFolder
from sweep.spec.confirmation import trial_and_replicate

NUMBERS, IDENTITY, BROKEN = list_of(whole()), whole(), mapping_of(ANY_NUMBER)
SCORES = mapping_of(NUMBER)


def _is_refusal(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and IDENTITY.fits(value[0]) and BROKEN.fits(value[1])


KINDS: Mapping[str, Kind] = {
    "cohort": whole(),
    "trials": NUMBERS,
    "configs": list_of(mapping_of(SCALAR.or_none())),
    "derived": list_of(mapping_of(SCALAR)),
    "from_rung": whole(),
    "best": Kind("a mapping of trials to numbers", lambda v: SCORES.fits(v) and all(map(str.isdecimal, v))),
    "averages_images": list_of(AMOUNT),
    "optuna": NUMBERS,
    "refused": list_of(Kind("an id and what it broke by how much", _is_refusal)),
    "elapsed_seconds": AMOUNT,
}
REQUIRED = ("cohort", "trials", "configs", "optuna")


@dataclass(frozen=True)
class Cohort:
    """The trials that are trained together. trials: their numbers (`sweep.spec.confirmation.run_number`); configs: one
    for each, in the same order; derived: what was proposed for each beside its hyperparameters, or nothing. from_rung:
    the rung that is climbed first, above 0 where they go on from their own checkpoints; best: trial -> its lowest score
    until then. averages_images: the half-lives of the averages that each keeps side by side; none: its own one.
    """

    number: int
    trials: tuple[int, ...]
    configs: tuple[GanConfig, ...]
    derived: tuple[Mapping[str, Any], ...] = ()
    from_rung: int = 0
    best: Mapping[int, float] = field(default_factory=dict)
    averages_images: tuple[float, ...] = ()

    def plain(self) -> dict[str, Any]:
        """As plain values: what is journalled, and what crosses to another process."""
        return {
            "cohort": self.number,
            "trials": list(self.trials),
            "configs": [c.flatten() for c in self.configs],
            "derived": [dict(values) for values in self.derived],
            "from_rung": self.from_rung,
            "best": {str(trial): score for trial, score in self.best.items()},
            "averages_images": list(self.averages_images),
        }

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> "Cohort":
        """The inverse of `plain`."""
        configs = tuple(GanConfig.unflatten(config) for config in values["configs"])
        derived = tuple(values.get("derived", ()))
        best = {int(trial): score for trial, score in values.get("best", {}).items()}
        averages = tuple(values.get("averages_images", ()))
        from_rung = values.get("from_rung", 0)
        return cls(values["cohort"], tuple(values["trials"]), configs, derived, from_rung, best, averages)


@dataclass(frozen=True)
class CohortRecord:
    """A cohort as its line in `cohorts.jsonl` has it. identities: its trials' ids in Optuna's storage, none where they
    were proposed before; refused: the ids of the proposals that broke a constraint on the way, with what they broke;
    elapsed_seconds: of the sweep, when it was handed out.
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
        """The inverse of `plain`; what an earlier version did not write has its default. Raises InputError where a
        configuration is none.
        """
        refused = tuple((identity, broken) for identity, broken in values.get("refused", ()))
        elapsed = values.get("elapsed_seconds", 0.0)
        return cls(Cohort.from_plain(values), tuple(values["optuna"]), refused, elapsed)

    @property
    def asked(self) -> set[int]:
        """The ids of all proposals that it stands for, refused ones too."""
        return {*self.identities, *(identity for identity, _ in self.refused)}


def read_cohorts(folder: RunFolder) -> list[CohortRecord]:
    """The cohorts of a run, in the order of their numbers. Raises ResultsError, with the line, where one is none, or
    does not follow from those before it.
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
    """The rows of a run, in the order of their lines. Raises ResultsError, with the line, where one is none, or its
    hyperparameters are no configuration.
    """
    rows: list[ResultRow] = []
    known: dict[tuple[int, int], Mapping[str, Any]] = {}
    for line, record in enumerate(JsonLines(folder.rows).read(row_fault), 1):
        row = ResultRow.from_record(record)
        run = row.trial, row.replicate
        if known.get(run) != row.hyperparameters:  # which are the same at each rung, but in a population
            known[run] = row.hyperparameters
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
    if not most or len(set(trials)) < most or len(values["configs"]) != most:
        return "trials must be different ones, with a configuration each"
    if any(len(values.get(name) or trials) != most for name in ("derived", "optuna")):
        return "derived and optuna must be empty, or have one for each of trials"
    return None


class _HandedOut:
    """What earlier cohorts of a run stand for. Trials are handed out in the order of their numbers, once each; from
    then on only as confirmations, or from a later rung.
    """

    def __init__(self) -> None:
        self._cohorts, self._trials = 0, 0
        self._runs: set[int] = set()
        self._asked: set[int] = set()

    def take(self, record: CohortRecord) -> str | None:
        """Takes in the next cohort, and answers what is wrong with it, or None."""
        cohort = record.cohort
        runs, new = set(cohort.trials), set(range(self._trials, self._trials + len(cohort.trials)))
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

    def _confirms(self, runs: set[int]) -> bool:
        return all(replicate and trial < self._trials for trial, replicate in map(trial_and_replicate, runs))
