"""The search as a whole, over formulas: known points, constraints, conditions, objectives, pruning rules, memory."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from curve_array import (
    CURVE_SPACE,
    CurveArray,
    climbing,
    curve_rows,
    curve_spec,
    last_rows,
    opened,
    optunas_study,
    rows_of,
    run_cohorts,
    run_folder,
    swept,
)
from optuna.trial import TrialState
from sabotage import Killed, Saboteur
from tiny_runs import TINY, settings

from gan_core.config.input_error import InputError
from gan_core.config.reports import OutOfMemory
from results.rows import Outcome
from results.store import JsonLines, RunFolder
from results.table import ResultsTable
from results.trial_table import configuration_of
from search_spaces.space import SearchSpace
from sweep.ledger.standings import Standings
from sweep.proposals.proposals import OTHERS_NAME, Proposals
from sweep.proposals.warm_start import best_points
from sweep.spec.sweep_spec import SweepSpec

pytestmark = pytest.mark.usefixtures("unsynced")
LADDER = {"rungs_images": [100, 300, 900], "keep_fraction": 0.5}


def reopened(spec: SweepSpec, path: Path, build: Any = CurveArray) -> list[dict[str, Any]]:
    """The rows of a sweep whose study is closed and opened again before each rung."""
    folder = run_folder(spec, path)
    for _ in range(300):
        with opened(spec, folder) as study:
            cohort = study.open_cohort(spec.cohort_size(1))
            if cohort is None:
                return rows_of(folder)
            climbing(cohort, study, build).advance()
    raise AssertionError("the sweep does not end")


# ---- known points

POINTS = [
    {"lane.generator_lr": 1e-3, "lane.discriminator_lr": 2e-3},
    {"structure.generator_width": 32, "lane.beta1": 0.25},
    {},
]


def test_known_points_are_tried_in_order_after_the_base_and_what_they_do_not_name_is_the_bases(tmp_path):
    spec = curve_spec(trials=6, enqueue=POINTS)
    found = last_rows(curve_rows(spec, tmp_path))
    base = {name: value for name, value in spec.space.base.flatten().items() if name != "seed"}
    for trial, point in enumerate([{}, *POINTS]):
        expected = {**base, **point}
        assert {name: found[trial][name] for name in expected} == expected
    assert {name: found[4][name] for name in base} != base


def test_what_is_proposed_after_known_points_knows_of_them(tmp_path):
    points = [{"lane.generator_lr": 1e-3, "lane.discriminator_lr": x * 1e-4} for x in range(1, 13)]
    spec = curve_spec(trials=14, lanes_per_cohort=1, enqueue=points)
    params = [t.params["lane.generator_lr"] for t in optunas_study(swept(spec, tmp_path)).get_trials()]
    assert params[1:13] == [1e-3] * 12
    plain = last_rows(curve_rows(curve_spec(trials=14, lanes_per_cohort=1), tmp_path / "plain"))
    assert params[13] != plain[13]["lane.generator_lr"]


@pytest.mark.parametrize("trials", [1, 2, 3])
def test_fewer_trials_than_known_points_try_the_first_of_them(tmp_path, trials):
    found = last_rows(curve_rows(curve_spec(trials=trials, enqueue=POINTS), tmp_path))
    assert sorted(found) == list(range(trials))
    assert [found[t]["lane.beta1"] for t in range(trials)] == [0.5, 0.5, 0.25][:trials]


def test_known_points_survive_a_kill_between_the_asking_and_the_recording(tmp_path):
    spec = curve_spec(trials=6, enqueue=POINTS)
    expected = curve_rows(spec, tmp_path / "whole")
    for kill_at in range(1, 60, 9):
        folder = run_folder(spec, tmp_path / str(kill_at))
        killed(spec, folder, kill_at)
        run_cohorts(spec, folder)
        assert rows_of(folder) == expected


def killed(spec: SweepSpec, folder: RunFolder, kill_at: int, build: Any = CurveArray) -> None:
    with pytest.MonkeyPatch.context() as patch:
        Saboteur(kill_at).install(patch)
        with pytest.raises(Killed):
            run_cohorts(spec, folder, build)


# ---- warm start


def test_the_best_points_of_a_run_are_its_best_trials_as_what_differs_from_the_base(tmp_path):
    folder = swept(curve_spec(trials=10), tmp_path)
    space = curve_spec().space
    base = space.base.flatten()
    points = best_points(folder.path, space, points=3)
    trials = ResultsTable.load(folder.path, whole=True).trials
    best = [configuration_of(trials.iloc[place]) for place in range(3)]
    assert [{**base, **point} for point in points] == [{**row, "seed": base["seed"]} for row in best]
    assert all(base[name] != value for point in points for name, value in point.items())
    assert all(type(value) in (int, float, str) for point in points for value in point.values())


def test_trials_outside_the_space_or_its_constraints_are_passed_over_and_a_run_without_any_is_refused(tmp_path):
    folder = swept(curve_spec(trials=10), tmp_path)
    ranges = {**CURVE_SPACE["ranges"], "lane.generator_lr": {"low": 1e-4, "high": 1e-3, "log": True}}
    narrow = SearchSpace.load({**CURVE_SPACE, "ranges": ranges})
    points = best_points(folder.path, narrow, points=99)
    inside = [row for row in last_rows(rows_of(folder)).values() if 1e-4 <= row["lane.generator_lr"] <= 1e-3]
    assert 0 < len(points) == len(inside) < 10
    constrained = SearchSpace.load({**CURVE_SPACE, "constraints": ["lane.beta1 >= 0.5"]})
    assert all(p.get("lane.beta1", 0.5) >= 0.5 for p in best_points(folder.path, constrained, points=99))
    with pytest.raises(InputError, match="no trial of .* lies in space 'digits'") as refused:
        best_points(folder.path, SearchSpace.load("digits"))
    assert "\n" not in str(refused.value)


def test_a_warm_started_run_tries_the_best_of_another_after_its_base_and_goes_on_with_the_same_flags(
    gan_sweep, digits_run, tmp_path
):
    flags = (
        "run",
        "--local",
        "--out",
        tmp_path / "warm",
        "--warm-start",
        digits_run,
        *settings(*TINY),
        "--trials",
        "3",
    )
    assert gan_sweep(*flags).code == 0
    rows = last_rows(JsonLines(tmp_path / "warm" / "rows.jsonl").read())
    best = [row for row in ResultsTable.load(digits_run).trials.to_dict("records")][:2]
    rates = ("lane.generator_lr", "lane.discriminator_lr", "lane.beta1")
    assert [[rows[trial][name] for name in rates] for trial in (1, 2)] == [
        [row[name] for name in rates] for row in best
    ]
    before = (tmp_path / "warm" / "rows.jsonl").read_bytes()
    again = gan_sweep(*flags)
    assert (again.code, "is finished" in again.out) == (0, True)
    assert (tmp_path / "warm" / "rows.jsonl").read_bytes() == before


def test_a_warm_start_from_what_is_no_run_is_refused_in_one_line(gan_sweep, tmp_path):
    answer = gan_sweep("run", "--local", "--warm-start", tmp_path / "none", *settings(*TINY))
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert "is no run folder" in answer.err


# ---- constraints

CONSTRAINED = {**CURVE_SPACE, "constraints": ["lane.discriminator_lr >= lane.generator_lr"]}


@pytest.fixture(scope="module")
def constrained(tmp_path_factory) -> RunFolder:
    spec = curve_spec(space=CONSTRAINED, trials=16)
    return swept(spec, tmp_path_factory.mktemp("constrained") / "run")


def test_what_breaks_a_constraint_is_never_trained_and_optuna_hears_by_how_much(constrained):
    rows = last_rows(rows_of(constrained))
    assert len(rows) == 16
    assert all(row["lane.discriminator_lr"] >= row["lane.generator_lr"] for row in rows.values())
    table = optunas_study(constrained).get_trials()
    refused = optunas_study(constrained, OTHERS_NAME).get_trials()
    assert [t.number for t in table] == [t.user_attrs["trial"] for t in table] == list(range(16))
    assert len(refused) >= 5
    assert all(t.user_attrs["trial"] in range(16) for t in refused)
    for trial in refused:
        rates = trial.params["lane.generator_lr"], trial.params["lane.discriminator_lr"]
        assert trial.state == TrialState.PRUNED
        broken = 10 + (rates[0] - rates[1]) / rates[0]
        assert trial.constraints == {CONSTRAINED["constraints"][0]: pytest.approx(broken)}
        assert rates[0] > rates[1]


def test_what_no_configuration_keeps_ends_the_sweep_in_one_line(tmp_path):
    spec = curve_spec(trials=4, lanes_per_cohort=1)
    never = replace(spec.space, constraints=SearchSpace.load(CONSTRAINED).constraints)
    narrow = replace(spec, space=never)
    with opened(narrow, run_folder(narrow, tmp_path)) as study, pytest.MonkeyPatch.context() as patch:
        study.open_cohort(1)
        patch.setattr(SearchSpace, "violations", lambda self, config: {"lane.beta1 < 0": 1.0})
        with pytest.raises(InputError, match="100 proposals in a row broke a constraint") as refused:
            study.open_cohort(1)
    assert "\n" not in str(refused.value)


def test_a_kill_between_the_asking_and_the_recording_changes_no_row_of_a_constrained_sweep(tmp_path, constrained):
    """TPE has started, so that what it was told of the refused decides what it proposes."""
    spec = curve_spec(space=CONSTRAINED, trials=16)
    expected, census = rows_of(constrained), Saboteur()
    with pytest.MonkeyPatch.context() as patch:
        census.install(patch)
        swept(spec, tmp_path / "census")
    asking = [n for n, where in enumerate(census.passed, 1) if where == "before append_logs"]
    for kill_at in asking[::19]:
        folder = run_folder(spec, tmp_path / str(kill_at))
        killed(spec, folder, kill_at)
        run_cohorts(spec, folder)
        assert rows_of(folder) == expected
    assert len(asking[::19]) > 3


# ---- conditions

CONDITIONAL = {
    **CURVE_SPACE,
    "base": {**CURVE_SPACE["base"], "lane.penalty_weight": 7.0},
    "ranges": {
        **CURVE_SPACE["ranges"],
        "structure.gradient_penalty": {"choices": ["none", "r1"]},
        "lane.penalty_weight": {"low": 0.1, "high": 100.0, "log": True, "when": {"structure.gradient_penalty": "r1"}},
        "lane.discriminator_lr": {"low": 0.5, "high": 5.0, "log": True, "ratio_to": "lane.generator_lr"},
    },
}


def test_in_a_conditional_space_what_does_not_exist_keeps_its_base_and_ratios_have_columns(tmp_path):
    spec = curve_spec(space=CONDITIONAL, trials=20, lanes_per_cohort=4)
    folder = swept(spec, tmp_path / "whole")
    rows = last_rows(rows_of(folder))
    without = [row for row in rows.values() if row["structure.gradient_penalty"] == "none"]
    drawn = [row for row in rows.values() if row["structure.gradient_penalty"] == "r1"]
    assert len(without) > 3
    assert {row["lane.penalty_weight"] for row in without} == {7.0}
    assert len({row["lane.penalty_weight"] for row in drawn}) == len(drawn) > 3
    (column,) = {name for row in rows.values() for name in row if name.startswith("proposed.")}
    for row in rows.values():
        assert row["lane.discriminator_lr"] == pytest.approx(row[column] * row["lane.generator_lr"], rel=1e-12)
    for trial in optunas_study(folder).get_trials():
        assert ("lane.penalty_weight" in trial.params) == (rows[trial.number]["structure.gradient_penalty"] == "r1")
    assert reopened(spec, tmp_path / "reopened") == rows_of(folder)


# ---- several objectives


class Opposed(CurveArray):
    """class_kl rises with the discriminator's rate, whatever the score does."""

    def _report(self, config):
        found = super()._report(config)
        if found.death is not None:
            return found
        balance = abs(math.log10(config.lane.discriminator_lr) + 5)
        return replace(found, fidelity=replace(found.fidelity, values={**found.fidelity.values, "class_kl": balance}))


