"""Generations of CMA-ES and NSGA-II: computed from the trials, and nothing of a journal is unpickled."""

import json
import os
import pickle
import sys
from typing import Any

import optuna
import pytest
from curve_array import (
    CURVE_SPACE,
    climbing,
    curve_rows,
    curve_spec,
    opened,
    optunas_study,
    run_cohorts,
    run_folder,
)
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import NSGAIISampler
from optuna.trial import FrozenTrial, create_trial

from results.store import JsonLines
from search_spaces.space import SearchSpace
from sweep.proposals.generations import Optimisers, generation, generations_from, notes, shown_in_two_generations
from sweep.proposals.samplers import build_sampler
from sweep.proposals.shown import DrawingStudy
from sweep.spec.sampler import SamplerConfig

pytestmark = pytest.mark.usefixtures("unsynced")
LADDER = {"rungs_images": [100, 300], "keep_fraction": 0.5}
OPTIONS: list[dict[str, Any]] = [{}, {"use_separable_cma": True}, {"with_margin": True}, {"lr_adapt": True}]
UNIT = FloatDistribution(0.0, 1.0)
PLANE: dict[str, BaseDistribution] = {"x": UNIT, "y": UNIT}
LINE: dict[str, BaseDistribution] = {"x": UNIT}


def text_of(trial: FrozenTrial) -> dict[str, str]:
    return {name: value for name, value in trial.system_attrs.items() if isinstance(value, str)}


# ---- CMA-ES


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_optimiser_that_is_computed_is_the_one_that_optunas_sampler_keeps(options):
    space = SearchSpace.load(CURVE_SPACE)
    sampler = SamplerConfig("cmaes", {"popsize": 4, **options})
    theirs = optuna.create_study()
    optimisers, computed = Optimisers(sampler, space), 0
    for number in range(22):
        theirs.sampler = build_sampler(sampler, space, seed=number)
        trial = theirs.ask(PLANE)
        kept = text_of(theirs.trials[-1])
        ours = theirs.trials[:-1]
        for shown in ours:
            shown.system_attrs = notes(shown)
        ours = optimisers.shown_in(ours)
        if kept:
            assert [found for found in map(text_of, ours) if found] == [kept]
            computed += 1
        theirs.tell(trial, (trial.params["x"] - 0.3) ** 2 + trial.params["y"])
    assert computed >= 4


