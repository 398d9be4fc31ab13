"""What samplers learn from trials that were pruned or died, and that they search."""

import math
from collections.abc import Mapping
from pathlib import Path

import pytest
from curve_array import CURVE_SPACE, CurveArray, curve_rows, curve_spec, optunas_study, run_cohorts, run_folder
from optuna.trial import FrozenTrial, TrialState, create_trial
from tiny_runs import TINY, settings

from benchmarks.samplers import DEADLY_LR, Search, search, sign_test, valley
from gan_core.config.input_error import InputError
from results.rows import Outcome
from results.store import JsonLines
from sweep.proposals.fairness import LEARN_FROM_COMPLETED, LEARN_NOTHING, as_seen_by, in_order
from sweep.proposals.proposals import OTHERS_NAME
from sweep.spec.sampler import OPTIONS, POPULATION, SamplerConfig, unsearched

pytestmark = pytest.mark.usefixtures("unsynced")
LEARNING = {"tpe", *LEARN_FROM_COMPLETED}
LADDER = {"rungs_images": [100, 300, 900], "keep_fraction": 0.5}


# ---- the order of trials that came to different rungs


def order_of(courses: Mapping[int, Mapping[int, float]]) -> list[int]:
    """The order of trials that keep all limits. courses: trial -> images -> its best score by then."""
    return in_order({n: {images: (0.0, score) for images, score in course.items()} for n, course in courses.items()})


def test_where_the_best_go_on_whoever_came_further_is_better():
    courses = {0: {100: 5.0}, 1: {100: 4.0, 300: 3.9}, 2: {100: 2.0, 300: 1.0, 900: 0.9}, 3: {100: 3.0, 300: 2.0}}
    assert order_of(courses) == [2, 3, 1, 0]


def test_who_went_on_alone_is_passed_by_what_was_better_at_its_rung_and_ends_before_what_was_worse():
    """Trial 0 was the first, so it went on with the worst score but one, and completed."""
    courses = {0: {100: 9.0, 300: 8.0, 900: 7.0}, 1: {100: 2.0, 300: 1.5, 900: 1.0}, 2: {100: 4.0}, 3: {100: 9.5}}
    assert order_of(courses) == [1, 2, 0, 3]


def test_a_score_at_a_lower_rung_is_never_held_against_one_at_a_higher_rung():
    """At 100 images all score ten times as high as at 900: what stopped there stands where it stood there."""
    slow = {number: {100: 10.0 * number, 900: float(number)} for number in (1, 2, 4)}
    assert order_of({**slow, 3: {100: 30.0}, 0: {100: 5.0}}) == [0, 1, 2, 3, 4]


def test_the_order_does_not_change_when_scores_are_on_another_scale():
    courses = {n: {100: 3 + math.sin(n), **({300: 2 + math.sin(2 * n)} if n % 3 else {})} for n in range(12)}
    stretched = {n: {images: math.exp(3 * score) for images, score in course.items()} for n, course in courses.items()}
    assert order_of(courses) == order_of(stretched)
    assert sorted(order_of(courses)) == list(range(12))


# ---- what is shown


def ended(
    number: int,
    course: Mapping[int, float],
    completed: bool,
    off: Mapping[int, float] | None = None,
    /,
    **constraints: float,
) -> FrozenTrial:
    """off: images -> by how much it broke limits there."""
    state = TrialState.COMPLETE if completed else TrialState.PRUNED
    value = list(course.values())[-1] if course else None
    trial = create_trial(
        state=state,
        value=value,
        intermediate_values=dict(course),
        constraints=constraints,
        user_attrs={f"violation:{images}": amount for images, amount in (off or {}).items()},
    )
    trial.number = number
    return trial


