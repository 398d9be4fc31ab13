"""The hyperparameters that a person's own constructors have: their typed arguments."""

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, Literal, get_args, get_origin

from gan_core.config.arguments import Plain, plain_value
from gan_core.config.fields import as_number, is_number, is_whole
from gan_core.config.input_error import InputError, nearest, shown
from gan_core.files.own_code import own_object, theirs

GIVEN = ("latent_size", "image_shape", "sample_shape", "classes", "num_classes")  # arguments that we pass
NETWORKS = {"generator": "Generator", "discriminator": "Discriminator"}


class Argument:
    """One argument of a constructor. kind: bool, int, float or str, or object for any of these; choices: of a Literal;
    default: None where there is none.
    """

    def __init__(self, kind: type, choices: tuple[Any, ...], default: Plain | None) -> None:
        self.kind, self.choices, self.default = kind, choices, default

    def value(self, name: str, written: Any) -> Plain:
        """The value of this argument as a person writes it. Raises InputError where it is of another type or choice."""
        if self.kind is object:
            return plain_value(name, written)
        value = written if self.kind in (bool, str) else as_number(self.kind, written)
        fits = {
            bool: isinstance(value, bool),
            str: isinstance(value, str),
            int: is_whole(value),
            float: is_number(value),
        }[self.kind]
        if not fits:
            noun = {bool: "true or false", str: "text", int: "a whole number", float: "a number"}[self.kind]
            raise InputError(f"{name} must be {noun}, as its constructor says, got {shown(written)}")
        if self.choices and value not in self.choices:
            raise InputError(f"{name} must be one of {', '.join(map(str, self.choices))}, got {shown(written)}")
        return value


@cache
def network_arguments(networks: str) -> Mapping[str, Argument]:
    """The hyperparameters of own networks by dotted name, `generator.width`: the arguments of both constructors that
    are numbers, texts or truth values by their type or their default. networks: a pinned reference.

    Raises InputError where a class is missing or is none, and OwnCodeError as importing does.
    """
    found: dict[str, Argument] = {}
    for group, name in NETWORKS.items():
        made = own_object(networks, name)
        if not isinstance(made, type):
            raise InputError(f"{name} in {networks.partition('#')[0]} must be a class, got {shown(made)}")
        for argument, known in arguments_of(made).items():
            found[f"{group}.{argument}"] = known
    return MappingProxyType(found)


def arguments_of(constructor: Callable[..., Any]) -> dict[str, Argument]:
    """The arguments of a constructor that are hyperparameters, by name."""
    with theirs(f"the arguments of {getattr(constructor, '__name__', constructor)} cannot be read"):
        try:
            parameters = inspect.signature(constructor, eval_str=True).parameters
        except NameError:  # an annotation that names what is imported for type checkers alone
            parameters = inspect.signature(constructor).parameters
    found = {name: _argument(parameter) for name, parameter in parameters.items() if name not in GIVEN}
    return {name: argument for name, argument in found.items() if argument is not None}


def _argument(parameter: inspect.Parameter) -> Argument | None:
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
        return None
    hint: Any = parameter.annotation
    default: Any = parameter.default
    choices = get_args(hint) if get_origin(hint) is Literal else ()
    kinds = {"bool": bool, "int": int, "float": float, "str": str}
    kind: Any = type(choices[0]) if choices else kinds.get(hint, hint) if isinstance(hint, str) else hint
    if kind is parameter.empty:
        kind = object if default is parameter.empty else type(default)  # of `width` alone, any value is one
    if kind not in (*kinds.values(), object):
        return None
    if kind is object or default is parameter.empty:
        return Argument(kind, choices, None)
    fits = isinstance(default, kind) or (kind is float and isinstance(default, int))
    typed: Any = kind
    return Argument(kind, choices, typed(default) if fits else None)


def checked_argument(name: str, written: Any, known: Mapping[str, Argument]) -> Plain:
    """The value of `generator.width` as a person writes it. Raises InputError for a wrong one, and for an argument that
    the constructor does not have, naming the nearest.
    """
    group, _, argument = name.partition(".")
    if argument in GIVEN:
        raise InputError(f"{name} is passed by the sweep, got {shown(written)}; set structure.{argument}, or the data")
    if name not in known:
        raise InputError(f"{NETWORKS.get(group, group)} has no argument {shown(argument)}; {nearest(name, known)}")
    return known[name].value(name, written)
