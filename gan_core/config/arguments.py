"""The arguments of a person's own constructors, as part of a configuration. Loads without torch."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gan_core.config.input_error import InputError, shown

Plain = bool | int | float | str

# So begin the dotted names of hyperparameters. Those of a structure fix shapes or what a step does; the others may
# change in the course of a training.
STRUCTURE_PREFIXES = ("structure.", "generator.", "discriminator.")
CHANGING_PREFIXES = ("lane.", "trainer.")
PREFIXES = (*STRUCTURE_PREFIXES, *CHANGING_PREFIXES)
OWN_GROUPS = ("generator", "discriminator", "trainer")  # before the dot in the name of such a hyperparameter


@dataclass(frozen=True, eq=False)
class Arguments(Mapping[str, Plain]):
    """Argument -> value, of one constructor: a mapping that can be a key, and is equal to one with the same entries."""

    pairs: tuple[tuple[str, Plain], ...] = ()

    @classmethod
    def of(cls, values: Mapping[str, Plain]) -> "Arguments":
        """Of a mapping, whose order does not matter."""
        return cls(tuple(sorted(values.items())))

    def __hash__(self) -> int:
        return hash(self.pairs)

    def __getitem__(self, name: str) -> Plain:
        for known, value in self.pairs:
            if known == name:
                return value
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)


def is_own(name: object) -> bool:
    """Whether this is the dotted name of an argument of a person's own code, `generator.width`."""
    group, dot, argument = name.partition(".") if isinstance(name, str) else ("", "", "")
    return group in OWN_GROUPS and bool(dot) and argument.isidentifier()


def plain_value(name: str, value: object) -> Plain:
    """The value of such an argument, where it is one: a finite number, a text, true or false. Raises InputError for
    anything else.
    """
    if isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise InputError(f"{name} must be a number, a text, true or false, got {shown(value)}")
