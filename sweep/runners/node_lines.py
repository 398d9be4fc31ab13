"""What each node of a cluster does, and each cohort, in lines for a person or a script."""

import textwrap
from collections.abc import Sequence

from results.printable import printable
from sweep.ledger.snapshot import RunningCohort, SeenNode, Snapshot

STARTING = "a process starts there, or waits for what others use"


def node_lines(snapshot: Snapshot, width: int) -> list[str]:
    """Each node with its cohorts below it; the cohorts alone where one machine trains. width: the most characters of a
    line; what is longer goes on in the next one.
    """
    lines, shown = list[str](), set[int]()
    for node in snapshot.nodes:
        there = [cohort for cohort in snapshot.cohorts if cohort.node == node.name]
        shown |= {cohort.number for cohort in there}
        lines += [_node(node, len(there), snapshot.idle_because), *(f"  {_cohort(cohort)}" for cohort in there)]
    rest: Sequence[RunningCohort] = [cohort for cohort in snapshot.cohorts if cohort.number not in shown]
    lines += [_cohort(cohort, f" on {cohort.node}" if cohort.node else "") for cohort in rest]
    return [part for line in lines for part in textwrap.wrap(printable(line), width, subsequent_indent="    ")]


def _node(node: SeenNode, busy: int, idle_because: str) -> str:
    if node.why:
        return f"node {node.name} is given no cohort: {node.why}"
    used = f"node {node.name}: {busy} of {node.room} place{'s' * (node.room != 1)} in use"
    return used if busy >= node.room else f"{used}; idle: {idle_because or STARTING}"


def _cohort(cohort: RunningCohort, place: str = "") -> str:
    trials = f"{cohort.lanes} trial{'s' * (cohort.lanes != 1)}"
    doing = f": {cohort.phase}" if cohort.phase else ""
    return f"cohort {cohort.number}{place}, on its way to rung {cohort.rung}, {trials}{doing}"