TWO = curve_spec(trials=24, lanes_per_cohort=6, ladder=LADDER, objective=["fidelity", "class_kl"])


@pytest.fixture(scope="module")
def opposed(tmp_path_factory) -> RunFolder:
    return swept(TWO, tmp_path_factory.mktemp("opposed") / "run", Opposed)


def dominated(mine: Sequence[float], all_of_them: Sequence[Sequence[float]]) -> bool:
    return any(
        all(a <= b for a, b in zip(other, mine, strict=True)) and any(a < b for a, b in zip(other, mine, strict=True))
        for other in all_of_them
    )


def test_the_front_is_what_nothing_dominates_and_the_best_is_its_lowest_score(opposed):
    table = ResultsTable.load(opposed.path)
    trials = table.trials.to_dict("records")
    values = [(row["score"], row["fidelity.class_kl"]) for row in trials]
    front = [not dominated(value, values) for value in values]
    assert [row["pareto_rank"] == 1 for row in trials] == front
    assert 2 <= sum(front) < len(front)
    assert [row["pareto_rank"] for row in trials] == sorted(row["pareto_rank"] for row in trials)
    best: Any = table.best()
    assert best["score"] == min(value[0] for value in values)
    with opened(TWO, opposed) as study:
        assert study.snapshot().best_trial == best["trial"]


