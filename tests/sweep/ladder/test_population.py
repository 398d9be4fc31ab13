"""Population-based training as plain logic: who copies whom, and that what is explored stays what the space allows."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from gan_core.config.gan import GanConfig
from gan_core.config.input_error import InputError
from gan_core.config.lane import LaneConfig
from gan_core.config.structure import StructureConfig
from search_spaces.space import SearchSpace
from sweep.ladder.population import Member, Move, PopulationConfig, draw, explore, perturbed, plan


@dataclass(frozen=True)
class Scope:
    """A range; complement: what is drawn is 1 minus the value."""

    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: float | None = None
    complement: bool = False

    def parameter(self, name: str) -> str:
        return f"{name}.complement" if self.complement else name


@dataclass(frozen=True)
class Space:
    """Ranges around the defaults. limit: of generator_lr, as a constraint."""

    ranges: Mapping[str, Scope]
    limit: float = math.inf
    base: GanConfig = field(default_factory=GanConfig)

    def parameters_of(self, values: Mapping[str, Any], *, nearest: bool = False) -> dict[str, Any]:
        return {s.parameter(n): 1 - values[n] if s.complement else values[n] for n, s in self.ranges.items()}

    def configuration(self, parameters: Mapping[str, Any], seed: int) -> GanConfig:
        drawn = {name: parameters[scope.parameter(name)] for name, scope in self.ranges.items()}
        values = {name: 1 - x if self.ranges[name].complement else x for name, x in drawn.items()}
        return GanConfig.unflatten({**self.base.flatten(), **values, "seed": seed})

    def violations(self, config: GanConfig) -> dict[str, float]:
        over = config.lane.generator_lr - self.limit
        return {"generator_lr <= limit": over} if over > 0 else {}


SPACE = Space(
    {
        "lane.generator_lr": Scope(low=1e-5, high=1e-2, log=True),
        "lane.beta1": Scope(choices=(0.0, 0.5, 0.9)),
        "lane.beta2": Scope(low=1e-3, high=0.1, log=True, complement=True),
        "lane.discriminator_steps": Scope(low=1, high=5),
        "lane.generator_steps": Scope(low=1, high=9, step=4),
        "lane.label_smoothing": Scope(low=0.0, high=0.3, step=0.1),
        "structure.generator_width": Scope(choices=(16, 32)),
    }
)
SETTINGS = PopulationConfig()
WIDTHS = (16, 32)


def config_of(trial: int, width: int = 16, **lane: Any) -> GanConfig:
    rate = 1e-4 * (1 + trial % 7)
    fields = {"generator_lr": rate, "beta1": 0.5, "beta2": 0.99, "discriminator_steps": 3, "generator_steps": 5, **lane}
    return GanConfig(structure=StructureConfig(generator_width=width), lane=LaneConfig(**fields), seed=100 + trial)


def members_of(scores: Sequence[float], error: float = 0.0, width: int = 16, first: int = 0) -> list[Member]:
    return [Member(first + i, config_of(first + i, width), score, error) for i, score in enumerate(scores)]


def planned(members: Sequence[Member], rung: int = 0, seed: int = 0, settings: PopulationConfig = SETTINGS):
    return plan(members, SPACE, settings, rung, seed)


def copying(moves: Sequence[Move]) -> dict[int, int]:
    return {move.trial: move.source for move in moves if move.source != move.trial}


@pytest.mark.parametrize("count", [2, 3, 4, 7, 8, 16, 37])
@pytest.mark.parametrize("fraction", [0.25, 0.5, 0.1])
def test_the_worst_copy_the_best_and_the_best_are_never_lost(count, fraction):
    settings = PopulationConfig(exploit_fraction=fraction)
    for seed in range(5):
        scores = np.random.default_rng(seed).permutation(count).astype(float)
        members, many = members_of(scores.tolist()), max(1, int(fraction * count))
        moves = planned(members, seed=seed, settings=settings)
        ranked = [int(trial) for trial in np.argsort(scores)]
        copies = copying(moves)
        assert set(copies) == set(ranked[-many:])
        assert set(copies.values()) <= set(ranked[:many])
        for member, move in zip(members, moves, strict=True):
            if member.trial not in copies:
                assert (move.trial, move.source, move.config) == (member.trial, member.trial, member.config)


def test_whom_the_worst_copy_is_chosen_evenly():
    members = members_of([float(i) for i in range(20)])
    sources = Counter(source for rung in range(200) for source in copying(planned(members, rung)).values())
    assert set(sources) == {0, 1, 2, 3, 4}
    assert stats.chisquare([sources[i] for i in range(5)]).pvalue > 1e-3


def test_members_that_break_limits_copy_one_that_keeps_them_unless_that_may_be_noise():
    """Member 3 has the best score, and is off by 0.5."""
    off = {"violation": 0.5, "violation_error": 0.1}
    members = [*members_of([1.0, 2.0, 3.0]), replace(members_of([0.5], first=3)[0], **off)]
    assert copying(planned(members)) == {3: 0}
    uncertain = [*members[:3], replace(members[3], violation_error=0.3)]
    moves = planned(uncertain)
    assert copying(moves) == {}
    assert moves[3].reason == "kept: 0.5 behind trial 0 in its limits, and less than 0.6 may be noise"


@pytest.mark.parametrize(("error", "copies"), [(0.0, 1), (1.5, 1), (1.5001, 0), (100.0, 0), (math.nan, 1)])
def test_nobody_copies_for_a_difference_below_two_standard_errors_of_its_own(error, copies):
    members = members_of([1.0, 2.0, 3.0, 4.0])
    uncertain = [*members[:3], replace(members[3], error=error)]
    moves = planned(uncertain)
    assert len(copying(moves)) == copies
    noisy_best = [replace(members[0], error=100.0), *members[1:]]
    assert copying(planned(noisy_best)) == {3: 0}
    if not copies:
        assert moves[3].reason == f"kept: 3 behind trial 0, and less than {2 * error:.3g} may be noise"


def test_equal_scores_are_no_reason_to_copy():
    assert copying(planned(members_of([2.0] * 8))) == {}


@pytest.mark.parametrize("dead", [1, 2, 5, 7])
def test_the_dead_always_copy_a_living_one(dead):
    scores = [math.nan] * dead + [float(i) for i in range(8 - dead)]
    moves = planned(members_of(scores, error=100.0))
    assert set(copying(moves)) == set(range(dead))
    assert set(copying(moves).values()) <= {dead, dead + 1}
    assert all(move.reason.startswith("dead, copied trial ") for move in moves[:dead])


def test_where_nobody_lives_and_alone_nobody_copies():
    for scores in ([math.nan] * 4, [math.inf], [1.0]):
        members = members_of(scores)
        moves = planned(members)
        assert [(move.source, move.config) for move in moves] == [(m.trial, m.config) for m in members]
    assert moves[0].reason == "kept: place 1 of 1"
    assert planned(members_of([math.nan]))[0].reason == "kept: there is no other of its structure that lives"


def test_copies_stay_inside_a_structure_and_take_structure_and_seeds_of_their_source():
    members = [*members_of([float(i) for i in range(8)]), *members_of([float(i) for i in range(8)], 0.0, 32, 8)]
    moves = planned(members)
    known = {member.trial: member.config for member in members}
    assert {trial // 8 for trial in copying(moves)} == {0, 1}
    for trial, source in copying(moves).items():
        assert trial // 8 == source // 8
        move = moves[trial]
        assert replace(move.config, lane=known[source].lane) == known[source]
        assert move.config.lane != known[source].lane


def test_a_plan_is_the_same_again_and_another_for_another_rung_or_seed():
    members = members_of([float(i) for i in range(16)])
    assert planned(members, 2, 3) == planned(members, 2, 3)
    plans = {repr(planned(members, rung, seed)) for rung in range(3) for seed in (0, 1, 2**63 - 1)}
    assert len(plans) == 9


def test_the_order_of_members_and_of_ranges_decides_nothing():
    scores = [3.0, 1.0, 2.0, 1.0, math.nan, 3.0, 3.0, 0.5, 9.0]
    members = members_of(scores)
    expected = {move.trial: move for move in planned(members)}
    assert len(copying(tuple(expected.values()))) >= 2
    mirrored = Space({name: SPACE.ranges[name] for name in sorted(SPACE.ranges, reverse=True)})
    for seed in range(10):
        mixed = [members[i] for i in np.random.default_rng(seed).permutation(len(members))]
        moves = plan(mixed, mirrored, SETTINGS, 0, 0)
        assert [move.trial for move in moves] == [member.trial for member in mixed]
        assert {move.trial: move for move in moves} == expected


def test_a_members_move_does_not_depend_on_those_of_another_structure():
    members = members_of([float(i) for i in range(8)])
    others = members_of([float(-i) for i in range(8)], 0.0, 32, 8)
    assert planned([*others, *members])[8:] == planned(members)


def test_a_members_move_does_not_depend_on_those_between_it_and_the_best():
    members = members_of([float(i) for i in range(9)])
    fewer = [*members[:4], *members[5:]]
    assert copying(planned(members)).keys() == {7, 8}
    assert planned(fewer)[-2:] == planned(members)[-2:]


@pytest.mark.parametrize("probability", [0.0, 0.25, 1.0])
def test_whatever_is_explored_lies_in_its_range_and_on_its_grid(probability):
    settings = PopulationConfig(resample_probability=probability)
    config, seen = config_of(0), {name: set() for name in SPACE.ranges}
    for step in range(400):
        config, changes = explore(config, SPACE, settings, np.random.default_rng(step))
        lane = config.lane
        for name in seen:
            seen[name].add(config.flatten()[name])
        assert 1e-5 <= lane.generator_lr <= 1e-2
        assert 1e-3 <= 1 - lane.beta2 <= 0.1 + 1e-15
        assert min(abs(lane.label_smoothing - k / 10) for k in range(4)) < 1e-12
        assert lane.label_smoothing <= 0.3
        assert changes
        assert not any("width" in said for said in changes)
    assert seen["lane.beta1"] == {0.0, 0.5, 0.9}
    assert seen["lane.discriminator_steps"] == {1, 2, 3, 4, 5}
    assert seen["lane.generator_steps"] == {1, 5, 9}
    assert all(
        isinstance(value, int) for name in ("discriminator", "generator") for value in seen[f"lane.{name}_steps"]
    )
    assert seen["structure.generator_width"] == {16}
    assert len(seen["lane.label_smoothing"]) == 4
    assert min(map(len, (seen["lane.generator_lr"], seen["lane.beta2"]))) > 10


@pytest.mark.parametrize(
    ("scope", "value", "factor", "expected"),
    [
        (Scope(low=1e-4, high=1e-2), 1e-3, 0.8, 8e-4),
        (Scope(low=1e-4, high=1e-2), 9e-3, 1.25, 1e-2),
        (Scope(low=1e-4, high=1e-2), 1.1e-4, 0.8, 1e-4),
        (Scope(low=0.0, high=1.0), 0.0, 1.25, 0.0),
        (Scope(low=1, high=20), 11, 1.25, 14),
        (Scope(low=1, high=20), 10, 0.8, 8),
        (Scope(low=1, high=5), 1, 1.25, 2),  # at least one step
        (Scope(low=1, high=5), 2, 0.8, 1),
        (Scope(low=1, high=5), 1, 0.8, 1),
        (Scope(low=1, high=5), 5, 1.25, 5),
        (Scope(low=1, high=512, log=True), 100, 1.25, 125),
        (Scope(low=1, high=10, step=4), 5, 1.25, 9),
        (Scope(low=1, high=10, step=4), 9, 1.25, 9),  # 10 is no point of the grid
        (Scope(low=0.0, high=0.3, step=0.1), 0.2, 1.25, 0.3),  # and not 0.30000000000000004
        (Scope(low=0.0, high=0.3, step=0.1), 0.0, 1.25, 0.1),
    ],
)
def test_a_perturbed_number_is_clipped_and_moves_by_a_step_at_least(scope, value, factor, expected):
    found = perturbed(scope, value, factor)
    assert found == expected
    assert type(found) is type(expected)


def test_without_draws_anew_a_rate_is_multiplied_by_either_factor_with_equal_chance():
    settings = PopulationConfig(perturb=(0.5, 3.0), resample_probability=0.0)
    space = Space({"lane.generator_lr": SPACE.ranges["lane.generator_lr"]})
    config = config_of(0)
    found = Counter(
        explore(config, space, settings, np.random.default_rng(seed))[0].lane.generator_lr for seed in range(1000)
    )
    assert set(found) == {0.5 * 1e-4, 3 * 1e-4}
    assert stats.binomtest(found[0.5 * 1e-4], 1000).pvalue > 1e-3


def test_a_choice_moves_to_its_neighbour():
    settings = PopulationConfig(resample_probability=0.0)
    space = Space({"lane.beta1": Scope(choices=(0.0, 0.9, 0.5))})

    def found(beta1: float) -> set[float]:
        config = config_of(0, beta1=beta1)
        return {explore(config, space, settings, np.random.default_rng(seed))[0].lane.beta1 for seed in range(40)}

    assert found(0.9) == {0.0, 0.5}
    assert found(0.0) == found(0.5) == {0.9}
    alone = Space({"lane.beta1": Scope(choices=(0.5,))}, base=config_of(0))
    assert explore(config_of(0), alone, settings, np.random.default_rng(0)) == (config_of(0), ())


@pytest.mark.parametrize(
    ("scope", "law"),
    [
        (Scope(low=1e-5, high=1e-2, log=True), stats.loguniform(1e-5, 1e-2)),
        (Scope(low=0.2, high=0.7), stats.uniform(0.2, 0.5)),
    ],
    ids=["log", "linear"],
)
def test_a_float_drawn_anew_has_the_law_of_its_range(scope, law):
    drawn = [draw(scope, np.random.default_rng(seed)) for seed in range(2000)]
    assert stats.kstest(drawn, law.cdf).pvalue > 1e-3


@pytest.mark.parametrize(
    ("scope", "values"),
    [
        (Scope(low=2, high=5), (2, 3, 4, 5)),
        (Scope(low=1, high=10, step=4), (1, 5, 9)),
        (Scope(choices=("a", "b")), ("a", "b")),
        (Scope(low=0.0, high=0.3, step=0.1), (0.0, 0.1, 0.2, 0.3)),
    ],
    ids=["whole", "in steps", "choices", "float in steps"],
)
def test_what_has_few_values_is_drawn_evenly_among_them(scope, values):
    drawn = Counter(draw(scope, np.random.default_rng(seed)) for seed in range(1200))
    assert set(drawn) == set(values)
    assert stats.chisquare([drawn[value] for value in values]).pvalue > 1e-3


def test_whole_numbers_on_a_log_scale_are_drawn_by_the_width_of_their_place_on_it():
    drawn = Counter(draw(Scope(low=1, high=8, log=True), np.random.default_rng(seed)) for seed in range(4000))
    edges = np.log(np.arange(0.5, 9.0))
    expected = 4000 * np.diff(edges) / (edges[-1] - edges[0])
    assert stats.chisquare([drawn[value] for value in range(1, 9)], expected).pvalue > 1e-3


def test_about_a_quarter_of_the_parameters_are_drawn_anew():
    scope = Scope(low=1e-5, high=1e-2, log=True)
    words = [
        explore(config_of(0), Space({"lane.generator_lr": scope}), SETTINGS, np.random.default_rng(s))[1][0]
        for s in range(1000)
    ]
    anew = sum("drawn anew" in said for said in words)
    assert stats.binomtest(anew, 1000, 0.25).pvalue > 1e-3


def test_the_reason_says_what_was_copied_and_changed():
    settings, members = PopulationConfig(resample_probability=0.0), members_of([0.0, 1.0])
    names = ("lane.generator_lr", "lane.beta2", "lane.discriminator_steps")
    space, old = Space({name: SPACE.ranges[name] for name in names}), config_of(0).lane
    reasons = set()
    for rung in range(40):
        move = plan(members, space, settings, rung, 0)[1]
        lane = move.config.lane
        rate, nearness = (1.25 if up else 0.8 for up in (lane.generator_lr > old.generator_lr, lane.beta2 < old.beta2))
        steps = 4 if lane.discriminator_steps > old.discriminator_steps else 2
        said = f"beta2.complement x {nearness}; discriminator_steps to {steps}; generator_lr x {rate}"
        assert move.reason == f"copied trial 0; {said}"
        reasons.add(said)
    assert len(reasons) == 8


def test_what_breaks_a_constraint_is_tried_again_and_given_up_where_nothing_fits():
    config = config_of(0)
    tight = replace(SPACE, limit=config.lane.generator_lr)
    for seed in range(50):
        found, _ = explore(config, tight, SETTINGS, np.random.default_rng(seed))
        assert found.lane.generator_lr <= config.lane.generator_lr
        assert found != config
    impossible = replace(SPACE, limit=0.0)
    assert explore(config, impossible, SETTINGS, np.random.default_rng(0)) == (
        config,
        ("no change was found that keeps the constraints",),
    )


@pytest.mark.parametrize(("beta1", "in_force"), [(0.5, 0.5), (0.95, 0.9), (0.0, 0.1)])
def test_what_a_change_makes_searched_begins_at_its_value_or_the_nearest_in_its_range(beta1, in_force):
    """Null follows beta1; a base value outside a range that did not exist is no end of a population either."""
    when = {"when": {"lane.lr_schedule": ["linear", "cosine"]}}
    ranges = {
        "lane.lr_schedule": {"choices": ["constant", "linear", "cosine"]},
        "lane.discriminator_beta1": {"low": 0.1, "high": 0.9, **when},
        "lane.instance_noise": {"low": 0.25, "high": 0.75, "step": 0.25, **when},
        "lane.discriminator_lr": {"ratio_to": "lane.generator_lr", "low": 2.0, "high": 4.0, **when},
    }
    space = SearchSpace.load({"base": {"lane.beta1": beta1}, "ranges": ranges})
    settings = PopulationConfig(resample_probability=0.0, perturb=(0.8, 1.25))
    begun = explore(space.base, space, settings, np.random.default_rng(0))[0].lane
    assert begun.lr_schedule == "linear"  # the neighbour of constant
    assert (begun.discriminator_beta1, begun.instance_noise, begun.discriminator_lr) == (in_force, 0.25, 4e-4)
    held = replace(space.base, lane=replace(space.base.lane, lr_schedule="linear"))  # as an earlier version left it
    again = [explore(held, space, settings, np.random.default_rng(seed))[0].lane for seed in range(32)]
    moved = [min(max(in_force * factor, 0.1), 0.9) for factor in settings.perturb]
    assert {(lane.lr_schedule, lane.discriminator_beta1) for lane in again} == {
        ("constant", None),
        *(("cosine", beta) for beta in moved),
    }


def test_settings_of_a_file_are_read_and_what_is_not_named_keeps_its_default():
    assert PopulationConfig.read({}) == PopulationConfig() == SETTINGS
    assert (SETTINGS.exploit_fraction, SETTINGS.perturb, SETTINGS.resample_probability) == (0.25, (0.8, 1.25), 0.25)
    read = PopulationConfig.read({"exploit_fraction": "0.2", "perturb": [0.5, 2], "resample_probability": 1})
    assert read == PopulationConfig(exploit_fraction=0.2, perturb=(0.5, 2.0), resample_probability=1.0)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"exploit_fraction": 0.6}, "population.exploit_fraction must be at least 0.01 and at most 0.5"),
        ({"exploit_fraction": 0}, "population.exploit_fraction must be at least 0.01"),
        ({"resample_probability": 1.5}, "population.resample_probability must be at least 0 and at most 1"),
        ({"perturb": [1.25, 0.8]}, r"a factor between 0 and 1 and one above 1, got \[1.25, 0.8\]"),
        ({"perturb": [0.8, math.inf]}, "a factor between 0 and 1 and one above 1"),
        ({"perturb": [0.8, math.nan]}, "a factor between 0 and 1 and one above 1"),
        ({"perturb": 0.8}, r"two factors, such as \[0.8, 1.25\], got 0.8"),
        ({"perturb": [0.8]}, "two factors"),
        ({"perturb": [0.8, True]}, "two factors"),
        ({"perturbs": [0.8, 1.2]}, "unknown key 'perturbs' in population; did you mean 'perturb'"),
        ([], "population must map exploit_fraction, resample_probability, perturb to values"),
    ],
)
def test_settings_that_make_no_sense_are_refused_in_one_line(values: Any, says: str):
    with pytest.raises(InputError, match=says) as refused:
        PopulationConfig.read(values)
    assert "\n" not in str(refused.value)
