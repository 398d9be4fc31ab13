"""Names of objectives. The objective `-coverage` stands for the score `coverage`, of which more is better.

Its negative is minimised, and is the `score` of a row.
"""

from collections.abc import Sequence

from gan_core.config.own_names import score_of

HIGHER = "-"  # the prefix of a score of which more is better


def score_name(objective: str) -> str:
    """The score of an objective: `coverage` for `-coverage`, `fid` for `fid`, and the name of a person's own."""
    return score_of(objective)


def higher_is_better(objective: str) -> bool:
    """Whether more is better for the score of this objective."""
    return objective.startswith(HIGHER)


def natural(objective: str, score: float) -> float:
    """The value of the objective's score, from a row's `score`, which is always better the lower it is."""
    return -score if higher_is_better(objective) else score


def directed(objectives: Sequence[str]) -> str:
    """Names with their direction, such as `fid, seconds (lower is better)`; each has its own if they differ."""
    if len({higher_is_better(each) for each in objectives}) == 1:
        return f"{', '.join(map(score_name, objectives))} ({_direction(objectives[0])})"
    return ", ".join(f"{score_name(each)} ({_direction(each)})" for each in objectives)


def _direction(objective: str) -> str:
    return "higher is better" if higher_is_better(objective) else "lower is better"
