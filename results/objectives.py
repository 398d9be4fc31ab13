"""What is minimised, in words and as people know it. An objective `-coverage` is the score `coverage`, more of which is
better: its negative is minimised, and is what rows have as `score`.
"""

from collections.abc import Sequence

HIGHER = "-"  # before the name of a score of which more is better


def score_name(objective: str) -> str:
    """`coverage` for `-coverage`, and any other name as it is."""
    return objective.removeprefix(HIGHER)


def higher_is_better(objective: str) -> bool:
    """Whether an objective's score is better the higher it is."""
    return objective.startswith(HIGHER)


def natural(objective: str, score: float) -> float:
    """A row's `score`, which is lower where it is better, as the score itself."""
    return -score if higher_is_better(objective) else score


def directed(objectives: Sequence[str]) -> str:
    """Names with their direction: `fid, seconds (lower is better)`, or each with its own where they differ."""
    if len({higher_is_better(each) for each in objectives}) == 1:
        return f"{', '.join(map(score_name, objectives))} ({_direction(objectives[0])})"
    return ", ".join(f"{score_name(each)} ({_direction(each)})" for each in objectives)


def _direction(objective: str) -> str:
    return "higher is better" if higher_is_better(objective) else "lower is better"
