"""What is said when something a person wrote is wrong."""

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path


class InputError(ValueError):
    """Something a person wrote is wrong. The message is one line: the rule, the value, the fix."""


def nearest(name: str, known: Iterable[str]) -> str:
    """How an unknown name is answered: the closest known one, or the list of all.

    >>> nearest("lane.generator_rl", ["lane.generator_lr", "seed"])
    "did you mean 'lane.generator_lr'?"
    """
    known = list(known)
    close = get_close_matches(str(name), known, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"


def home_path(path: str | Path) -> Path:
    """A path with `~` and `~USER` put in full. Raises InputError where there is no such home folder."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:  # no such user, or nobody knows this one's home
        raise InputError(f"there is no home folder {Path(path).parts[0]!r}; write it out") from error
