"""The range of one hyperparameter, and how a value is drawn from it. This module does not load Optuna.

A hyperparameter is drawn directly, as its ratio to another one, or as its complement to 1. A parameter is what is
drawn: its name is the dotted name of the hyperparameter, followed by `.ratio` or `.complement` in the latter cases.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

OFF_GRID_STEPS = 1e-8  # the tolerance, in steps, of a number on the grid; the same as Optuna's
SHORT_DIGITS = 12  # a ratio or complement is rounded to this many digits if that gives the same value


class Suggests(Protocol):
    """Something that draws values: an Optuna trial, or another object with these three methods."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float: ...

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int: ...

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


@dataclass(frozen=True)
class Range:
    """What is drawn for one hyperparameter: one of `choices`, or a number from low to high, both included.

    Numbers may be on a log scale or in steps, and are whole if low and high are `int`. when: the range exists only if
    each of these hyperparameters has one of these values; otherwise the hyperparameter keeps its base value. ratio_to:
    the value divided by that of this hyperparameter is drawn. complement: 1 minus the value is drawn.
    """

    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: float | None = None
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    ratio_to: str | None = None
    complement: bool = False

    @property
    def extremes(self) -> tuple[Any, ...]:
        """All choices, or both ends."""
        return self.choices or (self.low, self.high)

    @property
    def is_derived(self) -> bool:
        """Whether a ratio or a complement is drawn instead of the hyperparameter."""
        return self.complement or self.ratio_to is not None

    @property
    def is_tied(self) -> bool:
        """Whether there is only one ratio, so that the hyperparameter follows the other one."""
        return self.ratio_to is not None and len(set(self.extremes)) == 1

    @property
    def is_whole(self) -> bool:
        """Whether the numbers from low to high are whole."""
        return not self.choices and isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def depends_on(self) -> tuple[str, ...]:
        """The hyperparameters that decide whether this range exists, or which value a draw stands for."""
        return (*self.when, *([self.ratio_to] if self.ratio_to else []))

    def parameter(self, name: str) -> str:
        """The name of the parameter that is drawn for the hyperparameter of this dotted name."""
        return f"{name}.ratio" if self.ratio_to else f"{name}.complement" if self.complement else name

    def exists(self, values: Mapping[str, Any]) -> bool:
        """Whether the condition holds for these hyperparameters."""
        return all(values[name] in allowed for name, allowed in self.when.items())

    def contains(self, drawn: Any) -> bool:
        """Whether this can be drawn: it lies in the range and on one of its steps."""
        if self.choices:
            return drawn in self.choices
        if not _is_number(drawn):  # of an argument of own code, which may be anything
            return False
        if not self.low <= drawn <= self.high:
            return False
        steps = (drawn - self.low) / self.step if self.step else 0.0
        return abs(steps - round(steps)) < OFF_GRID_STEPS

    def value(self, drawn: Any, values: Mapping[str, Any]) -> Any:
        """The value of the hyperparameter for a draw; values: those of the hyperparameters it depends on."""
        if self.ratio_to:
            return drawn * values[self.ratio_to]
        return 1 - drawn if self.complement else drawn

    def drawn(self, value: Any, values: Mapping[str, Any]) -> Any | None:
        """The inverse of `value`: what must be drawn, or None if that lies outside the range.

        The draw gives back exactly a value that came from a ratio or a complement, and others up to rounding.
        """
        if value is None:
            return None
        if not self.is_derived:
            return value if self.contains(value) else None
        nearly = self._inverse(value, values)
        within = [one for one in (float(f"{nearly:.{SHORT_DIGITS}g}"), nearly) if self.contains(one)]
        return min(within, key=lambda number: abs(self.value(number, values) - value), default=None)

    def nearest(self, value: Any, values: Mapping[str, Any]) -> Any:
        """What must be drawn for a value or, if it lies outside, for the nearest one; of texts, the first."""
        drawn = self.drawn(value, values)
        if drawn is not None:
            return drawn
        if not all(map(_is_number, (value, *self.extremes))):
            return self.extremes[0]
        if self.choices:
            return min(self.choices, key=lambda choice: abs(self.value(choice, values) - value))
        within = min(self.high, max(self.low, self._inverse(value, values)))  # low, for a ratio to 0, which is NaN
        steps = round((within - self.low) / self.step) if self.step else 0
        return min(self.low + steps * self.step, self.high) if self.step else within

    def _inverse(self, value: Any, values: Mapping[str, Any]) -> Any:
        """The draw that gives a value, inside the range or not; NaN for a ratio to 0."""
        if self.ratio_to:
            other = values[self.ratio_to]
            return value / other if other else math.nan
        return 1 - value if self.complement else value

    def suggest(self, trial: Suggests, name: str) -> Any:
        """Lets a trial draw for the hyperparameter of this name, and returns the draw."""
        parameter = self.parameter(name)
        if self.choices:
            return trial.suggest_categorical(parameter, self.choices)
        if self.is_whole:
            return trial.suggest_int(parameter, int(self.low), int(self.high), step=int(self.step or 1), log=self.log)
        return trial.suggest_float(parameter, self.low, self.high, step=self.step, log=self.log)

    @property
    def condition(self) -> str:
        """The condition under which the range exists, as text; "" if it always does."""
        parts = [f"{name} is {' or '.join(map(str, allowed))}" for name, allowed in self.when.items()]
        return f"when {' and '.join(parts)}" if parts else ""

    def __str__(self) -> str:
        if self.choices:
            text = " | ".join(str(choice) for choice in self.choices)
        else:
            scale = " log" if self.log else f" step {self.step:g}" if self.step else ""
            text = f"{self.low:g} .. {self.high:g}{scale}"
        if self.complement:
            return f"1 - ({text})"
        if self.ratio_to is None:
            return text
        if self.is_tied:
            return f"{self.extremes[0]:g} x {self.ratio_to}"
        return f"({text}) x {self.ratio_to}" if self.choices else f"{text} x {self.ratio_to}"

    def plain(self) -> dict[str, Any]:
        """The range as it is written in YAML."""
        ends = {"choices": list(self.choices)} if self.choices else {"low": self.low, "high": self.high}
        return {
            **({"ratio_to": self.ratio_to} if self.ratio_to else {}),
            **({"complement": True} if self.complement else {}),
            **ends,
            **({"log": True} if self.log else {}),
            **({"step": self.step} if self.step else {}),
            **({"when": {name: list(allowed) for name, allowed in self.when.items()}} if self.when else {}),
        }
