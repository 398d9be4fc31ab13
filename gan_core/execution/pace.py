"""How many lanes a kernel is called for: found out while training, once for each structure of a process.

More lanes a call share its overhead, fewer stay in the caches; which wins depends on the model and the machine. So the
first blocks of an array are trained in calls of 1, 2, 4, ... lanes side by side, and the second is timed; where the
largest was the best, twice as many are tried in two blocks more, by a later array where this one has too few lanes.
From then on all are trained in calls of the size that took the least time an update (of D or of G: lanes of larger k
have fewer). Nothing is trained for the measurement alone, and one lane a call is among what is measured, so that no
model is slower than by itself. On the CPU a lane's bits do not depend on the choice.
"""

import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from gan_core.config.gan import StructureConfig
from gan_core.config.reports import OutOfMemory

LARGEST_CALL = 32
LARGEST_CONVOLUTIONAL_CALL = 1  # convolutions are called lane by lane: more lanes a call were never faster
WHOLE_ARRAY = 2**20
CONVOLUTIONAL = ("dcgan", "infogan")
NO_MEMORY = ("allocate memory", "out of memory", "STATUS_ALLOC_FAILED")  # in what torch, CUDA and its libraries say


def largest_call(structure: StructureConfig) -> int:
    """How many lanes a call is tried with on the CPU."""
    return LARGEST_CONVOLUTIONAL_CALL if structure.architecture in CONVOLUTIONAL else LARGEST_CALL


class Pace:
    """The size of a call for arrays of one structure. given: fixes it. largest: of those that are tried."""

    def __init__(self, given: int | None = None, largest: int = LARGEST_CALL) -> None:
        self._given, self._largest = given, largest
        self._seconds: dict[int, float] = {}  # size of a call -> seconds an update of a lane, in its timed block
        self._blocks = 0

    @property
    def size(self) -> int | None:
        """Lanes a call: what is given, or else the best so far; None until one is known."""
        if self._given is not None or not self._seconds:
            return self._given
        return min(self._seconds, key=lambda size: (self._seconds[size], -size))

    def tries(self, lanes: int) -> int | None:
        """The size that is tried next with an array of so many lanes, once one is known: twice the best, if it has not
        been. An array of more lanes than those before may have more to try.
        """
        best = self.size
        if self._given is not None or best is None:
            return None
        return 2 * best if 2 * best <= min(self._largest, lanes) and 2 * best not in self._seconds else None

    def parts(self, lanes: int) -> list[int]:
        """Sizes of the chunks that so many lanes are trained in now."""
        size = self.tries(lanes) or self.size
        if size is not None:
            whole, rest = divmod(lanes, size)
            return [size] * whole + ([rest] if rest else [])
        size, parts = 1, []
        while sum(parts) < lanes:
            parts.append(min(size, lanes - sum(parts)))
            size = min(2 * size, self._largest)
        return sorted(parts)

    def note(self, seconds: dict[int, float], lanes: int) -> bool:
        """Told the seconds that a lane's update took in a block, by size of a call, of an array of so many lanes;
        answers whether `parts` is another now.
        """
        if lanes == 1 or (self.size is not None and self.tries(lanes) is None):
            return False
        self._blocks += 1
        if self._blocks < 2:  # the first block also traces and plans
            return False
        self._blocks = 0
        self._seconds |= seconds
        return True

    def halve(self, tried: int) -> None:
        """Told that calls of `tried` lanes do not fit the memory: from now on at most half as many. Raises ValueError
        where that is less than one.
        """
        if tried < 2:
            raise ValueError("one lane a call is the least")
        self._largest = self._given = tried // 2


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch says that a device, or this machine, has no memory left."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(said in str(error) for said in NO_MEMORY)


@contextmanager
def within_memory(lanes: int) -> Iterator[None]:
    """Within, what runs out of memory raises OutOfMemory, which says how many bytes were asked for where torch says so.
    lanes: of the array that is made or trained.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)  # what they hold is what whoever drops the array is short of
        asked = re.search(r"allocate (\d[\d.]* ?\w+)", str(error))
        what = f"{asked[1]} more could not be allocated" if asked else "memory ran out"
        array = "one lane does" if lanes == 1 else f"{lanes} lanes do"
        raise OutOfMemory(f"{array} not fit the memory: {what}") from error


def until_it_fits(build: Callable[[], None], pace: Pace, tried: Callable[[], int]) -> None:
    """Calls `build` again with half as many lanes a call, as long as memory runs out and there are two or more."""
    while True:
        try:
            return build()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or tried() < 2:
                raise
            pace.halve(tried())
