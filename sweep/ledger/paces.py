"""Paces: how fast each node and each kind of device trains, so that unlike nodes are not taken for one another."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from results.rows import ResultRow

REMEMBERED_SECONDS = 300.0  # of training; what lies longer back counts half, and so on


@dataclass
class _Pace:
    """Images that the lanes of cohorts were shown, and how long that took, in seconds of one cohort."""

    images: float = 0.0
    seconds: float = 0.0

    def add(self, images: int, seconds: float) -> None:
        if self.seconds > REMEMBERED_SECONDS:
            self.images, self.seconds = self.images / 2, self.seconds / 2
        self.images, self.seconds = self.images + images, self.seconds + seconds


class _Note(NamedTuple):
    lanes: int
    images: int
    seconds: float


class Paces:
    """How many images a second a cohort shows to all its lanes together, on each node.

    It is learnt from what cohorts tell while they train. A node that has told nothing yet, as after a sweep was broken
    off, is as fast as the rows of its kind of device say: `ResultRow.processor`, the card or the model of the CPU.
    """

    def __init__(self) -> None:
        self._kinds: dict[str, str] = {}  # name of a node -> kind of the device that trained there last
        self._of_kinds: dict[str, _Pace] = {}
        self._of_nodes: dict[str, _Pace] = {}
        self._latest: dict[int, _Note] = {}  # cohort -> what it told last, while it trains without a break

    def note_row(self, row: ResultRow, images: int) -> None:
        """Takes in a row. images: shown to its lane since the row before. Rows without a report tell no pace."""
        if row.processor and row.seconds > 0:
            self._kinds[row.node] = row.processor
            self._of_kinds.setdefault(row.processor, _Pace()).add(images, row.seconds)

    def note_images(self, cohort: int, node: str, lanes: int, images: int, seconds: float) -> None:
        """Told that the lanes of a cohort on a node have seen so many images each. seconds: of a clock."""
        now, before = _Note(lanes, images, seconds), self._latest.get(cohort)
        self._latest[cohort] = now
        if before is not None and before.lanes == lanes and before.images < images and before.seconds < seconds:
            shown = lanes * (images - before.images)
            self._of_nodes.setdefault(node, _Pace()).add(shown, seconds - before.seconds)

    def note_break(self, cohort: int) -> None:
        """Told that a cohort does something else than training, or trains no longer."""
        self._latest.pop(cohort, None)

    def images_per_second(self, nodes: Sequence[str]) -> float:
        """Of cohorts on these nodes together; a node of which nothing is known is as fast as the others are on average.
        NaN where nothing is known of any of them, or there are none.
        """
        found = [self._of_nodes.get(node) or self._of_kinds.get(self._kinds.get(node, "")) for node in nodes]
        known = [pace.images / pace.seconds for pace in found if pace is not None]
        return sum(known) * len(nodes) / len(known) if known else math.nan