def test_pruned_trials_are_shown_as_completed_in_their_order_and_dead_and_refused_ones_last_and_infeasible():
    trials = [
        ended(0, {100: 3.0, 300: 1.0}, True),
        ended(1, {100: 5.0}, False),
        ended(2, {100: 2.0, 300: 2.0}, True),
        ended(3, {}, False, diverged=1.0),
        ended(4, {}, False, **{"a <= b": 0.25}),
    ]
    found = as_seen_by("gp", trials, 1)
    assert [t.state for t in found] == [TrialState.COMPLETE] * 5
    values = [t.values[0] for t in found]
    assert values[0] < values[2] < values[1] < values[3] == values[4]
    assert [t.constraints for t in found] == [{"infeasible": x} for x in (-1.0, -1.0, -1.0, 1.0, 0.25)]
    assert [t.state for t in trials][1] is TrialState.PRUNED, "what was told is not changed"


def test_trials_that_break_limits_stand_behind_those_that_keep_them_at_the_same_rung_by_how_far_they_are_off():
    """Trials 1 and 2 broke limits at both rungs, and 3 at the first alone; 5 was stopped there by a better one."""
    trials = [
        ended(0, {100: 5.0, 300: 4.0}, True),
        ended(1, {100: 1.0, 300: 0.5}, True, {100: 0.9, 300: 0.2}, limits=0.2),
        ended(2, {100: 1.0, 300: 0.1}, True, {100: 0.9, 300: 0.3}, limits=0.3),
        ended(3, {100: 2.0, 300: 3.0}, True, {100: 0.4}),
        ended(4, {}, False, diverged=11.0),
        ended(5, {100: 0.1}, False, {100: 0.5}, limits=0.5),
    ]
    for name in ("gp", "nsga2", "cmaes"):
        found = as_seen_by(name, trials, 1)
        values = [t.values[0] for t in found]
        assert sorted(range(6), key=values.__getitem__) == [3, 0, 5, 1, 2, 4]
        assert [t.constraints["limits"] for t in found] == [-1.0, 0.2, 0.3, -1.0, -1.0, 0.5]
        assert [t.constraints["infeasible"] for t in found] == [-1.0, -1.0, -1.0, -1.0, 11.0, -1.0]


def test_without_dead_ones_there_are_no_constraints_and_running_and_failed_ones_are_shown_as_they_are():
    running, failed = create_trial(state=TrialState.RUNNING), create_trial(state=TrialState.FAIL)
    first = ended(0, {100: 3.0}, False)
    found = as_seen_by("cmaes", [first, running, failed], 1)
    assert [t.state for t in found] == [TrialState.COMPLETE, TrialState.RUNNING, TrialState.FAIL]
    assert found[0].constraints == {}
    assert as_seen_by("tpe", [first, running], 1) == [first, running]


def test_with_several_objectives_who_came_further_dominates_and_within_a_rung_fronts_are_kept():
    def pair(number: int, values: list[float], images: int | None) -> FrozenTrial:
        state = TrialState.PRUNED if images else TrialState.COMPLETE
        trial = create_trial(state=state, values=values, user_attrs={"images": images} if images else {})
        trial.number = number
        return trial

    trials = [pair(0, [1.0, 9.0], None), pair(1, [9.0, 1.0], None), pair(2, [0.1, 0.1], 100), pair(3, [0.1, 0.2], 100)]
    a, b, c, d = (t.values for t in as_seen_by("nsga2", trials, 2))
    assert a[0] < b[0] < c[0] == d[0]
    assert b[1] < a[1] < c[1] < d[1]


def test_a_better_score_of_a_trial_that_went_on_takes_the_place_of_its_first():
    first, second = ended(0, {100: 3.0}, True), ended(1, {100: 2.0, 300: 1.5}, True)
    again = create_trial(value=1.0, intermediate_values={300: 1.0}, user_attrs={"extends": 0})
    assert [t.number for t in as_seen_by("nsga2", [first, second, again], 1)] == [0, 1]
    for trials, best in (([first, second, again], first), ([first, second], second)):
        assert min(as_seen_by("nsga2", trials, 1), key=lambda t: t.values).number == best.number


