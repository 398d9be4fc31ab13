"""Owners: which process trains which cohort, so that nothing counts that a process says after it was taken for dead."""

from typing import NamedTuple


class NoLongerOwner(Exception):
    """A process spoke of a cohort that has another owner by now, or none. Nothing of what it said is recorded, and it
    is to stop training without a word.
    """


class Taker(NamedTuple):
    """Who asks for a cohort. name: of what stays when a process is replaced, with Ray the Tune trial. process: of the
    process itself. node: Ray's id of the machine that it runs on, and host: the name of that machine for people.
    """

    name: str = ""
    process: str = ""
    node: str = ""
    host: str = ""


NOBODY = Taker()  # a taker that is not known again: each of its cohorts is handed out for itself


class Held(NamedTuple):
    """A cohort in somebody's hands: the number of its owner, and who took it."""

    owner: int
    cohort: int
    taker: Taker


class Owners:
    """Gives each cohort one owner at a time.

    Owners are numbered from 0: each time a cohort is handed out, also again, its owner has the next number, and gives
    it with every word about the cohort. A process that was cut off, and comes back after its cohort was handed out
    again, is known by its number.
    """

    def __init__(self) -> None:
        self._held: list[Held] = []  # by the number of the owner
        self._current: dict[int, int] = {}  # cohort -> its owner now
        self._of_takers: dict[str, int] = {}  # name of a taker -> the owner that it became last
        self._hosts: dict[int, str] = {}  # cohort -> the host of its last owner

    def hand_out(self, cohort: int, taker: Taker = NOBODY) -> int:
        """The number of the new owner of a cohort. An earlier owner of the cohort is none any more."""
        owner = len(self._held)
        self._held.append(Held(owner, cohort, taker))
        self._current[cohort], self._hosts[cohort] = owner, taker.host
        if taker.name:
            self._of_takers[taker.name] = owner
        return owner

    def cohort_of(self, owner: int) -> int:
        """The cohort of an owner. Raises NoLongerOwner where that is another's now, or nobody's."""
        if not self.is_current(owner):
            raise NoLongerOwner(f"hand-out {owner} is not the latest of its cohort")
        return self._held[owner].cohort

    def taker_of(self, owner: int) -> Taker:
        """Who took a cohort as this owner."""
        return self._held[owner].taker

    def is_current(self, owner: int) -> bool:
        """Whether this is the owner of its cohort."""
        return 0 <= owner < len(self._held) and self._current.get(self._held[owner].cohort) == owner

    def retire(self, cohort: int) -> None:
        """From now on nobody owns the cohort."""
        self._current.pop(cohort, None)

    def held_by(self, name: str) -> Held | None:
        """What the taker of this name owns; None if it owns nothing."""
        owner = self._of_takers.get(name)
        return self._held[owner] if owner is not None and self.is_current(owner) else None

    def host_of(self, cohort: int) -> str:
        """The name of the machine on which the cohort was trained last; "" where that is not known."""
        return self._hosts.get(cohort, "")
