"""Samplers: what each may be told, that resuming changes nothing, and that ours propose what Optuna's own would."""

import inspect
import itertools
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from curve_array import CURVE_SPACE, CurveArray, climbing, curve_rows, curve_spec, opened, run_cohorts, run_folder
from sabotage import Killed, Saboteur
from scipy.stats import qmc

from gan_core.config.input_error import InputError
from results.store import JsonLines, RunFolder
from search_spaces.space import SearchSpace
from sweep.proposals import shown
from sweep.proposals.samplers import build_sampler
from sweep.proposals.sequences import point_by_turn
from sweep.proposals.shown import DrawingStudy
from sweep.spec.sampler import OPTIONS, SamplerConfig
from sweep.spec.sweep_spec import SweepSpec

pytestmark = pytest.mark.usefixtures("unsynced")
CLASSES = {
    "tpe": optuna.samplers.TPESampler,
    "random": optuna.samplers.RandomSampler,
    "gp": optuna.samplers.GPSampler,
    "cmaes": optuna.samplers.CmaEsSampler,
    "qmc": optuna.samplers.QMCSampler,
    "nsga2": optuna.samplers.NSGAIISampler,
}
SAMPLERS: dict[str, Any] = {
    "tpe": {"name": "tpe", "n_startup_trials": 4},
    "tpe alone": {"name": "tpe", "n_startup_trials": 4, "multivariate": False},
    "random": "random",
    "gp": {"name": "gp", "n_startup_trials": 4},
    "cmaes": {"name": "cmaes", "n_startup_trials": 2, "popsize": 4},
    "qmc": "qmc",
    "halton": {"name": "qmc", "qmc_type": "halton", "scramble": False},
    "nsga2": {"name": "nsga2", "population_size": 3},
    "grid": {"name": "grid", "points": 3},
}
LADDER = {"rungs_images": [100, 300], "keep_fraction": 0.5}
RANGES = ("lane.generator_lr", "lane.discriminator_lr", "lane.beta1")


def spec_of(name: str, **values: Any) -> SweepSpec:
    given = {"trials": 6 if name == "gp" else 16, "lanes_per_cohort": 4, "ladder": LADDER, **values}
    return curve_spec(**given, sampler=SAMPLERS[name])


def cliff(configs, _=()) -> CurveArray:
    return CurveArray(configs, cliff_lr=3e-3, cliff_images=150)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, list[dict[str, Any]]]:
    """The rows of an undisturbed sweep by each sampler."""
    path = tmp_path_factory.mktemp("whole")
    return {name: curve_rows(spec_of(name), path / name, cliff) for name in SAMPLERS}


def proposals(rows: list[dict[str, Any]]) -> dict[int, tuple[float, ...]]:
    """Trial -> its place in the unit cube of the three numbers that are searched."""
    found = {}
    for row in rows:
        rates = [(math.log10(row[name]) + 5) / 3 for name in RANGES[:2]]
        found[row["trial"]] = (*rates, row["lane.beta1"] / 0.9)
    return found


# ---- options


@pytest.mark.parametrize("name", CLASSES)
def test_every_option_is_one_of_optunas_class_with_a_default_of_its_kind_and_none_is_deprecated(name):
    parameters = inspect.signature(CLASSES[name].__init__).parameters
    values = {bool: True, int: 7, float: 0.25, str: "halton"}
    for option, kind in OPTIONS[name].items():
        default = parameters[option].default
        assert default is None or type(default) is kind
        spec = SamplerConfig(name, {option: values[kind]})
        build_sampler(spec, SearchSpace.load(CURVE_SPACE), seed=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # a deprecated one is an error
            CLASSES[name](**{option: values[kind]})


def test_only_the_grid_is_ours():
    assert set(OPTIONS) == {*CLASSES, "grid"}


@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=str)
def test_a_sampler_stands_in_a_spec_as_it_was_written(sampler):
    assert SamplerConfig.parse(sampler).plain() == sampler