def test_optuna_minimises_both_and_hears_both_of_the_completed(opposed):
    rows = rows_of(opposed)
    inner = optunas_study(opposed)
    assert [direction.name for direction in inner.directions] == ["MINIMIZE", "MINIMIZE"]
    assert inner.metric_names == ["fidelity", "class_kl"]
    told = inner.get_trials()
    completed = [t for t, row in last_rows(rows).items() if row["outcome"] == "completed" and t]
    for trial in completed:
        best = min((row for row in rows if row["trial"] == trial), key=lambda row: row["score"])
        assert told[trial].values == [best["score"], best["fidelity.class_kl"]]
    assert len(completed) >= 3


def test_who_is_pruned_is_decided_by_fronts(opposed):
    """No pruned trial dominates one of its cohort that went on from the same rung."""
    rows = rows_of(opposed)
    values = {(row["trial"], row["rung"]): (row["best_score"], row["fidelity.class_kl"]) for row in rows}
    pruned = [row for row in rows if row["outcome"] == "pruned"]
    assert pruned
    for row in pruned:
        there = [r for r in rows if (r["cohort"], r["rung"]) == (row["cohort"], row["rung"]) and r["trial"]]
        going = [values[r["trial"], r["rung"]] for r in there if r["outcome"] == "running"]
        mine = values[row["trial"], row["rung"]]
        assert not any(dominated(other, [mine]) for other in going)
    by_score = [
        sorted((r["best_score"], r["outcome"]) for r in rows if r["cohort"] == c and r["rung"] == 0 and r["trial"])
        for c in range(4)
    ]
    kept = [[outcome for _, outcome in found] for found in by_score]
    assert any(outcomes != sorted(outcomes, reverse=True) for outcomes in kept), "pruned by the first objective alone"


