"""What a line of Optuna's journal must hold (Optuna 5, `optuna.storages.journal`), which replays it without a check."""

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    json_to_distribution,
)
from optuna.trial import TrialState

from gan_core.config.input_error import shown
from results.schema import (
    ANY_NUMBER,
    ANYTHING,
    NUMBER,
    SCALAR,
    TEXT,
    Kind,
    fault,
    is_text,
    list_of,
    mapping_of,
    whole_number,
)
from search_spaces.ranges import OFF_GRID_STEPS

CREATES_TRIAL = 4  # the code of the line about a new trial


@cache
def _distribution(text: str) -> BaseDistribution | None:
    """The distribution that a text stands for; None where it is none, for which Optuna raises many kinds of errors."""
    try:
        return json_to_distribution(text)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return None


def _holds(distribution: BaseDistribution, value: float) -> bool:
    """Whether a number stands for one of a distribution's values: for a choice, its place among the choices."""
    if isinstance(distribution, CategoricalDistribution):
        return 0 <= value < len(distribution.choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    if not distribution.low <= value <= distribution.high:
        return False
    steps = (value - distribution.low) / distribution.step if distribution.step else 0.0
    return abs(steps - round(steps)) < OFF_GRID_STEPS


def _is_moment(value: Any) -> bool:
    try:
        datetime.fromisoformat(value).astimezone()
    except (ValueError, TypeError, OverflowError):
        return False
    return True


def _attributes(value: Any) -> bool:
    return isinstance(value, dict) and all(is_text(name) and _attribute(name).fits(x) for name, x in value.items())


def _attribute(name: str) -> Kind:
    """The kind of an attribute of a trial or of the study, by its name: this program's, and those of samplers."""
    if name.startswith("constraints:"):
        return ANY_NUMBER
    if name.startswith("violation:"):
        return NUMBER
    return ATTRIBUTES.get(name.rpartition(":")[2], ANYTHING)


ATTRIBUTES = {
    "extends": whole_number(),
    "trial": whole_number(),
    "fixed_params": mapping_of(SCALAR),
    "grid_id": whole_number(),
    "search_space": mapping_of(list_of(SCALAR)),
    "generation": whole_number(),
    "x_for_tell": list_of(NUMBER),
}
MOMENT = Kind("a date and time", _is_moment)
DISTRIBUTION = Kind("one of Optuna's distributions", lambda text: is_text(text) and _distribution(text) is not None)
VALUES = list_of(NUMBER).or_none()
STATE = whole_number(0, max(TrialState))
ATTRIBUTE = Kind("a name and its value", lambda value: _attributes(value) and len(value) == 1)
NAMED = Kind("names and values of their kinds", _attributes)
STUDY, TRIAL = {"study_id": whole_number()}, {"trial_id": whole_number()}
OPERATIONS: Mapping[int, Mapping[str, Kind]] = {  # code -> what a line of it must have
    0: {"study_name": TEXT, "directions": list_of(whole_number(1, 2))},
    2: {**STUDY, "user_attr": ATTRIBUTE},
    3: {**STUDY, "system_attr": ATTRIBUTE},
    CREATES_TRIAL: {**STUDY, "datetime_start": MOMENT.or_none()},
    5: {**TRIAL, "param_name": TEXT, "param_value_internal": NUMBER, "distribution": DISTRIBUTION},
    6: {**TRIAL, "state": STATE, "values": VALUES},
    7: {**TRIAL, "step": whole_number(), "intermediate_value": NUMBER},
    8: {**TRIAL, "user_attr": ATTRIBUTE},
    9: {**TRIAL, "system_attr": ATTRIBUTE},
}
CREATED = {  # what a line about a new trial may have
    **{"state": STATE, "value": NUMBER.or_none(), "values": VALUES, "datetime_complete": MOMENT},
    **{
        "distributions": mapping_of(DISTRIBUTION),
        "params": mapping_of(NUMBER),
        "intermediate_values": mapping_of(NUMBER),
    },
    **{"user_attrs": NAMED, "system_attrs": NAMED},
}
MORE = {CREATES_TRIAL: CREATED, 6: {"datetime_start": MOMENT, "datetime_complete": MOMENT}}


class JournalCheck:
    """Says what is wrong with the lines of a journal, which it is given one after another."""

    def __init__(self) -> None:
        self._objectives: list[int] = []  # of each study, how many
        self._studies: list[int] = []  # of each trial, which

    def __call__(self, log: Mapping[str, Any]) -> str | None:
        """What is wrong with the next line, or None."""
        code = log.get("op_code")
        if type(code) is not int or code not in OPERATIONS:
            return f"op_code must be one of {', '.join(map(str, OPERATIONS))}, got {shown(code)}"
        kinds = {"worker_id": TEXT, **OPERATIONS[code]}
        if wrong := fault(log, {**kinds, **MORE.get(code, {})}, tuple(kinds), lambda name: ANYTHING):
            return wrong
        if code == 0:
            self._objectives.append(len(log["directions"]))
        for name, known in (("study_id", self._objectives), ("trial_id", self._studies)):
            if name in log and log[name] >= len(known):
                return f"{name} must be below {len(known)}, for there are no more before it, got {log[name]}"
        if code == CREATES_TRIAL:
            self._studies.append(log["study_id"])
            return _creation_fault(log)
        return self._ending_fault(log) if code == 6 else _parameter_fault(log) if code == 5 else None

    def _ending_fault(self, log: Mapping[str, Any]) -> str | None:
        state, values = TrialState(log["state"]), log["values"]
        objectives = self._objectives[self._studies[log["trial_id"]]]
        if state is TrialState.COMPLETE and len(values or ()) != objectives:
            return f"values must be {objectives} numbers where a trial is complete, got {shown(values)}"
        moment = "datetime_complete" if state.is_finished() else "datetime_start"
        return None if moment in log or state is TrialState.WAITING else f"it lacks {moment!r}"


def _creation_fault(log: Mapping[str, Any]) -> str | None:
    distributions, params = log.get("distributions", {}), log.get("params", {})
    if distributions.keys() != params.keys():
        return "params and distributions must have the same names"
    if not all(map(str.isdecimal, log.get("intermediate_values", {}))):
        return "intermediate_values must map whole numbers to numbers"
    if log.get("state") == TrialState.COMPLETE and log.get("value") is None and not log.get("values"):
        return "it lacks the value of a trial that is complete"
    faults = (
        _parameter_fault({"param_value_internal": params[name], "distribution": text})
        for name, text in distributions.items()
    )
    return next(filter(None, faults), None)


def _parameter_fault(log: Mapping[str, Any]) -> str | None:
    value, distribution = log["param_value_internal"], _distribution(log["distribution"])
    if distribution is None or not _holds(distribution, value):
        return f"param_value_internal must lie in {distribution}, got {shown(value)}"
    return None