@pytest.mark.parametrize(
    ("sampler", "says"),
    [
        ({"name": "grid", "points": 1}, "sampler.points must be a whole number of at least 2, got 1"),
        ({"name": "cmaes", "popsize": 3}, "sampler.popsize must be a whole number of at least 4, got 3"),
        ({"name": "gp", "n_startup_trials": 0}, "sampler.n_startup_trials must be a whole number of at least 1, got 0"),
        ({"name": "cmaes", "popsize": True}, "sampler.popsize must be a whole number"),
        ({"name": "qmc", "qmc_type": "sobel"}, "sampler.qmc_type must be one of sobol, halton, got 'sobel'"),
        ({"name": "nsga2", "crossover_prob": 1.5}, "sampler.crossover_prob must be a number from 0 to 1, got 1.5"),
        ({"group": True, "multivariate": False}, "sampler.group models groups of parameters jointly"),
        (3, "sampler must be a name, or a mapping of name and options, got 3"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(sampler, says):
    with pytest.raises(InputError) as refused:
        SamplerConfig.parse(sampler)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_cmaes_has_one_objective():
    with pytest.raises(InputError, match="sampler cmaes minimises one objective, got 2; take tpe or nsga2"):
        spec_of("cmaes", objective=["fidelity", "class_kl"])


# ---- the same spec and seed give the same rows


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_same_spec_and_seed_give_the_same_rows_again(tmp_path, whole, name):
    assert curve_rows(spec_of(name), tmp_path, cliff) == whole[name]
    assert len(proposals(whole[name])) == spec_of(name).trials


def reopened(spec: SweepSpec, path: Path) -> list[dict[str, Any]]:
    """The rows of a sweep whose study is closed and opened again before every rung."""
    folder = run_folder(spec, path)
    for _ in range(100):
        with opened(spec, folder) as study:
            cohort = study.open_cohort(4)
            if cohort is None:
                break
            climbing(cohort, study, cliff).advance()
    return JsonLines(folder.rows).read()


@pytest.mark.parametrize("name", SAMPLERS)
def test_reopening_the_study_before_every_rung_changes_nothing(tmp_path, whole, name):
    assert reopened(spec_of(name), tmp_path) == whole[name]


@pytest.mark.parametrize("name", ["tpe", "cmaes", "nsga2"])
def test_nor_does_it_in_a_study_that_is_too_long_to_be_shown_whole(tmp_path, whole, name, monkeypatch):
    monkeypatch.setattr(shown, "LATEST", 6)
    monkeypatch.setattr(shown, "BEST", 3)
    rows = curve_rows(spec_of(name), tmp_path / "whole", cliff)
    assert reopened(spec_of(name), tmp_path / "reopened") == rows
    assert (rows == whole[name]) == (name == "nsga2"), "which takes the best of all for parents"


def kill_while_asking(spec: SweepSpec, folder: RunFolder, cohort: int, share: float) -> None:
    """Runs until so many cohorts have ended, then is killed at a share of the next one's lines in the journal."""
    with opened(spec, folder) as study:
        for _ in range(cohort):
            found = study.open_cohort(4)
            assert found is not None
            run = climbing(found, study, cliff)
            while not run.done:
                run.advance()
        before = folder.journal.read_bytes()
        study.open_cohort(4)
        lines = folder.journal.read_bytes()[len(before) :].splitlines(keepends=True)
    folder.journal.write_bytes(before + b"".join(lines[: int(len(lines) * share)]))
    recorded = folder.cohorts.read_bytes().splitlines(keepends=True)
    folder.cohorts.write_bytes(b"".join(recorded[:cohort]))


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_kill_between_the_asking_and_the_recording_changes_no_proposal(tmp_path, whole, name):
    spec = spec_of(name)
    for cohort, share in ((0, 0.5), (1, 1.0)) if name == "gp" else ((0, 0.5), (1, 1.0), (2, 0.6)):
        folder = run_folder(spec, tmp_path / str(cohort))
        kill_while_asking(spec, folder, cohort, share)
        run_cohorts(spec, folder, cliff)
        assert JsonLines(folder.rows).read() == whole[name]


@pytest.mark.parametrize("name", ["qmc", "grid", "tpe"])
def test_killed_at_any_boundary_a_constrained_sweep_ends_with_the_same_rows(tmp_path, name):
    space = {**CURVE_SPACE, "constraints": ["lane.discriminator_lr >= 0.5 * lane.generator_lr"]}
    spec = spec_of(name, space=space, trials=8)
    expected = curve_rows(spec, tmp_path / "whole", cliff)
    assert all(row["lane.discriminator_lr"] >= 0.5 * row["lane.generator_lr"] for row in expected)
    for kill_at in range(5, 200, 31):
        folder = run_folder(spec, tmp_path / str(kill_at))
        with pytest.MonkeyPatch.context() as patch:
            Saboteur(kill_at).install(patch)
            with pytest.raises(Killed):
                run_cohorts(spec, folder, cliff)
        run_cohorts(spec, folder, cliff)
        assert JsonLines(folder.rows).read() == expected


# ---- proposals of one cohort are apart


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name != "nsga2"])  # whose children may be a parent
def test_no_two_trials_of_a_sweep_are_the_same(whole, name):
    widths = {row["trial"]: row["structure.generator_width"] for row in whole[name]}
    found = [(*place, widths[trial]) for trial, place in proposals(whole[name]).items()]
    assert len(set(found)) == len(found)


def smallest_distance(points: list[tuple[float, ...]]) -> float:
    return min(math.dist(a, b) for a, b in itertools.combinations(points, 2))


def sixteen_after_sixteen(path: Path, sampler: Any, seed: int) -> list[tuple[float, ...]]:
    spec = curve_spec(trials=32, lanes_per_cohort=16, ladder=LADDER, sampler=sampler, seed=seed)
    found = proposals(curve_rows(spec, path / f"{sampler}-{seed}"))
    return [found[trial] for trial in range(16, 32)]


def test_sixteen_proposals_of_tpe_at_once_do_not_pile_up(tmp_path):
    """All lie in the good region and yet apart: each counts those that were just proposed as bad."""
    tpe = [smallest_distance(sixteen_after_sixteen(tmp_path, "tpe", seed)) for seed in range(2)]
    random = [smallest_distance(sixteen_after_sixteen(tmp_path, "random", seed)) for seed in range(2)]
    assert min(tpe) > 0
    assert np.mean(tpe) > 0.3 * np.mean(random)


# ---- sequences


def test_qmc_goes_through_its_sequence_from_the_first_point_and_leaves_none_out(whole):
    found = proposals(whole["halton"])
    names = sorted([*RANGES, "structure.generator_width"])
    expected = qmc.Halton(4, scramble=False).random(15)
    columns = [expected[:, names.index(name)] for name in RANGES]
    assert [found[trial] for trial in range(1, 16)] == [
        pytest.approx(point, abs=1e-12) for point in zip(*columns, strict=True)
    ]


@pytest.mark.parametrize("options", [{}, {"qmc_type": "halton"}, {"scramble": False}], ids=str)
def test_the_points_of_qmc_are_those_of_optunas_own_sampler(options):
    """Optuna's takes the ranges from the first trial of a study, in their order there; ours are sorted."""
    ranges = {
        "structure.generator_width": {"choices": [16, 32, 64]},
        "structure.batch_size": {"low": 16, "high": 256, "log": True},
        "structure.discriminator_width": {"low": 16, "high": 64, "step": 8},
        "lane.generator_lr": {"low": 1e-5, "high": 1e-2, "log": True},
        "lane.discriminator_lr": {"low": 1e-5, "high": 1e-2},
        "lane.beta1": {"low": 0.0, "high": 0.9, "step": 0.1},
    }
    space = SearchSpace.load({**CURVE_SPACE, "ranges": ranges})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        theirs = optuna.samplers.QMCSampler(seed=5, **{"scramble": True, **options})
    first = DrawingStudy([], 1).draw(optuna.samplers.RandomSampler(seed=0), space.suggest)[1]
    scales = dict(sorted(first.distributions.items()))
    study = DrawingStudy([optuna.create_trial(value=0.0, params=first.params, distributions=scales)], 1)
    for turn in range(20):
        mine = point_by_turn(SamplerConfig("qmc", options), space, 5, turn)
        assert mine == pytest.approx(study.draw(theirs, space.suggest)[0], rel=1e-12)


def test_the_grid_visits_every_point_once(tmp_path):
    spec = spec_of("grid", trials=55, lanes_per_cohort=5, enqueue=[])
    rows = curve_rows(spec, tmp_path)
    grid = spec.space.grid(3)
    found = [tuple(row[name] for name in grid) for row in {row["trial"]: row for row in rows}.values() if row["trial"]]
    assert len(found) == 54 == math.prod(map(len, grid.values()))
    assert set(found) == set(itertools.product(*grid.values()))
    assert found != sorted(found)


def test_trials_above_the_size_of_a_grid_are_refused():
    with pytest.raises(InputError, match="the grid has 54 points, and 1 are tried before it.*at most 55, got 56"):
        spec_of("grid", trials=56)
    assert spec_of("grid", trials=56, enqueue=[{"lane.beta1": 0.25}]).trials == 56


def test_a_grid_of_more_points_than_can_be_shuffled_is_refused():
    with pytest.raises(InputError, match="the grid has 2,000,000 points, and at most 1,000,000; lower points"):
        curve_spec(sampler={"name": "grid", "points": 100})


def test_of_a_grid_with_constraints_every_point_that_keeps_them_is_tried_and_no_more_are_asked_for(tmp_path):
    """A third of the 54 points has a beta1 of 0.9."""
    space = {**CURVE_SPACE, "constraints": ["lane.beta1 <= 0.5"]}
    with pytest.raises(InputError, match="54 points, 18 of which break a constraint, and 1 .* at most 37, got 38"):
        spec_of("grid", space=space, trials=38, enqueue=[])
    spec = spec_of("grid", space=space, trials=37, enqueue=[])
    rows = {row["trial"]: row for row in curve_rows(spec, tmp_path) if row["trial"]}
    grid = spec.space.grid(3)
    tried = [tuple(row[name] for name in grid) for row in rows.values()]
    assert set(tried) == {
        point for point in itertools.product(*grid.values()) if dict(zip(grid, point, strict=True))["lane.beta1"] <= 0.5
    }
    assert len(tried) == 36


def test_a_grid_of_more_points_than_constraints_can_be_looked_at_is_refused():
    space = {**CURVE_SPACE, "constraints": ["lane.beta1 <= 0.5"]}
    with pytest.raises(InputError, match="the grid has 54,000 points, and at most 20,000 where constraints"):
        curve_spec(space=space, sampler={"name": "grid", "points": 30})
