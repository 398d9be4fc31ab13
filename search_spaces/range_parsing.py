"""Parses ranges as they are written in YAML. An InputError names the hyperparameter, the rule and the value."""

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from gan_core.config.fields import as_number, check_flag, is_number, is_whole
from gan_core.config.gan import HALF_LIFE, hyperparameter, parse_value
from gan_core.config.input_error import InputError, shown
from gan_core.files.plain_yaml import check_keys
from search_spaces.ranges import Range

SCALE_KEYS = ("low", "high", "log", "step")
MOST_CHOICES = 1_000  # per range or condition
RANGE_KEYS = (*SCALE_KEYS, "choices", "when", "ratio_to", "complement")


def parse_range(name: str, value: Any) -> Range:
    """Parses the range of one hyperparameter.

    Raises InputError for an unknown name or key, and for anything that is not a range of the hyperparameter's type.
    """
    known = hyperparameter(name)
    if not isinstance(value, Mapping):
        raise InputError(
            f"the range of {name} must be {{low, high}} or {{choices: [...]}}, got {shown(value)}; "
            "a fixed value belongs under 'base'"
        )
    if "every" in value:
        raise InputError(
            f"every in the range of {name}: a trial can have every value of {HALF_LIFE} alone, on which its training "
            "does not depend; give choices"
        )
    check_keys(value, RANGE_KEYS, f"the range of {name}")
    when = _condition(name, value["when"]) if "when" in value else {}
    relation = _relation(name, value)

    def read(written: Any) -> Any:
        if written is None and not relation:
            raise InputError(f"the range of {name} must be of values, got null; what is null belongs under 'base'")
        return _drawn(name, written, relation) if relation else parse_value(name, written)

    if "choices" in value:
        choices = value["choices"]
        if set(value) & set(SCALE_KEYS) or not isinstance(choices, list) or not choices:
            raise InputError(f"the choices of {name} must be a list of at least one value, alone, got {shown(value)}")
        _check_count(f"choices of {name}", choices)
        return Range(choices=tuple(dict.fromkeys(map(read, choices))), when=when, **relation)
    if known.kind is str or not all(is_number(value.get(key, 0)) for key in ("low", "high") if known.kind is object):
        raise InputError(f"the range of {name} must be {{choices: [...]}}: it is not a number")
    if missing := {"low", "high"} - set(value):
        raise InputError(f"the range of {name} lacks {' and '.join(sorted(missing))}, got {shown(value)}")
    low, high = read(value["low"]), read(value["high"])
    if low > high:
        raise InputError(f"the range of {name} must have low <= high, got low={low}, high={high}")
    log, step = _scale(name, value, low, high)
    return Range(low=low, high=high, log=log, step=step, when=when, **relation)


def parse_averages(value: Mapping[str, Any]) -> tuple[float, ...]:
    """The half-lives of `every`, in the range of the moving average of the weights. Raises InputError if invalid."""
    written = value["every"]
    if len(value) > 1 or not isinstance(written, list) or not written:
        raise InputError(
            f"every in the range of {HALF_LIFE} must be a list of at least one value, alone, got {shown(value)}"
        )
    return tuple(dict.fromkeys(parse_value(HALF_LIFE, one) for one in written))


def _check_count(where: str, values: Sequence[Any]) -> None:
    if len(values) > MOST_CHOICES:
        raise InputError(
            f"{where} has {len(values):,} values, and may have {MOST_CHOICES:,}; give a range, low and high"
        )


def _scale(name: str, value: Mapping[str, Any], low: float, high: float) -> tuple[bool, float | None]:
    """The checked values of log and step of a range."""
    kind = hyperparameter(name).kind
    if kind is object:  # an argument of own code, of which the ends say whether it is whole
        kind = int if is_whole(low) and is_whole(high) else float
    log, step = value.get("log", False), as_number(kind, value.get("step"))
    check_flag(f"log in the range of {name}", log)
    if log and low <= 0:
        raise InputError(f"a log range must have low > 0, got {name} with low={low}; raise low or drop 'log'")
    if step is None:
        return log, None
    if not (is_whole(step) if kind is int else is_number(step)) or step <= 0 or log:
        noun = "whole number" if kind is int else "number"
        raise InputError(f"step in the range of {name} must be a {noun} above 0, without log, got step={shown(step)}")
    first, last, each = (Decimal(str(number)) for number in (low, high, step))
    if rest := (last - first) % each:
        raise InputError(
            f"the range of {name} must be a whole number of steps long, got {low} .. {high} in steps of {step}; "
            f"set high to {float(last - rest):g}"
        )
    return log, step


def _relation(name: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword `ratio_to` or `complement` of a range, if one of them is set."""
    complement, other = value.get("complement", False), value.get("ratio_to")
    check_flag(f"complement in the range of {name}", complement)
    if other is None and not complement:
        return {}
    word = "complement" if complement else "ratio_to"
    if complement and other is not None:
        raise InputError(f"the range of {name} has both complement and ratio_to {shown(other)}; drop one of them")
    if hyperparameter(name).kind is not float:
        raise InputError(
            f"{word} in the range of {name} needs a hyperparameter that is any number, not a whole or a name"
        )
    if complement:
        return {"complement": True}
    known = hyperparameter(str(other))
    if known.kind is str or known.follows or other in ("seed", "data_seed"):
        raise InputError(
            f"ratio_to in the range of {name} must name a number that is trained with and never null, "
            f"got {shown(other)}"
        )
    return {"ratio_to": str(other)}


def _drawn(name: str, written: Any, relation: Mapping[str, Any]) -> float:
    """Parses a ratio or a complement: a number of at least 0, and a complement to 1 of a valid value."""
    word = "complement" if "complement" in relation else "ratio"
    number = as_number(float, written)
    if not isinstance(number, float) or not 0 <= number < math.inf:
        raise InputError(f"a {word} of {name} must be a number of at least 0, got {shown(written)}")
    if word == "complement":
        try:
            parse_value(name, 1 - number)
        except InputError as error:
            raise InputError(f"{name} cannot have the complement {number:g}: {error}") from error
    return number


def _condition(name: str, value: Any) -> dict[str, tuple[Any, ...]]:
    """Parses `when`: hyperparameter -> the values with which the range exists."""
    if not isinstance(value, Mapping) or not value:
        raise InputError(
            f"when in the range of {name} must map hyperparameters to a value or a list of values, got {shown(value)}"
        )
    condition = {}
    for other, written in value.items():
        allowed = written if isinstance(written, list) else [written]
        if other == "seed":
            raise InputError(f"when in the range of {name} cannot ask for the seed: every trial has its own")
        if not allowed:
            raise InputError(f"when in the range of {name} lists no value of {other}; list one or more")
        _check_count(f"when in the range of {name}", allowed)
        condition[other] = tuple(dict.fromkeys(parse_value(other, one) for one in allowed))
    return condition


def nearest_inside(name: str, value: Any, written: Any) -> Any:
    """The value in a range as written in YAML that is nearest to `value`; if a text is not in it, the first one."""
    if isinstance(written, Mapping) and "every" in written:
        scope = Range(choices=parse_averages(written))
    else:
        scope = parse_range(name, written)
    return value if scope.is_derived else scope.nearest(value, {})
