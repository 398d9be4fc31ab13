"""Messages for wrong input: one line with the rule, the value and the fix."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any

LONGEST_VALUE = 200  # characters of a value in a message; a constraint may be as long
MOST_PARTS, MOST_LEVELS = 12, 3  # items and nesting of a list or mapping that a message shows
LONGEST_NUMBER = 40  # digits of a number that a message shows
LISTED = 10  # up to so many known names are all listed; of more, only the nearest
NEAREST = 5


class InputError(ValueError):
    """Wrong input from a user. The message is one line: the rule, the value, the fix."""


class DamagedFile(InputError):
    """A file that training resumes from is damaged or missing, or belongs to something else."""


def shown(value: Any) -> str:
    """A value as messages quote it: in Python's notation, in at most LONGEST_VALUE characters.

    >>> shown("digits"), shown([1, 2.5])
    ("'digits'", '[1, 2.5]')
    """
    return shortened(_written(value, MOST_LEVELS))


def shortened(text: str, most: int = LONGEST_VALUE) -> str:
    """A text without its middle where it is longer than this many characters."""
    end = most // 4
    return text if len(text) <= most else f"{text[: most - end - 3]}...{text[-end:]}"


def nearest(name: object, known: Iterable[str]) -> str:
    """The hint for an unknown name: the closest known one, else all known ones or, if there are many, the nearest.

    >>> nearest("lane.generator_rl", ["lane.generator_lr", "seed"])
    "did you mean 'lane.generator_lr'?"
    """
    known, asked = list(known), str(name)[:LONGEST_VALUE]
    if close := closest(name, known):
        return f"did you mean {close!r}?"
    if len(known) <= LISTED:
        return f"known: {', '.join(known)}"
    return f"the nearest of {len(known)}: {', '.join(get_close_matches(asked, known, n=NEAREST, cutoff=0.0))}"


def closest(name: object, known: Iterable[str]) -> str | None:
    """The known name that a misspelt one most likely means, or None."""
    return next(iter(get_close_matches(str(name)[:LONGEST_VALUE], list(known), n=1, cutoff=0.6)), None)


def home_path(path: str | Path) -> Path:
    """A path with `~` and `~USER` expanded. Raises InputError where there is no such home folder."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:  # no such user, or one without a home folder
        raise InputError(f"there is no home folder {Path(path).parts[0]!r}; write it out") from error


def _written(value: Any, levels: int) -> str:
    """Like `repr`, but cutting long strings, long collections and deep nesting to the size of a message."""
    if isinstance(value, str):
        return repr(shortened(value))
    if isinstance(value, int) and abs(value) >= 10**LONGEST_NUMBER:
        return f"a number of more than {LONGEST_NUMBER} digits"  # which Python may refuse to write
    if not isinstance(value, Mapping | list | tuple):
        return " ".join(repr(value).split())  # arrays are written in several lines
    if not levels:
        return "..."
    parts = [_written(inner, levels - 1) for inner in islice(value, MOST_PARTS)]
    more = ["..."] if len(value) > MOST_PARTS else []
    if isinstance(value, Mapping):
        held = [_written(inner, levels - 1) for inner in islice(value.values(), MOST_PARTS)]
        return f"{{{', '.join([*map(': '.join, zip(parts, held, strict=True)), *more])}}}"
    if isinstance(value, tuple):
        return f"({', '.join(parts + more)}{',' if len(value) == 1 else ''})"
    return f"[{', '.join(parts + more)}]"
