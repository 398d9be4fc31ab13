"""Whether samplers search well where trials are pruned: each against `random` at the same budget.

    python -m benchmarks.samplers [--samplers tpe,gp,cmaes,nsga2] [--seeds 20] [--trials 60]

Proposals, rungs and the pruning rule are those of a sweep. The score of a trial at a rung is a formula of its
configuration, so that a sweep takes a second (with `gp` half a minute). The budget is a number of images: what
`--trials` random trials take, of which half go on at each of three rungs. Prints in how many seeds a sampler has a
better best score among completed trials than `random`, and the p-value of a sign test.
"""

import argparse
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from gan_core.config.gan import GanConfig
from results.rows import Outcome
from results.store import RunFolder
from sweep.ladder.ladder import Reached, Standing
from sweep.proposals.proposals import Proposal, Proposals
from sweep.spec.sweep_spec import SweepSpec

SPACE = {
    "name": "formula",
    "base": {"structure.generator_width": 16, "structure.discriminator_width": 16, "lane.beta1": 0.5},
    "ranges": {
        "structure.generator_width": {"choices": [16, 32]},
        "lane.generator_lr": {"low": 1e-5, "high": 1e-2, "log": True},
        "lane.discriminator_lr": {"low": 1e-5, "high": 1e-2, "log": True},
        "lane.beta1": {"low": 0.0, "high": 0.9},
    },
}
RUNGS = [100, 300, 900]
DEADLY_LR = 3e-3  # a generator's rate above which trials diverge before the first rung; the best scores are close to it

Formula = Callable[[GanConfig, int], float]


def valley(config: GanConfig, images: int) -> float:
    """Lowest at a rate of 1e-3 for the generator and 3e-4 for the discriminator, without momentum, with the wider
    network; falls with images.
    """
    return 0.1 + distance(config) + 30 / images + luck(config) / 100


def hasty(config: GanConfig, images: int) -> float:
    """The same minimum, but lower rates take longer, so that the first rung favours rates that are too high. Scores
    span several orders of magnitude, as those of GANs do: to bad ones a thousand is added.
    """
    pace = math.sqrt(config.lane.generator_lr / 1e-3)
    score = 3 * math.exp(distance(config) + 1.5 * math.exp(-pace * images / 300) + luck(config) / 10)
    return score + 1000 * (score > 60)


FORMULAS: dict[str, Formula] = {"valley": valley, "hasty": hasty}


def distance(config: GanConfig) -> float:
    """The squared distance from the best configuration, with learning rates in decades."""
    rates = math.log10(config.lane.generator_lr) + 3, math.log10(config.lane.discriminator_lr) + 3.5
    return rates[0] ** 2 + rates[1] ** 2 + config.lane.beta1**2 + 0.5 * (config.structure.generator_width == 16)


def luck(config: GanConfig) -> float:
    """What a trial's seed adds to its score, at least -0.5 and below 0.5."""
    return config.seed * 2654435761 % 1000 / 1000 - 0.5


@dataclass(frozen=True)
class Search:
    """What a sweep over a formula found. best: the lowest score of a completed trial; configs and outcomes: one for
    each trial.
    """

    best: float
    configs: Sequence[GanConfig]
    outcomes: Sequence[Outcome]


def search(sampler: Any, formula: Formula, seed: int, trials: int) -> Search:
    """Runs one trial after another until as many images are spent as so many random trials are expected to take."""
    ladder = {"rungs_images": RUNGS, "keep_fraction": 0.5}
    given = {"space": SPACE, "trials": 10_000, "ladder": ladder, "sampler": sampler, "seed": seed}
    spec = SweepSpec.from_mapping(given)
    reached, left = [Reached() for _ in RUNGS], spec.ladder.expected_images(trials)
    best, configs, outcomes = math.inf, list[GanConfig](), list[Outcome]()
    with tempfile.TemporaryDirectory() as folder:
        proposals = Proposals(spec, RunFolder(Path(folder)), ())
        while left > 0:
            proposal = proposals.ask(len(configs))
            outcome, score, images = climb(proposal, proposals, reached, formula)
            configs.append(proposal.config)
            outcomes.append(outcome)
            left -= images
            best = min(best, score) if outcome is Outcome.COMPLETED else best
    return Search(best, configs, outcomes)


def climb(
    proposal: Proposal, proposals: Proposals, reached: Sequence[Reached], formula: Formula
) -> tuple[Outcome, float, int]:
    """Takes one trial up the ladder. Returns how it ended, its best score, and the images that it saw."""
    outcome, best, images = Outcome.DIVERGED, math.nan, RUNGS[0] // 2
    if proposal.config.lane.generator_lr > DEADLY_LR:
        proposals.tell(proposal.identity, outcome, (best,), images)
        return outcome, best, images
    for rung, images in enumerate(RUNGS):
        score = formula(proposal.config, images)
        best = score if rung == 0 else min(best, score)
        standing = Standing((best,), (0.0,))
        reached[rung].add([standing])
        outcome = proposals.spec.ladder.judge(rung, 0, standing, reached[rung]).outcome
        proposals.tell(proposal.identity, outcome, standing.best, images)
        if outcome is not Outcome.RUNNING:
            break
    return outcome, best, images


def sign_test(wins: int, losses: int) -> float:
    """The probability of so many wins or more where both sides are equally good."""
    count = wins + losses
    return sum(math.comb(count, k) for k in range(wins, count + 1)) / 2**count


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.samplers", description=__doc__)
    parser.add_argument("--samplers", default="tpe,gp,cmaes,nsga2,qmc")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=60)
    given = parser.parse_args()
    print("| sampler | formula | better than random | by chance | median of the best | random's | trials |")
    print("|---|---|---|---|---|---|---|")
    for formula in FORMULAS:
        seeds = range(given.seeds)
        random = [search("random", FORMULAS[formula], seed, given.trials).best for seed in seeds]
        for name in given.samplers.split(","):
            found = [search(name, FORMULAS[formula], seed, given.trials) for seed in seeds]
            wins = sum(mine.best < theirs for mine, theirs in zip(found, random, strict=True))
            chance = sign_test(wins, given.seeds - wins)
            told = [f"{wins} of {given.seeds}", f"{chance:.2g}", f"{median(mine.best for mine in found):.3f}"]
            told += [f"{median(random):.3f}", f"{median(len(mine.configs) for mine in found):.0f}"]
            print(f"| `{name}` | {formula} | {' | '.join(told)} |", flush=True)


if __name__ == "__main__":
    main()