# ---- samplers search

SEEDS = {"random": 12, "tpe": 8, "cmaes": 12, "nsga2": 10}
TRIALS = 90


class Searches(dict[str, list[Search]]):
    """Made for a sampler when a test first asks for them."""

    def __missing__(self, name: str) -> list[Search]:
        self[name] = [search(name, valley, seed, TRIALS) for seed in range(SEEDS[name])]
        return self[name]


@pytest.fixture(scope="module")
def found() -> Searches:
    return Searches()


def wins(mine: list[Search], theirs: list[Search]) -> int:
    return sum(a.best < b.best for a, b in zip(mine, theirs, strict=False))


def test_every_sampler_that_is_offered_is_known_to_learn_or_not_to():
    assert set(OPTIONS) == LEARNING | {*LEARN_NOTHING}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tpe", "cmaes", "nsga2"])
def test_a_sampler_is_better_than_random_at_the_same_budget_with_pruning_at_three_rungs(name, found):
    won = wins(found[name], found["random"])
    assert sign_test(won, SEEDS[name] - won) < 0.06
    for mine, theirs in zip(found[name], found["random"], strict=False):
        assert mine.outcomes.count(Outcome.PRUNED) >= 8
        late = list(zip(mine.configs, theirs.configs, strict=False))[POPULATION + 1 :]
        assert sum(a.lane == b.lane for a, b in late) < 0.1 * len(late), "drawn at random once it has started"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tpe", "cmaes", "nsga2"])
