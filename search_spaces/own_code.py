"""A person's own networks and training in a space: the arguments of their constructors are hyperparameters."""

from collections.abc import Iterable, Mapping
from typing import Any

from gan_core.config.arguments import is_own
from gan_core.config.gan import GanConfig
from gan_core.config.input_error import InputError, shown
from gan_core.config.own_names import NETWORKS, TRAINER
from gan_core.config.structure import OF_OUR_LAYERS
from gan_core.files.own_arguments import Argument, network_signatures
from search_spaces.own_values import typed

ARCHITECTURE = "structure.architecture"
OF_TRAINING = "trainer."


def values_before(base: GanConfig, given: Mapping[str, Any]) -> dict[str, Any]:
    """The base values that these change: where the networks become a person's own, or others, with the defaults of
    their constructors and without what is of layers of ours; where there is a person's own training, without anything
    of a GAN.
    """
    if trainer := given.get(TRAINER, base.structure.trainer):
        return {**(base.flatten() if base.structure.trainer else {}), TRAINER: trainer}
    values, before = base.flatten(), base.structure.networks
    networks = given.get(NETWORKS, before)
    if networks == before:
        return values
    values = {name: value for name, value in values.items() if not is_own(name) and name not in OF_OUR_LAYERS}
    values[ARCHITECTURE] = "own" if networks else GanConfig().structure.architecture
    for group, signature in network_signatures(networks).items() if networks else ():
        defaults = {f"{group}.{name}": known.plain_default for name, known in signature.arguments.items()}
        values |= {name: default for name, default in defaults.items() if default is not None}
    return values


def typed_values(
    so_far: Mapping[str, Any], given: Mapping[str, Any], ranges: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Base values and ranges in which those of own code have the types of their constructors (`own_values`). Raises
    InputError for a wrong one, and for an argument that a constructor does not have, naming the nearest.
    """
    networks = given.get(NETWORKS, so_far.get(NETWORKS, ""))

    def argument(name: str) -> Argument:
        group, _, argument = name.partition(".")
        if not networks or name.startswith(OF_TRAINING):  # of which nothing declares what it takes
            return Argument()
        return network_signatures(networks)[group].argument(argument)

    return typed(so_far, given, ranges, argument)


def values_after(so_far: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The base values with these changes; an argument that is null is left to its constructor. Raises InputError for
    an argument without a value and without a default.
    """
    values = {name: value for name, value in {**so_far, **given}.items() if value is not None or not is_own(name)}
    if networks := values.get(NETWORKS):
        for group, signature in network_signatures(networks).items():
            signature.check_complete({n.partition(".")[2]: v for n, v in values.items() if n.startswith(f"{group}.")})
    return values


def check_known(space: str, names: Iterable[str], known: Mapping[str, Any]) -> None:
    """Raises InputError for a name in a range, a condition or a constraint that is none of these hyperparameters, which
    happens beside a person's own code alone.
    """
    mine, instead = "your own networks", "generator.NAME or discriminator.NAME"
    if TRAINER in known:
        mine, instead = "your own training", f"{OF_TRAINING}NAME"
    for name in names:
        if name not in known:
            raise InputError(
                f"space {shown(space)}: {name} is no hyperparameter of {mine}; take out the range, condition or "
                f"constraint that names it, or make it {instead}"
            )