def test_several_objectives_resume_to_the_same_rows(opposed, tmp_path):
    assert reopened(TWO, tmp_path, Opposed) == rows_of(opposed)


def test_what_a_trial_costs_may_be_an_objective(tmp_path):
    spec = curve_spec(trials=6, objective=["fidelity", "seconds"])
    folder = swept(spec, tmp_path)
    told = [trial.values for trial in optunas_study(folder).get_trials()]
    ends = last_rows(rows_of(folder))
    assert {told[t][1] for t, row in ends.items() if row["outcome"] == "completed" and t} == {0.5}  # two rungs


# ---- rules of pruning


def test_in_hyperband_ranks_are_within_brackets_and_each_bracket_begins_to_prune_a_rung_later(tmp_path):
    spec = curve_spec(trials=24, lanes_per_cohort=6, ladder={**LADDER, "rule": "hyperband"})
    folder = swept(spec, tmp_path / "whole")
    rows = rows_of(folder)
    standings = Standings.load(spec, folder)
    brackets = {trial: standings.bracket(trial) for trial in range(24)}
    assert set(brackets.values()) == {0, 1, 2}
    for row in rows:
        if row["outcome"] == "pruned":
            assert row["rung"] >= brackets[row["trial"]]
        if row["rung"] < brackets[row["trial"]]:
            assert "no trial is pruned at this rung" in row["reason"]
    for number, row in enumerate(rows):
        place = (brackets[row["trial"]], row["rung"])
        together = {r["trial"] for r in rows if (r["cohort"], r["rung"]) == (row["cohort"], row["rung"])}
        there = [
            r["best_score"]
            for i, r in enumerate(rows)
            if (brackets[r["trial"]], r["rung"]) == place and (i <= number or r["trial"] in together)
        ]
        rank = 1 + sum(score < row["best_score"] for score in there)
        assert f"rank {rank} of {len(there)}" in row["reason"]
    assert any(row["outcome"] == "pruned" for row in rows)
    assert reopened(spec, tmp_path / "reopened") == rows


