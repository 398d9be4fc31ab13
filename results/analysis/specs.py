"""What the specs of runs say, setting by setting, so that runs can be compared."""

from collections.abc import Mapping
from typing import Any

ENDS = ("low", "high", "choices", "every")
NOT_COMPARED = ("name", "space")  # the space is compared by hyperparameter


def settings(spec: Mapping[str, Any]) -> dict[str, str]:
    """Setting -> its value in words: the hyperparameters of the space, and the other keys of a spec by dotted name."""
    return {**hyperparameters(spec), **_flat({key: value for key, value in spec.items() if key not in NOT_COMPARED})}


def hyperparameters(spec: Mapping[str, Any]) -> dict[str, str]:
    """Hyperparameter -> its range in words, or its value where it is not searched; and `constraints`, if any."""
    space = spec.get("space")
    if not isinstance(space, Mapping):
        return {}
    fixed = {name: value_text(value) for name, value in (space.get("base") or {}).items()}
    searched = {name: range_text(scope) for name, scope in (space.get("ranges") or {}).items()}
    constraints = {"constraints": "; ".join(map(str, space["constraints"]))} if space.get("constraints") else {}
    return {**fixed, **searched, **constraints}


def range_text(scope: Mapping[str, Any]) -> str:
    """A range in words, such as `1e-05 to 0.01, log`, `64, 128, 256` or `0 to 0.9, when structure.loss is hinge`."""
    if "choices" in scope or "every" in scope:
        ends = ", ".join(map(value_text, scope.get("choices") or scope["every"]))
    else:
        ends = f"{value_text(scope.get('low'))} to {value_text(scope.get('high'))}"
    parts = [f"every one of {ends}" if "every" in scope else ends]
    for key, value in scope.items():
        if key == "when":
            parts += [f"when {name} is {' or '.join(map(value_text, allowed))}" for name, allowed in value.items()]
        elif key not in ENDS:
            parts.append(key if value is True else f"{key} {value_text(value)}")
    return ", ".join(parts)


def _flat(values: Mapping[str, Any], before: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in values.items():
        name = f"{before}{key}"
        found |= _flat(value, f"{name}.") if isinstance(value, Mapping) and value else {name: value_text(value)}
    return found


def value_text(value: Any) -> str:
    """A value as text, in which 1 and 1.0 are equal."""
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)
