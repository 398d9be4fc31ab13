"""The limits of scores, by how much a result breaks them, and the one order of results. Plain values; no torch.

`fidelity` is a distance, which a generator of a single class can make small. So a result must also keep limits of class
balance and coverage. They are constraints, and results are ordered by constraint domination (Deb 2000, "An efficient
constraint handling method for genetic algorithms", section 3), as Optuna's samplers order them: those that keep the
limits come first, by their score; the others by how far they are off, and by their score where that is equal.
"""

import math
from collections.abc import Mapping, Sequence

LIMITS = ("class_balance", "coverage")  # each has a score of its name and `_violation`
LIMITED = ("fidelity",)  # the objectives whose results must keep the limits

Place = tuple[float, float]  # the key by which results are sorted, the best first: (violation, score)
LAST: Place = (math.inf, math.inf)  # the place of a result without a score


def violation(values: Mapping[str, float], objective: str) -> float:
    """By how much a result breaks the limits of an objective: 0 where it keeps them and where the objective has none.

    values: name of a score -> number. In the scores of earlier versions, the objective itself counts by how much a
    limit is broken, and the violation only whether one is.
    """
    amount = values.get("violation", 0.0) if objective in LIMITED else 0.0
    if not amount > 0:  # NaN, where nothing could be scored, is 0
        return 0.0
    return amount if limits_broken(values) else 1.0


def place(score: float, violation: float = 0.0) -> Place:
    """The place of a result in the order, of which less is better; score: as it is minimised."""
    return (violation, score) if math.isfinite(score) else LAST


def written(place: Place) -> float | list[float]:
    """A place for JSON: the score alone where the limits are kept, as in files of earlier versions."""
    return list(place) if place[0] else place[1]


def read_place(value: float | Sequence[float]) -> Place:
    """The inverse of `written`. Raises TypeError or ValueError for anything else."""
    amount, score = (0.0, value) if isinstance(value, int | float) else value
    return float(amount), float(score)  # pyright: ignore[reportArgumentType]


def limits_broken(values: Mapping[str, float]) -> tuple[str, ...]:
    """The names in LIMITS of the limits that a result breaks, whatever the objective is."""
    return tuple(name for name in LIMITS if values.get(f"{name}_violation", 0.0) > 0)


def broken_in_words(values: Mapping[str, float]) -> str:
    """What a result breaks, such as `class balance: 8 of 10 classes` and `coverage: 0.31 of 0.98`, which is that of
    real samples; "" where it keeps the limits. Scores of earlier versions do not say which limit it is.
    """
    said = {"class_balance": _class_balance, "coverage": _coverage}
    parts = [said[name](values) for name in limits_broken(values)]
    if not parts and values.get("violation", 0.0) > 0:
        return f"a limit of fidelity by {values['violation']:.2g}"
    return " and ".join(parts)


def _class_balance(values: Mapping[str, float]) -> str:
    covered, classes = values.get("classes_covered", math.nan), values.get("classes", math.nan)
    if covered < classes:
        return f"class balance: {covered:.0f} of {classes:.0f} classes"
    return f"class balance: KL {values.get('class_kl', math.nan):.2g}"


def _coverage(values: Mapping[str, float]) -> str:
    if "modes_covered" in values:
        return f"coverage: {values['modes_covered']:.0f} of {values.get('modes', math.nan):.0f} modes"
    return f"coverage: {values.get('coverage', math.nan):.2g} of {values.get('coverage_floor', math.nan):.2g}"


def limits_text(class_kl_limit: float, coverage_limit: float) -> str:
    """The last part of every protocol, which names the limits with all digits, because they decide the order.

    Up to version 0.2.0 it began with `kl`: a broken limit then added a constant to `fidelity`, and the limit of class
    balance did not count above its floor. Scores of the two kinds are never compared.
    """
    return f"limits-kl{float(class_kl_limit)}-coverage{float(coverage_limit)}"