def test_without_a_rule_every_trial_climbs_to_the_last_rung(tmp_path):
    rows = curve_rows(curve_spec(trials=8, ladder={**LADDER, "rule": "none"}), tmp_path)
    assert [row["outcome"] for row in rows].count("completed") == 8
    assert len(rows) == 24


def test_before_the_grace_nobody_is_pruned_and_after_it_they_are(tmp_path):
    rows = curve_rows(curve_spec(trials=12, ladder={**LADDER, "grace_images": 300}), tmp_path)
    assert {row["outcome"] for row in rows if row["rung"] == 0} == {"running"}
    assert {row["outcome"] for row in rows if row["rung"] == 1} == {"running", "pruned"}


def test_patience_ends_those_that_do_not_improve_and_the_baseline_stays(tmp_path):
    """Every third seed's score rises as it trains; the others' falls."""
    ladder = {"rungs_images": [100, 200, 300, 400, 500], "keep_fraction": 1.0, "patience_rungs": 2}
    rows = curve_rows(curve_spec(trials=24, ladder=ladder), tmp_path)
    ends = last_rows(rows)
    rising = {trial for trial, row in ends.items() if row["seed"] % 3 == 0 and trial}
    assert len(rising) > 4
    for trial, row in ends.items():
        if trial in rising:
            assert (row["outcome"], row["rung"]) == ("pruned", 2)
            assert row["reason"] == "no improvement beyond twice its standard error in 2 rungs"
        else:
            assert (row["outcome"], row["rung"]) == ("completed", 4)


def test_a_baseline_that_was_overruled_is_told_pruned_at_that_rung_and_never_completed(tmp_path):
    spec = curve_spec(trials=8, lanes_per_cohort=4, ladder=LADDER, seed=2)
    folder = swept(spec, tmp_path)
    mine = [row for row in rows_of(folder) if row["trial"] == 0]
    overruled = [row["rung"] for row in mine if row["reason"].startswith("baseline, never pruned")]
    assert overruled
    assert mine[-1]["outcome"] == "completed"
    found = optunas_study(folder).get_trials()
    zero = found[0]
    assert (zero.state, zero.value) == (TrialState.PRUNED, mine[overruled[0]]["best_score"])
    assert zero.last_step == spec.ladder.rungs_images[overruled[0]]
    assert len(found) == 8


# ---- regions in which lanes die

CLIFF_LR = 1e-3


def dying_shares(path: Path, seed: int, *, told_failed: bool = False) -> tuple[float, float]:
    """The share of dying proposals in the first and the last half of 100 trials; the best rate lies at the cliff."""
    ladder = {"rungs_images": [100, 300], "keep_fraction": 0.5}
    spec = curve_spec(trials=100, lanes_per_cohort=4, ladder=ladder, seed=seed)
    with pytest.MonkeyPatch.context() as patch:
        if told_failed:
            tell = Proposals.tell

            def failing(self: Proposals, identity: int, outcome: Outcome, *rest: Any) -> None:
                tell(self, identity, Outcome.FAILED if outcome is Outcome.DIVERGED else outcome, *rest)

            patch.setattr(Proposals, "tell", failing)
        folder = swept(spec, path, lambda configs, _=(): CurveArray(configs, cliff_lr=CLIFF_LR))
    ends = last_rows(rows_of(folder))
    dead = {trial for trial, row in ends.items() if row["outcome"] == "diverged"}
    assert dead == {trial for trial, row in ends.items() if row["lane.generator_lr"] > CLIFF_LR}
    assert ResultsTable.load(folder.path).best()["trial"] not in dead
    return sum(t in dead for t in range(50)) / 50, sum(t in dead for t in range(50, 100)) / 50


@pytest.mark.slow
def test_the_share_of_proposals_that_die_falls_and_does_not_where_the_dead_are_forgotten(tmp_path):
    """Measured over six seeds: 0.28 of the first half, 0.22 of the second; in one 0.94 where the dead are told FAIL.
    Random proposals die in half of the cases.
    """
    told = [dying_shares(tmp_path / f"told-{seed}", seed) for seed in range(6)]
    forgotten = [dying_shares(tmp_path / f"failed-{seed}", seed, told_failed=True) for seed in range(1)]
    first, last, without = (sum(x) / len(x) for x in (*map(list, zip(*told, strict=True)), [b for _, b in forgotten]))
    assert first > 0.15
    assert last < 0.8 * first
    assert last < 0.3 * without


