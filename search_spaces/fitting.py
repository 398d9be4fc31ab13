"""Checks that ranges fit their base and each other, when a space is made and not in the middle of a sweep."""

from collections.abc import Mapping
from itertools import combinations, product
from typing import Any

from gan_core.config.gan import GanConfig, parse_value
from gan_core.config.input_error import InputError, shown
from search_spaces.dependencies import bounds, can_exist, check_worlds, possible_values, typical_draws, world_of, worlds
from search_spaces.ranges import Range

NEVER_SEARCHED = {
    "seed": "every trial has a seed of its own, from the sweep's",
    "data_seed": "all trials are shown the same order of samples",
    "structure.networks": "their arguments are the hyperparameters; make a space for each file",
    "structure.dataset": "scores on different data sets cannot be compared; make a space for each",
    "structure.image_size_pixels": "scores at different sizes cannot be compared; make a space for each",
}
COMBINED = frozenset(  # the names in the rules of gan_core.config.combinations, whose ranges may not fit each other
    {f"structure.{name}" for name in ("architecture", "batch_size", "categorical_codes", "continuous_codes")}
    | {f"structure.{name}" for name in ("loss", "gradient_penalty", "discriminator_norm", "discriminator_input")}
    | {f"lane.{name}" for name in ("label_smoothing", "generator_dropout", "instance_noise", "instance_noise_images")}
    | {f"lane.{name}" for name in ("batch_norm_eps", "batch_norm_momentum", "lr_schedule", "lr_schedule_images")}
    | {f"lane.{name}" for name in ("information_weight", "continuous_code_weight", "discriminator_dropout")}
)


def check_ranges(space: str, base: Mapping[str, Any], ranges: Mapping[str, Range]) -> None:
    """Raises InputError if one of the ordered ranges cannot be searched, can never exist, or can lead, alone or with
    another one, to an invalid configuration. base: the hyperparameters of the base.
    """
    for name in ranges:
        if name in NEVER_SEARCHED:
            raise InputError(f"{name} cannot be searched: {NEVER_SEARCHED[name]}")
    pairs = list(combinations(sorted(COMBINED & set(ranges)), 2))
    check_worlds([*((name,) for name in ranges), *pairs], ranges)
    for name, scope in ranges.items():
        if scope.ratio_to:
            _check_ratio(space, name, base, ranges)
    for name, scope in ranges.items():
        _check_condition(space, name, base, ranges)
        values, existing = world_of(base, ranges, {})
        if name in existing and scope.drawn(base[name], values) is None:
            raise InputError(
                f"space {shown(space)}: the base value {shown(base[name])} of {name} lies outside its range {scope}; "
                "widen the range or change the base (it is trial 0)"
            )
    for name in ranges:
        _check_alone(name, base, ranges)
    for pair in pairs:
        _check_pair(space, pair, base, ranges)


def _check_condition(space: str, name: str, base: Mapping[str, Any], ranges: Mapping[str, Range]) -> None:
    scope = ranges[name]
    for parent, allowed in scope.when.items():
        above = ranges.get(parent)
        if above and (above.is_derived or not (above.choices or above.is_whole or above.step)):
            raise InputError(
                f"space {shown(space)}: {name} exists {scope.condition}, and {parent}, whose range is {above}, is that "
                f"only by chance; give it choices or a step"
            )
        if not set(possible_values(parent, ranges, base)) & set(allowed):
            raise InputError(
                f"space {shown(space)}: the range of {name} can never exist: it does {scope.condition}, and {parent} "
                f"is {above or base[parent]}; change the condition, or what {parent} can be"
            )
    if not can_exist(name, ranges, base):
        raise InputError(
            f"space {shown(space)}: the range of {name} can never exist: it does {scope.condition}, "
            "which cannot hold together; drop one"
        )


def _check_ratio(space: str, name: str, base: Mapping[str, Any], ranges: Mapping[str, Range]) -> None:
    """Raises InputError unless the other number is above 0 and every product is a valid value."""
    scope = ranges[name]
    other = str(scope.ratio_to)
    low, high = bounds(other, ranges, base)
    if low <= 0:
        raise InputError(
            f"space {shown(space)}: {name} is a ratio to {other}, which must then be above 0 and can be {low:g}; "
            f"raise what {other} is at least"
        )
    for ratio, reference in ((min(scope.extremes), low), (max(scope.extremes), high)):
        try:
            parse_value(name, ratio * reference)
        except InputError as error:
            raise InputError(
                f"space {shown(space)}: {ratio:g} times {other} of {reference:g} is too much or too little: {error}"
            ) from error


def _check_alone(name: str, base: Mapping[str, Any], ranges: Mapping[str, Range]) -> None:
    """Raises InputError unless every draw of a range is valid, with the base values, in all worlds where it exists."""
    for world, extreme in product(worlds([name], ranges), typical_draws(name, ranges)):
        values, existing = world_of(base, ranges, {**world, name: extreme})
        if name in existing:
            GanConfig.unflatten(values)


def _check_pair(space: str, names: tuple[str, str], base: Mapping[str, Any], ranges: Mapping[str, Range]) -> None:
    """Raises InputError unless all pairs of draws of two ranges are valid together in all worlds where both exist."""
    one, other = names
    for world, *pair in product(worlds(names, ranges), typical_draws(one, ranges), typical_draws(other, ranges)):
        values, existing = world_of(base, ranges, {**world, one: pair[0], other: pair[1]})
        if not existing.issuperset(names):
            continue
        try:
            GanConfig.unflatten(values)
        except InputError as error:
            raise InputError(
                f"space {shown(space)} can combine {one} {shown(pair[0])} with {other} {shown(pair[1])}: {error}, "
                "or narrow one of the two ranges"
            ) from error
