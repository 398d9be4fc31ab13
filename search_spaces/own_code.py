"""A person's own networks in a space: the arguments of their constructors become hyperparameters."""

from collections.abc import Iterable, Mapping
from typing import Any

from gan_core.config.arguments import is_own
from gan_core.config.gan import GanConfig
from gan_core.config.input_error import InputError
from gan_core.config.own_names import NETWORKS, TRAINER, is_reference
from gan_core.files.own_arguments import Argument, checked_argument, network_arguments
from search_spaces.own_training import PREFIX, base_with_training
from search_spaces.ranges import Range

ARCHITECTURE = "structure.architecture"
WRITTEN_VALUES = ("low", "high", "step")  # keys of a range with one value each


def base_with_own(base: GanConfig, given: Mapping[str, Any]) -> dict[str, Any]:
    """All base values, given these changes: of a person's own training, where there is one. Where the networks become
    a person's own, or others, their arguments have the defaults of the constructors. Raises InputError for an argument
    that has none and is not given.
    """
    if (training := base_with_training(base, given)) is not None:
        return training
    values, before = base.flatten(), base.structure.networks
    after = given.get(NETWORKS, before)
    if after != before:
        values = {name: value for name, value in values.items() if not is_own(name)}
        values[ARCHITECTURE] = "own" if after else GanConfig().structure.architecture
        values |= {name: known.default for name, known in own_arguments(after).items()}
    values |= given
    for name, value in values.items():
        if is_own(name) and value is None:
            raise InputError(f"{name} has no default in its constructor; give it a value under 'base'")
    return values


def own_arguments(networks: str) -> Mapping[str, Argument]:
    """The hyperparameters of own networks; none where there are no own networks."""
    return network_arguments(networks) if networks and is_reference(networks) else {}


def typed_values(values: Mapping[str, Any], known: Mapping[str, Argument]) -> dict[str, Any]:
    """Base values in which those of own arguments have the types of the constructors. Raises InputError."""
    return {name: checked_argument(name, v, known) if _is_declared(name) else v for name, v in values.items()}


def typed_ranges(ranges: Mapping[str, Any], known: Mapping[str, Argument]) -> dict[str, Any]:
    """The same for ranges as they are written."""
    return {name: _typed_range(name, v, known) if _is_declared(name) else v for name, v in ranges.items()}


def _is_declared(name: str) -> bool:
    """Whether a name is that of an argument of own networks, whose constructor declares its type."""
    return is_own(name) and not name.startswith(PREFIX)


def _typed_range(name: str, written: Any, known: Mapping[str, Argument]) -> Any:
    if not isinstance(written, Mapping):
        return written
    typed = dict(written)
    for key in WRITTEN_VALUES:
        if typed.get(key) is not None:
            typed[key] = checked_argument(name, typed[key], known)
    if isinstance(typed.get("choices"), list):
        typed["choices"] = [checked_argument(name, each, known) for each in typed["choices"]]
    return typed


def still_known(ranges: Mapping[str, Range], known: Mapping[str, Argument]) -> dict[str, Range]:
    """The ranges without those of arguments that the networks, which are others now, do not have."""
    return {name: scope for name, scope in ranges.items() if not _is_declared(name) or name in known}


def check_named(space: str, names: Iterable[str], base: Mapping[str, Any]) -> None:
    """Raises InputError for an own argument that a constraint names and the networks do not have."""
    for name in names:
        if name not in base and (is_own(name) or TRAINER in base):
            lacks = "your own training does" if TRAINER in base else "the networks do"
            raise InputError(f"space {space!r}: a constraint names {name}, which {lacks} not have")