# ---- memory


class Crowded(CurveArray):
    """Only `places` lanes fit into memory, one of the wider structures `wide_places`."""

    places, wide_places = 2, 2
    built: list[int] = []

    def train_to(self, images, on_step=None):
        room = self.wide_places if self.configs[0].structure.generator_width == 32 else self.places
        if len(self.configs) > room:
            raise OutOfMemory(f"{len(self.configs)} lanes do not\nfit into memory")
        self.built.append(self.built_lanes)
        return super().train_to(images, on_step)


def crowded(places: int, wide_places: int) -> type[Crowded]:
    class Limited(Crowded):
        built = []

    Limited.places, Limited.wide_places = places, wide_places
    return Limited


EIGHT = curve_spec(trials=16, lanes_per_cohort=8, ladder=LADDER)
LANE_FREE = ("cohort", "lane")


def test_where_memory_runs_out_arrays_are_split_and_no_number_changes(tmp_path):
    undisturbed = curve_rows(EIGHT, tmp_path / "whole")
    for places in (1, 2, 3):
        array = crowded(places, places)
        assert curve_rows(EIGHT, tmp_path / str(places), array) == undisturbed
        assert max(array.built) <= places


def test_what_fits_is_remembered_from_cohort_to_cohort(tmp_path):
    refused: list[int] = []

    class Noting(crowded(2, 2)):
        def __init__(self, configs: Sequence[Any], averages: Sequence[float] = (), **named: Any) -> None:
            refused.append(len(configs))
            super().__init__(configs, **named)

    limits: dict[Any, int] = {}
    folder = run_folder(EIGHT, tmp_path)
    sizes = []
    with opened(EIGHT, folder) as study:
        while (cohort := study.open_cohort(8)) is not None:
            refused.clear()
            run = climbing(cohort, study, Noting, limits)
            while not run.done:
                run.advance()
            sizes.append(max(refused))
    assert sizes[0] > 2
    assert sizes[1] <= 2
    assert set(limits.values()) <= {1, 2}


def test_a_lane_that_does_not_fit_alone_ends_so_and_the_others_do_not_notice(tmp_path):
    array = crowded(99, 0)  # the wider structure never fits
    folder = swept(EIGHT, tmp_path / "crowded", array)
    rows, undisturbed = rows_of(folder), curve_rows(EIGHT, tmp_path / "whole")
    first = {row["trial"]: row for row in rows if row["rung"] == 0 and row["cohort"] == 0}
    dead = {trial for trial, row in first.items() if row["outcome"] == "out_of_memory"}
    assert dead == {trial for trial, row in first.items() if row["structure.generator_width"] == 32}
    assert 0 < len(dead) < 8
    for trial in dead:
        row = first[trial]
        assert (row["score"], row["images_seen"], row["reason"]) == (None, 0, "1 lanes do not fit into memory")
    measured = ("score", "d_loss", "images_seen", "seed", "lane.generator_lr")
    theirs = {row["trial"]: row for row in undisturbed if row["rung"] == 0}
    for trial in first.keys() - dead:
        assert [first[trial][name] for name in measured] == [theirs[trial][name] for name in measured]
    told = optunas_study(folder).get_trials()
    assert {(told[t].state, *told[t].constraints.items()) for t in dead} == {
        (TrialState.PRUNED, ("out_of_memory", 11.0))
    }
    best: Any = ResultsTable.load(folder.path).best()
    assert best["structure.generator_width"] == 16


def test_memory_that_runs_out_at_a_later_rung_goes_on_from_the_rung_before(tmp_path):
    """Scores take more memory once images are many: losses, which are of the way, prove that nothing began anew."""

    class Later(crowded(99, 99)):
        def train_to(self, images, on_step=None):
            if images > 100 and len(self.configs) > 1:
                raise OutOfMemory("too many at the second rung")
            return super().train_to(images, on_step)

    assert curve_rows(EIGHT, tmp_path / "later", Later) == curve_rows(EIGHT, tmp_path / "whole")


def test_a_sweep_in_which_memory_runs_out_is_resumed_to_the_same_rows(tmp_path):
    array = crowded(2, 0)
    expected = curve_rows(EIGHT, tmp_path / "whole", array)
    assert reopened(EIGHT, tmp_path / "reopened", array) == expected
