"""Estimates how long a sweep will take, by timing a few steps. Imported only by `--dry-run`, because it loads torch.

A slot trains one cohort at a time. A draw is a configuration drawn at random from the space.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gan_core.config.dataset_name import parse_dataset_name
from gan_core.config.gan import GanConfig
from gan_core.config.input_error import InputError
from gan_core.config.structure import StructureConfig
from gan_core.execution.pace import Pace, largest_call
from gan_core.execution.programs import ProgramMaker
from gan_core.fidelity.features.classifier import awaits_training
from gan_core.fidelity.scorers import build_scorer
from gan_core.lanes.axis import lane_arithmetic
from gan_core.training.lane_array import LaneArray
from gan_core.workshop.memory import data_form, made_data, row_bytes
from gan_core.workshop.workshop import load_data
from search_spaces.space import SearchSpace
from sweep.cohorts.packing import LARGEST_MEASURED_BYTES
from sweep.ladder.ladder import Ladder
from sweep.ladder.population import draw
from sweep.spec.sweep_spec import SweepSpec

DRAWS = 64
MOST_STRUCTURES, MEASURING_SECONDS = 4, 5.0  # no further structure is measured after this many, or after this long
MOST_LANES = 4  # in an array measured on a CPU, where more lanes per array make little difference
LEAST_SECONDS = 0.2  # the shortest time over which steps are timed
QUICKLY_LOADED = ("digits",)  # image data sets whose scoring is timed; for others it costs far less than training


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What a lane costs on this machine.

    image_seconds: the training time per real image and lane, for each structure that was measured; shares: the number
    or fraction of draws with this structure; structures: the number of structures among all draws. score_seconds: the
    time to score a lane at a rung; None if not measured.
    """

    image_seconds: tuple[float, ...]
    shares: tuple[float, ...]
    structures: int
    score_seconds: float | None = None

    @property
    def mean_image_seconds(self) -> float:
        """The mean training time per real image and lane, over the draws."""
        return float(np.average(self.image_seconds, weights=self.shares))


@dataclass(frozen=True, kw_only=True)
class TimeEstimate:
    """The duration of a sweep, in seconds.

    low, high: if all trials had the fastest, or the slowest structure; unpruned: if no trial were pruned.
    """

    low: float
    expected: float
    high: float
    unpruned: float


def estimate(spec: SweepSpec, costs: Costs, slots: int, lanes: int) -> TimeEstimate:
    """Estimates the time of the trials and confirmations of a spec. lanes: per cohort.

    It assumes that the slots do not slow each other down. A budget of images or hours ends the search earlier.
    """
    used = min(slots, math.ceil(spec.trials / lanes))
    confirmed = spec.confirm.top * spec.confirm.seeds
    whole = Ladder(spec.ladder.rungs_images, 1.0, "none")

    def seconds(ladder: Ladder, image_seconds: float) -> float:
        images, scorings = ladder.expected_images(spec.trials), sum(ladder.expected_lanes(spec.trials))
        share = min(1.0, spec.budget.images / images) if spec.budget.images else 1.0
        search = share * (images * image_seconds + scorings * (costs.score_seconds or 0.0)) / used
        after = confirmed * (whole.rungs_images[-1] * image_seconds + len(whole) * (costs.score_seconds or 0.0))
        return min(search, spec.budget.hours * 3600 or math.inf) + after / slots

    return TimeEstimate(
        low=seconds(spec.ladder, min(costs.image_seconds)),
        expected=seconds(spec.ladder, costs.mean_image_seconds),
        high=seconds(spec.ladder, max(costs.image_seconds)),
        unpruned=seconds(whole, costs.mean_image_seconds),
    )


def time_lines(spec: SweepSpec, slots: int, lanes: int, device: str) -> str:
    """The result of `estimate` as text, by costs that are measured on this machine; takes seconds."""
    costs = measured_costs(spec, lanes, device)
    if costs is None:
        return "time: not told, for a lane is too large to be measured here"
    found, many = estimate(spec, costs, slots, lanes), costs.structures > 1
    fast, slow = (f"{1 / seconds(costs.image_seconds):,.0f}" for seconds in (min, max))
    by_structure = f"{in_words(found.low)} to {in_words(found.high)} by which structures are tried, " if many else ""
    looked_at = f"{len(costs.image_seconds)} of {costs.structures} structures" if many else "one structure"
    pace, not_in = slow if fast == slow else f"{slow} to {fast}", "not " if costs.score_seconds is None else ""
    return (
        f"time: about {in_words(found.expected)}, {by_structure}{in_words(found.unpruned)} were no trial pruned\n"
        f"  by a few steps of {looked_at}, {pace} images/s in a slot, as if each slot had a core or GPU\n"
        f"  of its own; scores are {not_in}in it, what starting takes is not"
    )


