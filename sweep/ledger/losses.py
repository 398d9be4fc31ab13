"""Losses of nodes: whether a cohort makes the nodes die that train it, as one that needs more memory than they have."""

MOST_NODES = 3  # that may be lost in a row under one cohort

# How far a cohort has come: the rungs that were judged, and the images that its furthest lane has seen.
Progress = tuple[int, int]


class Losses:
    """Which nodes were lost without notice while they trained cohorts, in their order.

    A cohort is at fault when the last MOST_NODES of them all trained it, and it came no further meanwhile: nodes are
    lost for other reasons too, but then not always the one that trains it. All cohorts of a node are lost with the one
    that is at fault, so those that would be at fault at the next loss are suspects, of which one at a time is to train.
    """

    def __init__(self) -> None:
        self._nodes: dict[str, set[int]] = {}  # the last nodes that were lost -> the cohorts that they trained
        self._furthest: dict[int, Progress] = {}  # cohort -> how far it had come when its node was lost

    def note_progress(self, cohort: int, progress: Progress) -> None:
        """Notes how far a cohort has come. If that is further than at its losses, these were no fault of it."""
        if cohort in self._furthest and progress > self._furthest[cohort]:
            del self._furthest[cohort]
            for cohorts in self._nodes.values():
                cohorts.discard(cohort)

    def note_loss(self, cohort: int, node: str, progress: Progress) -> bool:
        """Notes that the node was lost that trained a cohort, which had come so far. Returns whether it is at fault."""
        self.note_progress(cohort, progress)
        self._furthest.setdefault(cohort, progress)
        self._nodes.setdefault(node, set()).add(cohort)
        while len(self._nodes) > MOST_NODES:
            del self._nodes[next(iter(self._nodes))]
        return self._in_a_row(cohort) >= MOST_NODES

    def suspects(self) -> set[int]:
        """The cohorts that would be at fault if another node were lost under them."""
        return {n for n in self._furthest if self._in_a_row(n) >= MOST_NODES - 1}

    def _in_a_row(self, cohort: int) -> int:
        count = 0
        for cohorts in reversed(self._nodes.values()):
            if cohort not in cohorts:
                break
            count += 1
        return count