def test_an_optimiser_is_computed_again_once_more_is_known_of_an_earlier_generation():
    space, sampler = SearchSpace.load(CURVE_SPACE), SamplerConfig("cmaes", {"popsize": 4})

    def found(count: int, values: list[float], optimisers: Optimisers) -> dict[str, str]:
        trials = [
            create_trial(
                value=values[n],
                params={"x": n / 9, "y": 1 - n / 9},
                distributions=PLANE,
                system_attrs={"cma:generation": n // 4},
            )
            for n in range(count)
        ]
        for number, trial in enumerate(trials):
            trial.number = number
        return text_of(optimisers.shown_in(trials)[-1])

    rising, falling, optimisers = (
        list(map(float, range(10))),
        list(map(float, range(10, 0, -1))),
        Optimisers(sampler, space),
    )
    assert [bool(found(count, rising, optimisers)) for count in (1, 3, 4, 7)] == [False, False, True, True]
    one, other = found(9, rising, optimisers), found(9, falling, optimisers)
    assert one != other == found(9, falling, Optimisers(sampler, space))
    assert found(9, rising, optimisers) == one


def test_positions_in_a_space_that_has_become_smaller_are_forgotten():
    """Under conditions a later trial may lack a parameter, which no trial's generation then counts."""
    sampler = SamplerConfig("cmaes", {"popsize": 4, "with_margin": True})
    attributes = {"cmawm:generation": 0, "cmawm:x_for_tell": [0.5, 0.5]}
    trials = [
        create_trial(value=float(n), params={"x": n / 9, "y": 0.5}, distributions=PLANE, system_attrs=attributes)
        for n in range(6)
    ]
    trials.append(create_trial(value=9.0, params={"x": 0.5}, distributions=LINE))
    shown = Optimisers(sampler, SearchSpace.load(CURVE_SPACE)).shown_in(trials)
    assert [generation(trial) for trial in shown] == [-1] * 7
    drawn = DrawingStudy(shown, 1).draw_from(build_sampler(sampler, SearchSpace.load(CURVE_SPACE), seed=0), LINE)
    assert generation(drawn) == 0


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_sweep_by_each_kind_of_cma_es_resumes_without_a_pickle_in_its_journal(tmp_path, options):
    sampler = {"name": "cmaes", "n_startup_trials": 2, "popsize": 4, **options}
    spec = curve_spec(trials=16, lanes_per_cohort=4, ladder=LADDER, sampler=sampler)
    whole = curve_rows(spec, tmp_path / "whole")
    folder = run_folder(spec, tmp_path / "reopened")
    for _ in range(100):
        with opened(spec, folder) as study:
            cohort = study.open_cohort(4)
            if cohort is None:
                break
            climbing(cohort, study).advance()
    assert JsonLines(folder.rows).read() == whole
    trials = optunas_study(folder).get_trials()
    assert max(map(generation, trials)) >= 2
    assert not any(map(text_of, trials))


class Harmful:
    """What somebody may have put into a journal."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch harmed",)


def test_a_pickle_in_a_journal_is_never_read_and_changes_nothing(tmp_path, monkeypatch):
    """Runs that were begun when the journal kept the optimiser have one there."""
    monkeypatch.chdir(tmp_path)
    sampler = {"name": "cmaes", "n_startup_trials": 2, "popsize": 4}
    spec, whole = curve_spec(trials=20, lanes_per_cohort=4, ladder=LADDER, sampler=sampler), tmp_path / "whole"
    expected = curve_rows(spec, whole)
    folder = run_folder(spec, tmp_path / "run")
    run_cohorts(curve_spec(trials=16, lanes_per_cohort=4, ladder=LADDER, sampler=sampler), folder)
    records = JsonLines(folder.journal).read()
    for record in records:
        if "cma:generation" in record.get("system_attrs", {}):
            record["system_attrs"]["cma:optimizer:0"] = pickle.dumps(Harmful()).hex()
    folder.journal.write_text("".join(json.dumps(record) + "\n" for record in records))
    run_cohorts(spec, folder)
    assert JsonLines(folder.rows).read() == expected
    assert "cma:optimizer:0" in folder.journal.read_text()
    assert not (tmp_path / "harmed").exists()


# ---- NSGA-II


def nsga2_trial(number: int, value: float, noted: int | None) -> FrozenTrial:
    attributes = {} if noted is None else {"NSGAIISampler:generation": noted}
    params = {"x": number % 7 / 7, "y": number % 11 / 11}
    trial = create_trial(value=value, params=params, distributions=PLANE, system_attrs=attributes)
    trial.number = number
    return trial


@pytest.mark.parametrize(
    ("noted", "seen", "first"),
    [([None, None], [0, 0], 0), ([None, 0, 1], [0, 0, 1], 0), ([None, 0, 4, 3, 5, 5], [0, 0, 0, 0, 1, 1], 4)],
)
def test_nsga2_is_shown_the_latest_generation_and_all_before_it_as_one(noted, seen, first):
    trials = [nsga2_trial(number, 0.0, known) for number, known in enumerate(noted)]
    shown, found = shown_in_two_generations(trials)
    assert [generation(trial) for trial in shown] == seen
    assert found == first
    assert generations_from(first, {"NSGAIISampler:generation": 1}) == {"NSGAIISampler:generation": first + 1}


def test_nsga2_proposes_after_more_generations_than_python_allows_calls_in_one_another():
    generations = sys.getrecursionlimit()
    trials = [nsga2_trial(number, 1.0 + number % 5, number // 2) for number in range(2 * generations)]
    trials[3].values, trials[4].values = [0.0], [0.5]
    shown, first = shown_in_two_generations(trials)
    sampler = NSGAIISampler(seed=0, population_size=2, mutation_prob=0.0, crossover_prob=0.0)
    drawn = DrawingStudy(shown, 1).draw_from(sampler, PLANE)
    assert generations_from(first, notes(drawn)) == {"NSGAIISampler:generation": generations}
    assert drawn.params in (trials[3].params, trials[4].params)
