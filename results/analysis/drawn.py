"""What was drawn in a search: its parameters, their ranges, and their values in rows of its table."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gan_core.config.input_error import nearest, shown
from results.store import ResultsError
from results.trial_table import TrialTable

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

PROPOSED = "proposed."
DERIVED = {"ratio_to": ".ratio", "complement": ".complement"}  # key of a range -> how the name of its parameter ends
LOG_ABOVE = 100.0  # without a spec, positive numbers whose extremes have at least this ratio are taken as logarithmic


@dataclass(frozen=True)
class Parameter:
    """What was drawn under one name, a hyperparameter or what stands for it (`.ratio`, `.complement`), in some rows.

    values: object [n], None where it was not drawn, because another hyperparameter made it idle. choices: of a
    category, in the order of the space. low, high, log: of numbers; a range includes all values, also those that a
    population moved out of the space.
    """

    name: str
    values: np.ndarray
    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    exists: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "exists", ~pd.isna(self.values))

    @property
    def is_single(self) -> bool:
        """Whether there is nothing to draw, or nothing was drawn."""
        return not self.exists.any() or (len(self.choices) == 1 if self.choices else self.low == self.high)

    def distribution(self) -> "BaseDistribution":
        """Optuna's distribution of it."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.choices:
            return CategoricalDistribution(self.choices)
        if isinstance(self.low, int) and isinstance(self.high, int):
            return IntDistribution(self.low, self.high, log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)


def parameters(table: TrialTable, rows: pd.DataFrame) -> list[Parameter]:
    """The parameters of a search with their values in these rows, in the order of the space. Those of which all have
    the same value are left out. Without a spec, the columns of hyperparameters that differ stand for the space.
    """
    space = table.spec.get("space")
    ranges = space.get("ranges") or {} if isinstance(space, Mapping) else _seen_ranges(table)
    found = [
        _parameter(name, scope, rows)
        for name, scope in ranges.items()
        if "every" not in scope  # all moving averages are in every trial, and the best one is reported
    ]
    return [each for each in found if each is not None and not each.is_single]


def chosen(known: Sequence[Parameter], names: Sequence[str] | None) -> list[Parameter]:
    """The parameters of these names, in their order; None: all. A hyperparameter stands for what was drawn in its
    place. A name that is given twice counts once. Raises ResultsError for an unknown name, and for what is no list.
    """
    if names is None:
        return list(known)
    if isinstance(names, str) or not isinstance(names, Iterable) or not all(isinstance(name, str) for name in names):
        raise ResultsError(f"hyperparameters are given as a list of their names, got {shown(names)}")
    by_name = {each.name.removesuffix(kind): each for each in known for kind in (*DERIVED.values(), "")}
    for name in names:
        if name not in by_name:
            hint = nearest(name, [each.name for each in known]) if known else "nothing differs between its trials"
            raise ResultsError(f"{shown(name)} was not drawn in this search; {hint}")
    return [by_name[name] for name in dict.fromkeys(names)]


def _parameter(name: str, scope: Mapping[str, Any], rows: pd.DataFrame) -> Parameter | None:
    """A hyperparameter's parameter; None if the rows lack it. scope: its range as the spec has it."""
    kind = next((ending for key, ending in DERIVED.items() if scope.get(key, False) is not False), "")
    column = f"{PROPOSED}{name}{kind}" if kind else name
    if column not in rows.columns:
        return None
    exists = rows[column].notna().to_numpy()
    for other, allowed in scope.get("when", {}).items():  # elsewhere the hyperparameter keeps the value of the base
        if other in rows.columns:
            exists = exists & rows[other].isin(allowed).to_numpy()
    values = np.array(rows[column].tolist(), object)
    values[~exists] = None
    seen = [value for value in values[exists].tolist()]
    if "choices" in scope:
        return _category(name + kind, values, scope["choices"], seen)
    low, high, log = scope["low"], scope["high"], bool(scope.get("log"))
    if isinstance(low, int) and isinstance(high, int) and all(float(value).is_integer() for value in seen):
        values[exists] = [int(value) for value in seen]
        return Parameter(
            name + kind, values, low=min([low, *values[exists]]), high=max([high, *values[exists]]), log=log
        )
    return Parameter(name + kind, values, low=float(min([low, *seen])), high=float(max([high, *seen])), log=log)


def _category(name: str, values: np.ndarray, choices: list[Any], seen: list[Any]) -> Parameter:
    """A category. A choice of 64 reads 64.0 in a column in which others are missing; it becomes the choice again."""
    known = list(dict.fromkeys([*choices, *seen]))
    same = {value: value for value in known}
    return Parameter(name, np.array([None if v is None else same[v] for v in values.tolist()], object), tuple(known))


def _seen_ranges(table: TrialTable) -> dict[str, dict[str, Any]]:
    """Ranges of the hyperparameters that differ, and of what was proposed for them, from the values in the table."""
    frame = table.frame.loc[table.frame["replicate"] == 0]
    derived = {}
    for column in frame.columns:
        for key, ending in DERIVED.items():
            if column.startswith(PROPOSED) and column.endswith(ending):
                derived[column.removeprefix(PROPOSED).removesuffix(ending)] = column, {key: True}
    names = [*table.differing, *(name for name in derived if name not in table.differing)]
    found = {}
    for name in names:
        column, extra = derived.get(name, (name, {}))
        found[name] = {**extra, **_seen_range(frame[column].dropna())}
    return found


def _seen_range(values: pd.Series) -> dict[str, Any]:
    if values.empty or pd.api.types.is_bool_dtype(values) or not pd.api.types.is_numeric_dtype(values):
        return {"choices": sorted(set(values.tolist()), key=str)}
    low, high = values.min(), values.max()
    return {"low": low.item(), "high": high.item(), "log": bool(low > 0 and high >= LOG_ABOVE * low)}