def measured_costs(spec: SweepSpec, lanes: int, device: str) -> Costs | None:
    """Measures the most common structures of the space, as many as time allows; None if all are too large."""
    seconds, shares, began = list[float](), list[float](), time.monotonic()
    drawn = drawn_structures(spec.space)
    with lane_arithmetic():
        for configs, share in drawn:
            if len(seconds) == MOST_STRUCTURES or (seconds and time.monotonic() - began > MEASURING_SECONDS):
                break
            if row_bytes(configs[0], len(spec.space.averages_images) or 1) <= LARGEST_MEASURED_BYTES:
                seconds.append(_image_seconds(spec, configs, lanes, device))
                shares.append(share)
        if not seconds:
            return None
        scored = _score_seconds(spec, lanes, device)
    return Costs(image_seconds=tuple(seconds), shares=tuple(shares), structures=len(drawn), score_seconds=scored)


def drawn_structures(space: SearchSpace) -> list[tuple[list[GanConfig], float]]:
    """The configurations of DRAWS draws and the base, grouped by structure, and the share of each structure.

    The most common structure comes first.
    """
    generator = np.random.default_rng(0)
    found: dict[StructureConfig, list[GanConfig]] = {space.base.structure: [space.base]}
    for _ in range(DRAWS):
        drawn = {scope.parameter(name): draw(scope, generator) for name, scope in sorted(space.ranges.items())}
        try:
            config = space.configuration(drawn, space.base.seed)
        except InputError:  # a space checks pairs of ranges only, so three of them may not fit together
            continue
        if not space.violations(config):
            found.setdefault(config.structure, []).append(config)
    count = sum(map(len, found.values()))
    by_share = sorted(found.values(), key=len, reverse=True)
    return [(configs, len(configs) / count) for configs in by_share]


def _image_seconds(spec: SweepSpec, configs: Sequence[GanConfig], lanes: int, device: str) -> float:
    """The training time of a lane per real image, in seconds."""
    structure, count = configs[0].structure, lanes if device == "cuda" else min(lanes, MOST_LANES)
    given = spec.lanes_per_call if isinstance(spec.lanes_per_call, int) else min(count, largest_call(structure))
    array = LaneArray(
        [configs[i % len(configs)] for i in range(count)],
        made_data(structure, data_form(structure)),
        device=device,
        precision=spec.precision,
        programs=ProgramMaker(spec.execution, Pace(count if device == "cuda" else given)),
        averages_images=spec.space.averages_images,
    )
    array.train_to(structure.batch_size)  # the first step traces and compiles
    images, taken, shown = 2 * structure.batch_size, 0.0, 0
    while taken < LEAST_SECONDS:
        before, start = array.state.images_seen, _clock(device)
        lives = array.train_to(before + images)
        spent, seen = _clock(device) - start, array.state.images_seen - before
        if lives:
            images, taken, shown = 2 * images, spent, seen
        else:  # a lane that dies on artificial data stops training after every block, so blocks are added up
            taken, shown = taken + spent, shown + seen
    return taken / shown / count


def _score_seconds(spec: SweepSpec, lanes: int, device: str) -> float | None:
    """The time to score a lane at a rung, in seconds; None if loading the data or the scorer would take long."""
    name = parse_dataset_name(spec.space.base.structure.dataset)
    if not name.is_values and name.kind not in QUICKLY_LOADED:
        return None
    dataset = load_data(spec.conditions())
    if awaits_training(dataset):
        return None
    scorer, count = build_scorer(dataset, spec.scoring), lanes if device == "cuda" else min(lanes, MOST_LANES)
    array = LaneArray([spec.space.base] * count, dataset, device=device, precision=spec.precision)
    scorer.score(array)
    start = _clock(device)
    scorer.score(array)
    return (_clock(device) - start) / count * (len(spec.space.averages_images) or 1)


def _clock(device: str) -> float:
    """A clock in seconds: this thread's CPU time, which other processes do not affect, or wall time for a GPU.

    No synchronisation is needed, because what is timed waits for the GPU: it reads whether lanes are dead, and scores.
    """
    return time.monotonic() if device == "cuda" else time.thread_time()


def in_words(seconds: float) -> str:
    """A time with two or three digits: `40 seconds`, `25 minutes`, `3.2 hours`, `4.1 days`."""
    for unit, size in (("days", 86_400.0), ("hours", 3_600.0), ("minutes", 60.0)):
        if seconds >= 2 * size:
            value = seconds / size
            return f"{value:.0f} {unit}" if value >= 10 or unit == "minutes" else f"{value:.1f} {unit}"
    return f"{seconds:.0f} seconds" if seconds >= 1.5 else "a second"