def test_a_sampler_learns_where_trials_die(name, found):
    """The best lies half a decade below the rate at which they do: a sixth of random proposals."""

    def dead(searches: list[Search]) -> float:
        late = [config for one in searches for config in one.configs[len(one.configs) // 2 :]]
        return sum(config.lane.generator_lr > DEADLY_LR for config in late) / len(late)

    assert dead(found[name]) < 0.6 * dead(found["random"])


def test_gp_has_started_after_ten_trials_whatever_became_of_them():
    """Two of them completed at most: it once drew all 24 of a sweep at random."""
    mine, theirs = (search(name, valley, 1, 18) for name in ("gp", "random"))
    same = [a.lane == b.lane for a, b in zip(mine.configs, theirs.configs, strict=False)]
    assert same == [True] * 10 + [False] * (len(same) - 10)
    assert mine.outcomes[:10].count(Outcome.COMPLETED) < 5


@pytest.mark.slow
def test_gp_is_better_than_random_at_the_same_budget_with_pruning_at_three_rungs():
    mine, theirs = ([search(name, valley, seed, 30) for seed in range(8)] for name in ("gp", "random"))
    won = wins(mine, theirs)
    assert sign_test(won, 8 - won) < 0.06


@pytest.mark.parametrize("name", sorted(LEARN_NOTHING))
def test_samplers_that_do_not_learn_propose_the_same_whatever_trials_come_to(tmp_path, name):
    sampler = {"name": "grid", "points": 3} if name == "grid" else name
    found = []
    for rule, cliff in (("none", math.inf), ("asha", 1e-3)):
        spec = curve_spec(trials=12, ladder={**LADDER, "rule": rule}, sampler=sampler)
        rows = curve_rows(spec, tmp_path / rule, lambda configs, _=(), c=cliff: CurveArray(configs, cliff_lr=c))
        found.append({row["trial"]: row["seed"] and row["lane.generator_lr"] for row in rows})
    assert found[0] == found[1]


def test_known_points_are_of_the_first_generation_of_nsga2(tmp_path):
    points = [{"lane.beta1": x / 10} for x in range(1, 4)]
    spec = curve_spec(trials=5, lanes_per_cohort=1, enqueue=points, sampler={"name": "nsga2", "population_size": 4})
    folder = run_folder(spec, tmp_path)
    run_cohorts(spec, folder)
    keys = [line["system_attrs"] for line in JsonLines(folder.journal).read() if "system_attrs" in line]
    assert [key.get("NSGAIISampler:generation") for key in keys] == [None] * 4 + [1]


# ---- the journal has the table's numbers


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tpe", "cmaes", "nsga2"])
def test_refused_proposals_and_later_scores_shift_no_number_of_optunas(tmp_path, name):
    space = {**CURVE_SPACE, "constraints": ["lane.discriminator_lr >= lane.generator_lr"]}
    short, longer = {"rungs_images": [100, 300], "keep_fraction": 0.5}, {**LADDER}
    folder = run_folder(curve_spec(trials=8, space=space, sampler=name, ladder=short), tmp_path)
    for trials, ladder in ((8, short), (8, longer), (14, longer)):
        spec = curve_spec(trials=trials, space=space, sampler=name, ladder=ladder)
        folder.spec.write_text(spec.to_yaml())
        run_cohorts(spec, folder)
    table, others = optunas_study(folder).get_trials(), optunas_study(folder, OTHERS_NAME).get_trials()
    rows = {row["trial"]: row for row in JsonLines(folder.rows).read()}
    assert [t.number for t in table] == [t.user_attrs["trial"] for t in table] == list(range(14))
    assert [t.params["lane.generator_lr"] for t in table] == [rows[t]["lane.generator_lr"] for t in range(14)]
    assert len(others) > 2


# ---- what is said


def test_a_sampler_that_begins_after_the_last_trial_is_said_so():
    assert unsearched(SamplerConfig("nsga2", {"population_size": 50}), 24, 1) == (
        "sampler nsga2 draws its first 50 trials at random, and there are 24; "
        "lower sampler.population_size, or give more trials"
    )
    assert "lower sampler.n_startup_trials" in unsearched(SamplerConfig("gp"), 10, 1)
    assert "draws its first 30 trials" in unsearched(SamplerConfig("nsga2"), 24, 2)
    for name, trials in (("gp", 11), ("nsga2", 24), ("cmaes", 2), ("random", 1), ("qmc", 1), ("grid", 1)):
        assert unsearched(SamplerConfig(name), trials, 1) == ""


def test_a_run_by_a_chosen_sampler_that_does_not_begin_says_so_unless_it_is_finished(gan_sweep, tmp_path):
    says = "sampler gp draws its first 10 trials at random, and there are 3; lower sampler.n_startup_trials"
    flags = ("run", "--local", "--out", tmp_path / "run", *settings(*TINY), "--trials", "3", "--set", "sampler=gp")
    assert says in gan_sweep(*flags).out
    assert says not in gan_sweep(*flags).out, "a finished run begins no more"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"consider_pruned_trials": False}, "is always true"),
        ({"lr_adapt": True, "with_margin": True}, "take one of lr_adapt, use_separable_cma and with_margin"),
        ({"use_separable_cma": True, "with_margin": True}, "take one of lr_adapt, use_separable_cma and with_margin"),
    ],
)
def test_options_of_cmaes_that_do_not_go_together_are_refused_in_one_line(options, says):
    with pytest.raises(InputError, match=says) as refused:
        SamplerConfig("cmaes", options)
    assert "\n" not in str(refused.value)


def test_trials_whose_batches_ran_further_past_a_rung_do_not_stand_before_the_others(tmp_path: Path):
    space = {**CURVE_SPACE, "ranges": {**CURVE_SPACE["ranges"], "structure.batch_size": {"choices": [64, 96]}}}
    spec = curve_spec(trials=10, space=space, ladder=LADDER)
    folder = run_folder(spec, tmp_path)
    run_cohorts(spec, folder)
    rows = JsonLines(folder.rows).read()
    assert {row["images_seen"] for row in rows if row["rung"] == 0} == {128, 192}
    told = optunas_study(folder).get_trials()
    assert {images for trial in told for images in trial.intermediate_values} <= {100, 300, 900}
