"""A pickle that runs code when it is loaded."""

from collections.abc import Callable
from pathlib import Path


class Bomb:
    """An object that makes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.path,)
