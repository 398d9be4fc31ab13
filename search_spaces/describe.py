"""Formats a search space as a readable table."""

import textwrap

from gan_core.config.gan import HALF_LIFE, hyperparameter
from search_spaces.space import SearchSpace

WIDTH = 100  # characters per line, unless a part of it is longer
TRIAL_0_WIDTH = 14


def describe_space(space: SearchSpace) -> str:
    """A table of all hyperparameters with their values in trial 0, their ranges and the conditions of these.

    The constraints and the source of the space follow it.
    """
    base = space.base.flatten()
    width = max(map(len, base))
    indent = " " * (width + TRIAL_0_WIDTH + 4)
    lines = [*_wrapped(f"{space.name}: {space.about}"), f"{'hyperparameter':{width}}  {'trial 0':>14}  range"]
    for name, value in base.items():
        if name == "seed":
            continue
        scope = space.ranges.get(name)
        said = [*_wrapped(str(scope), indent), *_wrapped(scope.condition, indent)] if scope else [""]
        if name == HALF_LIFE and space.averages_images:
            every = " and ".join(map(str, space.averages_images))
            said = _wrapped(f"{every}, all in every trial", indent)
        written = f"as {hyperparameter(name).follows}" if value is None else str(value)
        lines.append(f"{name:{width}}  {written:>{TRIAL_0_WIDTH}}  {said[0].strip()}".rstrip())
        lines += said[1:]
    lines += [f"constraint: {constraint.text}" for constraint in space.constraints]
    if space.source:
        lines += _wrapped(f"source: {space.source}")
    return "\n".join(lines)


def _wrapped(text: str, indent: str = "") -> list[str]:
    """Lines of at most WIDTH characters, unless a word is longer."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
