"""Dependencies between ranges: the order in which they are drawn, and the values that they can lead to.

A range depends on the hyperparameters in its condition and on the one that it is a ratio to. A world is one combination
of draws for the hyperparameters on which some ranges depend: hyperparameter -> what is drawn for it.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from gan_core.config.gan import HYPERPARAMETERS, hyperparameter
from gan_core.config.input_error import InputError
from search_spaces.ranges import Range

MOST_WORLDS = 20_000  # examined when a space is made, which takes about a second
Draw = Callable[[str, Range, Mapping[str, Any]], Any | None]


def ordered(ranges: Mapping[str, Range]) -> dict[str, Range]:
    """The ranges in the order of the fields, but each after those it depends on. Raises InputError for a cycle."""
    found: dict[str, Range] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            circle = " on ".join((*path[path.index(name) :], name))
            raise InputError(f"ranges depend on each other in a circle: {circle}; drop one 'when' or 'ratio_to'")
        if name in ranges and name not in found:
            for parent in ranges[name].depends_on:
                visit(parent, (*path, name))
            found[name] = ranges[name]

    for name in (*HYPERPARAMETERS, *ranges):  # arguments of own networks last, as they are written
        visit(name, ())
    return found


def resolve(
    values: Mapping[str, Any], ranges: Mapping[str, Range], draw: Draw
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Draws for each of the ordered ranges that exists; returns the hyperparameters, and the draws by parameter.

    values: those of the base, which are kept where draw(name, range, values so far) returns None.
    """
    values, drawn = dict(values), {}
    for name, scope in ranges.items():
        if scope.exists(values) and (one := draw(name, scope, values)) is not None:
            drawn[scope.parameter(name)] = one
            values[name] = scope.value(one, values)
    return values, drawn


def world_of(
    values: Mapping[str, Any], ranges: Mapping[str, Range], draws: Mapping[str, Any]
) -> tuple[dict[str, Any], set[str]]:
    """The hyperparameters that these draws lead to, and the names of the ranges that then exist.

    A range that exists but has no draw takes its base value, or its first end or choice if that lies outside.
    """
    existing = set()

    def draw(name: str, scope: Range, so_far: Mapping[str, Any]) -> Any:
        existing.add(name)
        if name in draws:
            return draws[name]
        own = scope.drawn(so_far[name], so_far)
        return scope.extremes[0] if own is None else own

    return resolve(values, ranges, draw)[0], existing


def worlds(names: Sequence[str], ranges: Mapping[str, Range]) -> Iterator[dict[str, Any]]:
    """All worlds of the hyperparameters on which these ranges depend, without those that no condition tells apart."""
    above = [name for name in _above(names, ranges) if name not in names]
    for draws in product(*(typical_draws(name, ranges) for name in above)):
        yield dict(zip(above, draws, strict=True))


def check_worlds(looked_at: Iterable[Sequence[str]], ranges: Mapping[str, Range]) -> None:
    """Raises InputError if the worlds of these groups of names, times their own draws, exceed MOST_WORLDS."""
    draws = {name: len(typical_draws(name, ranges)) for name in ranges}
    counts = {
        " and ".join(names): math.prod(draws[one] for one in {*_above(names, ranges), *names}) for names in looked_at
    }
    if (total := sum(counts.values())) > MOST_WORLDS:
        raise InputError(
            f"ranges and their conditions can come out in {total:,} ways, and at most {MOST_WORLDS:,} are looked at; "
            f"most are above {max(counts, key=lambda names: counts[names])}: let fewer ranges depend on each other, or "
            "on fewer values"
        )


def can_exist(name: str, ranges: Mapping[str, Range], base: Mapping[str, Any]) -> bool:
    """Whether the condition of a range holds in any world."""
    return any(name in world_of(base, ranges, world)[1] for world in worlds([name], ranges))


def possible_values(name: str, ranges: Mapping[str, Range], base: Mapping[str, Any]) -> list[Any]:
    """The values that a hyperparameter can take, without those that no condition tells apart."""
    if name not in ranges:
        return [base[name]]
    found = (
        world_of(base, ranges, {**world, name: one})[0][name]
        for world in worlds([name], ranges)
        for one in typical_draws(name, ranges)
    )
    return list(dict.fromkeys(found))


def bounds(name: str, ranges: Mapping[str, Range], base: Mapping[str, Any]) -> tuple[float, float]:
    """The lowest and the highest value that a numeric hyperparameter can take, its base value included."""
    if name not in ranges:
        return base[name], base[name]
    scope = ranges[name]
    ends = [*scope.extremes]
    if scope.ratio_to:
        low, high = bounds(scope.ratio_to, ranges, base)
        ends = [low * min(ends), high * max(ends)]
    elif scope.complement:
        ends = [1 - end for end in ends]
    return min(*ends, base[name]), max(*ends, base[name])


def without_dead(ranges: Mapping[str, Range], base: Mapping[str, Any], own: Iterable[str] = ()) -> dict[str, Range]:
    """The ranges, ordered, without those whose condition can never hold; own: names that are always kept."""
    kept = ordered(ranges)
    check_worlds([[name] for name in kept if name not in own], kept)
    for name in list(kept):
        if name not in own and not can_exist(name, kept, base):
            del kept[name]
    return kept


def _above(names: Sequence[str], ranges: Mapping[str, Range]) -> list[str]:
    """The searched hyperparameters on which these ranges depend, directly or indirectly, in order."""
    found: set[str] = set()
    waiting = [parent for name in names for parent in ranges[name].depends_on]
    while waiting:
        name = waiting.pop()
        if name in ranges and name not in found:
            found.add(name)
            waiting += ranges[name].depends_on
    return [name for name in ranges if name in found]


def typical_draws(name: str, ranges: Mapping[str, Range]) -> list[Any]:
    """One draw of a range for each kind of draw that must be told apart.

    Of the draws that conditions and the rules of `gan_core.config.combinations` treat alike, only the first is listed:
    these rules may treat each value of a text differently, but of a number they only ask whether it is 0, 1 or the
    default. If the range is or has a ratio, its lowest and highest draws are listed too.
    """
    scope, known = ranges[name], hyperparameter(name)
    asking = [frozenset(one.when[name]) for one in ranges.values() if name in one.when]
    apart = (0, 1, known.default)
    of_kind: dict[Any, Any] = {}
    inside = [] if scope.choices else [value for asked in asking for value in sorted(asked) if scope.contains(value)]
    for draw in (*scope.extremes, *inside):
        value = 1 - draw if scope.complement else draw
        own = value if known.kind in (str, object) or value in apart else None
        of_kind.setdefault((own, *(draw in asked for asked in asking)), draw)
    ends = [*scope.extremes] if known.kind in (int, float) else []
    referred = scope.is_derived or any(one.ratio_to == name for one in ranges.values())
    return list(dict.fromkeys((*of_kind.values(), *((min(ends), max(ends)) if referred and ends else ()))))
