"""How many lanes to compute in one call: measured while training, once for each structure in a process.

More lanes in a call share its overhead, fewer stay in the caches; which is faster depends on the model and the machine.
So the first two blocks of an array are trained in calls of 1, 2, 4, ... lanes, and the second block is timed. Where the
largest call was the fastest, one twice as large is tried in two further blocks, or by a later array if this one has too
few lanes. From then on all arrays are trained in calls of the size that took the least time per update. (An update is
one of D or of G: lanes whose D takes more steps between two turns of G have fewer of them in a block.) Nothing is
trained for the measurement alone, and calls of one lane are always measured, so that no model is slower than it would
be alone. On the CPU the choice changes no bit of any lane.
"""

import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from gan_core.config.reports import OutOfMemory
from gan_core.config.structure import StructureConfig
from gan_core.files.own_code import NO_MEMORY

LARGEST_CALL = 32
ONE_LANE_CALL = 1  # convolutions and own modules are computed lane by lane: larger calls were never faster
WHOLE_ARRAY = 2**20
LANE_BY_LANE = ("dcgan", "infogan", "own")


def largest_call(structure: StructureConfig) -> int:
    """The largest number of lanes in a call that is tried on the CPU."""
    return ONE_LANE_CALL if structure.architecture in LANE_BY_LANE else LARGEST_CALL


class Pace:
    """The number of lanes in a call for arrays of one structure. given: fixes it; largest: the most that are tried."""

    def __init__(self, given: int | None = None, largest: int = LARGEST_CALL) -> None:
        self._given, self._largest = given, largest
        self._seconds: dict[int, float] = {}  # size of a call -> seconds an update of a lane, in its timed block
        self._blocks = 0

    @property
    def size(self) -> int | None:
        """Lanes in a call: the given number, or else the fastest so far; None before any was measured."""
        if self._given is not None or not self._seconds:
            return self._given
        return min(self._seconds, key=lambda size: (self._seconds[size], -size))

    def tries(self, lanes: int) -> int | None:
        """The size that is tried next with an array of so many lanes: twice the fastest, unless that was measured or is
        too large; None where there is nothing to try, or nothing was measured yet.
        """
        best = self.size
        if self._given is not None or best is None:
            return None
        return 2 * best if 2 * best <= min(self._largest, lanes) and 2 * best not in self._seconds else None

    def parts(self, lanes: int) -> list[int]:
        """The sizes of the calls that so many lanes are divided into now. Their sum is `lanes`."""
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
        """Takes the seconds per update of a lane in a block, by size of a call, of an array of so many lanes. True
        where `parts` has changed by it.
        """
        if lanes == 1 or (self.size is not None and self.tries(lanes) is None):
            return False
        self._blocks += 1
        if self._blocks < 2:  # in the first block programs are made too
            return False
        self._blocks = 0
        self._seconds |= seconds
        return True

    def halve(self, tried: int) -> None:
        """After calls of `tried` lanes did not fit the memory: from now on at most half as many. Raises ValueError for
        one lane, which cannot be halved.
        """
        if tried < 2:
            raise ValueError("one lane a call is the least")
        self._largest = self._given = tried // 2


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that a device, or this machine, has no memory left."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(said in str(error) for said in NO_MEMORY)


@contextmanager
def within_memory(lanes: int) -> Iterator[None]:
    """Turns exceptions that mean that memory ran out into OutOfMemory, which says how many bytes were asked for where
    torch does. lanes: how many the array has that is made or trained.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)  # frees the tensors that they hold: memory is short
        asked = re.search(r"allocate (\d[\d.]* ?\w+)", str(error))
        what = f"{asked[1]} more could not be allocated" if asked else "memory ran out"
        array = "one lane does" if lanes == 1 else f"{lanes} lanes do"
        raise OutOfMemory(f"{array} not fit the memory: {what}") from error


def until_it_fits(build: Callable[[], None], pace: Pace, tried: Callable[[], int]) -> None:
    """Calls `build`, and while memory runs out and a call has two lanes or more, again with half as many. tried: the
    number of lanes in the largest call.
    """
    while True:
        try:
            return build()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or tried() < 2:
                raise
            pace.halve(tried())
