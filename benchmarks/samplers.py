"""Whether samplers search well where trials are pruned: each against `random` at the same budget.

    python -m benchmarks.samplers [--samplers tpe,gp,cmaes,nsga2] [--seeds 20] [--trials 60]

Proposals, rungs and the pruning rule are those of a sweep. The score of a trial at a rung is a formula of its
configuration, so that a sweep takes a second (with `gp` half a minute). The budget is a number of images: what
`--trials` random trials take, of which half go on at each of three rungs. Prints in how many seeds a sampler has a
better best score than `random` among completed trials that keep the limits, and the p-value of a sign test.
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
from gan_core.config.limits import LAST, Place
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

Formula = Callable[[GanConfig, int], Place]  # by how much it breaks limits, and its score, after so many images


def valley(config: GanConfig, images: int) -> Place:
    """Lowest at a rate of 1e-3 for the generator and 3e-4 for the discriminator, without momentum, with the wider
    network; falls with images.
    """
    return 0.0, 0.1 + distance(config) + 30 / images + luck(config) / 100


def hasty(config: GanConfig, images: int) -> Place:
    """The same minimum, but lower rates take longer, so that the first rung favours rates that are too high. Scores
    span several orders of magnitude, as those of GANs do, and bad ones break limits.
    """
    pace = math.sqrt(config.lane.generator_lr / 1e-3)
    score = 3 * math.exp(distance(config) + 1.5 * math.exp(-pace * images / 300) + luck(config) / 10)
    return min(1.0, score / 1000) * (score > 60), score


def narrow(config: GanConfig, images: int) -> Place:
    """The valley, whose minimum breaks a limit: the best that keeps it lies at the edge, at a momentum of 0.4. At the
    first rung nearly all trials break another one, by less the better they are.
    """
    young = 0.2 * (images < 300) * min(1.0, distance(config))
    return max(0.0, 0.4 - config.lane.beta1) + young, valley(config, images)[1]


FORMULAS: dict[str, Formula] = {"valley": valley, "hasty": hasty, "narrow": narrow}


def distance(config: GanConfig) -> float:
    """The squared distance from the best configuration, with learning rates in decades."""
    rates = math.log10(config.lane.generator_lr) + 3, math.log10(config.lane.discriminator_lr) + 3.5
    return rates[0] ** 2 + rates[1] ** 2 + config.lane.beta1**2 + 0.5 * (config.structure.generator_width == 16)


def luck(config: GanConfig) -> float:
    """What a trial's seed adds to its score, at least -0.5 and below 0.5."""
    return config.seed * 2654435761 % 1000 / 1000 - 0.5


@dataclass(frozen=True)
class Search:
    """What a sweep over a formula found. best: the lowest score of a completed trial that keeps the limits; configs and
    outcomes: one for each trial.
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
            outcome, (violation, score), images = climb(proposal, proposals, reached, formula)
            configs.append(proposal.config)
            outcomes.append(outcome)
            left -= images
            best = min(best, score) if outcome is Outcome.COMPLETED and not violation else best
    return Search(best, configs, outcomes)


def climb(
    proposal: Proposal, proposals: Proposals, reached: Sequence[Reached], formula: Formula
) -> tuple[Outcome, Place, int]:
    """Takes one trial up the ladder. Returns how it ended, its best rung, and the images that it saw."""
    outcome, best, images = Outcome.DIVERGED, LAST, RUNGS[0] // 2
    if proposal.config.lane.generator_lr > DEADLY_LR:
        proposals.tell(proposal.identity, outcome, (math.nan,), images)
        return outcome, best, images
    for rung, images in enumerate(RUNGS):
        best = min(best, formula(proposal.config, images))
        standing = Standing((best[1],), (0.0,), best[0])
        reached[rung].add([standing])
        outcome = proposals.spec.ladder.judge(rung, 0, standing, reached[rung]).outcome
        proposals.tell(proposal.identity, outcome, standing.best, images, standing.violation)
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
