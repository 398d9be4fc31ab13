"""How many lanes a kernel is called for: found out while training, once for each structure of a process.

More lanes a call share its overhead, fewer stay in the caches; which wins depends on the model and the machine. So the
first blocks of an array are trained in calls of 1, 2, 4, ... lanes side by side, and the second is timed; where the
largest was the best, twice as many are tried in two blocks more. From then on all are trained in calls of the size
that took the least time a lane. Nothing is trained for the measurement alone, and one lane a call is among what is
measured, so that no model is slower than by itself. On the CPU a lane's bits do not depend on the choice.
"""

from collections.abc import Callable

import torch

from gan_core.config import StructureConfig

LARGEST_CALL = 32
LARGEST_CONVOLUTIONAL_CALL = 1  # convolutions are called lane by lane: more lanes a call were never faster
WHOLE_ARRAY = 2**20
CONVOLUTIONAL = ("dcgan", "infogan")


def largest_call(structure: StructureConfig) -> int:
    """How many lanes a call is tried with on the CPU."""
    return LARGEST_CONVOLUTIONAL_CALL if structure.architecture in CONVOLUTIONAL else LARGEST_CALL


class Pace:
    """The size of a call for arrays of one structure.

    size: lanes a call, once it is known; None until then. given: fixes it. largest: of those that are tried.
    """

    def __init__(self, given: int | None = None, largest: int = LARGEST_CALL) -> None:
        self.size = given
        self._largest = largest
        self._trial: int | None = None  # the size that all are trained in, to be timed
        self._seconds: dict[int, float] = {}  # size of a call -> seconds a lane of its timed block
        self._blocks = 0

    def parts(self, lanes: int) -> list[int]:
        """Sizes of the chunks that so many lanes are trained in now."""
        size = self.size or self._trial
        if size is not None:
            whole, rest = divmod(lanes, size)
            return [size] * whole + ([rest] if rest else [])
        size, parts = 1, []
        while sum(parts) < lanes:
            parts.append(min(size, lanes - sum(parts)))
            size = min(2 * size, self._largest)
        return sorted(parts)

    def note(self, seconds: dict[int, float], lanes: int) -> bool:
        """Told the seconds a lane took in a block, by size of a call, of an array of so many lanes; answers whether
        `parts` is another now.
        """
        if self.size is not None or lanes == 1:
            return False
        self._blocks += 1
        if self._blocks < 2:  # the first block also traces and plans
            return False
        self._blocks = 0
        self._seconds |= seconds
        best = min(self._seconds, key=lambda size: (self._seconds[size], -size))
        if 2 * best <= min(self._largest, lanes) and 2 * best not in self._seconds:
            self._trial = 2 * best
        else:
            self.size = best
        return True

    def halve(self, tried: int) -> None:
        """Told that calls of `tried` lanes do not fit the memory: from now on at most half as many. Raises ValueError
        where that is less than one.
        """
        if tried < 2:
            raise ValueError("one lane a call is the least")
        self._largest = self.size = tried // 2


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch says that a device, or this machine, has no memory left."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "allocate memory" in str(error)


def until_it_fits(build: Callable[[], None], pace: Pace, tried: Callable[[], int]) -> None:
    """Calls `build` again with half as many lanes a call, as long as memory runs out and there are two or more."""
    while True:
        try:
            return build()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or tried() < 2:
                raise
            pace.halve(tried())
