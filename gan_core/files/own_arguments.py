"""What a person's own constructors take: their arguments are hyperparameters.

There is one rule. An argument can be searched where it has a default or is given a value. A value is checked where the
annotation is a plain type, a Literal, or a union of these; anything else takes what it is given.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from numbers import Integral, Real
from types import MappingProxyType, NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from gan_core.config.arguments import Plain, plain_value
from gan_core.config.fields import as_number, is_number, is_whole
from gan_core.config.input_error import InputError, nearest, shown
from gan_core.files.own_code import own_object, theirs

GIVEN = ("latent_size", "image_shape", "sample_shape", "classes", "num_classes")  # arguments that we pass
ROLES = {"generator": "Generator", "discriminator": "Discriminator"}  # group of hyperparameters -> class
NOUNS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", NoneType: "null"}
PLAIN: dict[str, type] = {"bool": bool, "int": int, "float": float, "str": str, "None": NoneType}


@dataclass(frozen=True)
class Argument:
    """One argument of a constructor. types, choices: what its annotation allows, choices being those of a Literal;
    neither where it says nothing that can be checked. default: as the constructor has it.
    """

    types: tuple[type, ...] = ()
    choices: tuple[Any, ...] = ()
    default: Any = inspect.Parameter.empty

    @property
    def is_declared(self) -> bool:
        """Whether values can be checked."""
        return bool(self.types or self.choices)

    @property
    def is_required(self) -> bool:
        """Whether it has no default."""
        return self.default is inspect.Parameter.empty

    @property
    def plain_default(self) -> Plain | None:
        """The default where it can be the value of a hyperparameter, NumPy's numbers as Python's. None for any other,
        such as a tuple, infinity or None, which the constructor then keeps to itself.
        """
        value = self.default
        if isinstance(value, Real) and not isinstance(value, bool):
            value = int(value) if isinstance(value, Integral) else float(value)
        if type(value) not in PLAIN.values() or value is None or (isinstance(value, float) and not is_number(value)):
            return None
        return float(value) if float in self.types and int not in self.types and is_whole(value) else value

    def value(self, name: str, written: Any) -> Plain:
        """The value of this argument as a person writes it. Raises InputError where it is of another type or choice."""
        if not self.is_declared:
            return plain_value(name, written)
        spelled = not (isinstance(written, str) and str in self.types)  # a text may spell a number
        numbers = [as_number(kind, written) for kind in (int, float) if kind in self.types and spelled]
        for value in (written, *numbers):
            for choice in self.choices:
                if value == choice and isinstance(value, bool) == isinstance(choice, bool):
                    return choice
            if any(_is_of(kind, value) for kind in self.types):
                return value
        nouns = [NOUNS[kind] for kind in self.types]
        nouns += [f"one of {', '.join(map(str, self.choices))}"] if self.choices else []
        raise InputError(f"{name} must be {' or '.join(nouns)}, as its constructor says, got {shown(written)}")


def _is_of(kind: type, value: Any) -> bool:
    if kind is int:
        return is_whole(value)
    return isinstance(value, kind) and (kind is not float or is_number(value))


@dataclass(frozen=True)
class Signature:
    """What a constructor can be called with. name: of its class in messages, `Generator`. arguments: those that are
    hyperparameters. passed: those that are not, because we pass them. takes_any: whether it has `**others`.
    """

    name: str
    arguments: Mapping[str, Argument] = field(default_factory=dict)
    passed: tuple[str, ...] = ()
    takes_any: bool = False

    @property
    def group(self) -> str:
        """Before the dot in the names of its hyperparameters."""
        return self.name.lower()

    def argument(self, name: str) -> Argument:
        """The argument of this name. Raises InputError where the constructor has none, and for one that we pass."""
        if name in GIVEN:
            source = "structure.latent_size" if name == "latent_size" else "the data set"
            raise InputError(f"{self.group}.{name} is passed by the sweep, from {source}; leave it out")
        if name not in self.arguments and not self.takes_any:
            hint = nearest(name, self.arguments) if self.arguments else "it has none that could be set"
            raise InputError(f"{self.name} has no argument {shown(name)}; {hint}")
        return self.arguments.get(name, Argument())

    def check_complete(self, given: Mapping[str, Any]) -> None:
        """Raises InputError for an argument that needs a value and is not given one."""
        for name, argument in self.arguments.items():
            if argument.is_required and given.get(name) is None:
                raise InputError(
                    f"{self.group}.{name} has no default in the constructor of {self.name}; give it a value"
                )


@cache
def network_signatures(networks: str) -> Mapping[str, Signature]:
    """`generator` and `discriminator` -> what the constructor takes. networks: a pinned reference.

    Raises InputError where a class is missing or is none, and OwnCodeError as importing does.
    """
    found = dict[str, Signature]()
    for group, name in ROLES.items():
        made = own_object(networks, name)
        if not isinstance(made, type):
            raise InputError(f"{name} in {networks.partition('#')[0]} must be a class, got {shown(made)}")
        found[group] = signature_of(name, made)
    return MappingProxyType(found)


def signature_of(name: str, constructor: Callable[..., Any]) -> Signature:
    """Reads what a constructor takes. name: of the class, for messages. Raises InputError for an argument that needs a
    value and cannot be given one by its name, and OwnCodeError where the arguments cannot be read.
    """
    with theirs(f"the arguments of {name} cannot be read"):
        try:
            parameters = inspect.signature(constructor, eval_str=True).parameters
        except Exception:  # an annotation is a person's own code too; what only type checkers import has no name here
            parameters = inspect.signature(constructor).parameters
    arguments = dict[str, Argument]()
    for argument, parameter in parameters.items():
        if parameter.kind is parameter.POSITIONAL_ONLY and parameter.default is parameter.empty:
            raise InputError(
                f"argument {shown(argument)} of {name} can be given by place alone; take out the / after it"
            )
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            arguments[argument] = Argument(*_declared(parameter.annotation), parameter.default)
    return Signature(
        name,
        MappingProxyType({argument: known for argument, known in arguments.items() if argument not in GIVEN}),
        tuple(argument for argument in arguments if argument in GIVEN),
        any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()),
    )


def _declared(hint: Any) -> tuple[tuple[type, ...], tuple[Any, ...]]:
    """The plain types and the choices of Literals that an annotation allows; neither where it allows anything else."""
    if isinstance(hint, str):
        hint = PLAIN.get(hint.strip("'\" "), hint)
    if any(hint is kind for kind in PLAIN.values()):
        return (hint,), ()
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        return (), parts
    if origin is Annotated:
        return _declared(parts[0])
    if origin in (Union, UnionType):
        allowed = [_declared(part) for part in parts]
        if all(map(any, allowed)):
            return tuple(t for types, _ in allowed for t in types), tuple(c for _, choices in allowed for c in choices)
    return (), ()
