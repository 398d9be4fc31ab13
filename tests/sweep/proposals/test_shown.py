"""What samplers draw from: TPE is Optuna's own, and of a long study it is shown the best and the latest trials."""

import ast
from pathlib import Path
from typing import Any

import optuna
import pytest
from curve_array import CURVE_SPACE, curve_spec
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

import sweep.proposals
from benchmarks.samplers import RUNGS, climb, valley
from results.store import RunFolder
from sweep.ladder.ladder import Reached
from sweep.proposals import shown
from sweep.proposals.proposals import Proposals
from sweep.proposals.seeds import derived_seed
from sweep.proposals.shown import best_and_latest

pytestmark = pytest.mark.usefixtures("unsynced")
PACKAGE = Path(sweep.proposals.__file__).parent
SOURCES = sorted(PACKAGE.glob("*.py"))


@pytest.mark.parametrize(
    "options", [{}, {"multivariate": True}, {"n_startup_trials": 1}, {"constant_liar": False}], ids=str
)
def test_each_proposal_of_tpe_is_that_of_optunas_own_sampler(tmp_path, options):
    """Asked in a copy of the study, as it was when ours was asked; three trials run at a time."""
    ladder = {"rungs_images": RUNGS, "keep_fraction": 0.5}
    spec = curve_spec(trials=30, ladder=ladder, sampler={"name": "tpe", **options})
    proposals, reached = Proposals(spec, RunFolder(tmp_path), ()), [Reached() for _ in RUNGS]
    for first in range(0, 30, 3):
        asked = []
        for number in range(first, first + 3):
            theirs = optuna.create_study(
                sampler=optuna.samplers.TPESampler(
                    seed=derived_seed(spec.seed, "sampler", number), **{"multivariate": False, **options}
                )
            )
            theirs.add_trials(proposals.trials)
            asked.append(proposals.ask(number))
            if number:
                assert spec.space.suggest(theirs.ask()) == proposals.trials[-1].params
        for proposal in asked:
            climb(proposal, proposals, reached, valley)
    assert {trial.state for trial in proposals.trials} == {TrialState.COMPLETE, TrialState.PRUNED}


def ended(number: int, **values: Any) -> FrozenTrial:
    trial = create_trial(params={"x": 0.5}, distributions={"x": FloatDistribution(0.0, 1.0)}, **values)
    trial.number = number
    return trial


def test_of_a_long_study_the_best_in_the_order_of_tpe_the_latest_and_the_running_are_shown(monkeypatch):
    monkeypatch.setattr(shown, "LATEST", 2)
    pruned: dict[str, Any] = {"state": TrialState.PRUNED}
    trials = [
        ended(0, value=3.0),
        ended(1, state=TrialState.RUNNING),
        ended(2, **pruned, intermediate_values={100: 0.1}),
        ended(3, **pruned, intermediate_values={100: 0.5, 300: 0.4}),
        ended(4, **pruned, intermediate_values={100: 0.2, 300: 0.3}),
        ended(5, **pruned, constraints={"diverged": 1.0}),
        ended(6, **pruned, constraints={"a <= b": 0.25}, intermediate_values={900: 0.0}),
        ended(7, value=2.0),
        ended(8, state=TrialState.FAIL),
        ended(9, **pruned),
        ended(10, value=9.0, constraints={"a <= b": -1.0}),
        ended(11, value=8.0),
        ended(12, state=TrialState.RUNNING),
    ]
    order = [7, 0, 11, 10, 4, 3, 2, 9, 6, 5]
    for best in range(len(order) + 1):
        monkeypatch.setattr(shown, "BEST", best)
        found = [trial.number for trial in best_and_latest(trials)]
        assert found == sorted({1, 10, 11, 12, *order[:best]})
    monkeypatch.setattr(shown, "LATEST", 10)
    assert [t.number for t in best_and_latest(trials)] == [n for n in range(13) if n != 8]


def test_where_constraints_refuse_what_is_drawn_the_next_draw_knows_of_it(tmp_path):
    """A draft that was refused stays in sight as a running trial until the study is told of it."""
    space = {**CURVE_SPACE, "constraints": ["lane.beta1 <= 0.3"]}
    sampler = {"name": "tpe", "n_startup_trials": 1}
    spec = curve_spec(space={**space, "base": {**CURVE_SPACE["base"], "lane.beta1": 0.1}}, trials=9, sampler=sampler)
    proposals, reached = Proposals(spec, RunFolder(tmp_path), ()), [Reached() for _ in RUNGS]
    climb(proposals.ask(0), proposals, reached, valley)
    refused = [identity for number in range(1, 9) for identity, _ in proposals.ask(number).refused]
    states = {trial.number: trial.state for trial in proposals.trials}
    assert len(refused) >= 2
    assert {states[identity] for identity in refused} == {TrialState.RUNNING}
    drawn = [tuple(trial.params.values()) for trial in proposals.trials]
    assert len(set(drawn)) == len(drawn) == 9 + len(refused)


JOINTLY = {"name": "tpe", "multivariate": True, "n_startup_trials": 2}
SAMPLERS: list[Any] = [
    *({"name": "tpe", "n_startup_trials": 2}, JOINTLY, {**JOINTLY, "group": False}),
    *({"name": "cmaes", "popsize": 4}, {"name": "cmaes", "popsize": 4, "with_margin": True}),
    *({"name": "nsga2", "population_size": 3}, "qmc", "random"),
]
CONDITIONAL = {
    **CURVE_SPACE,
    "ranges": {
        **CURVE_SPACE["ranges"],
        "structure.gradient_penalty": {"choices": ["r1", "none"]},
        "lane.penalty_weight": {"low": 0.1, "high": 100.0, "log": True, "when": {"structure.gradient_penalty": "r1"}},
    },
}


@pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
def test_a_study_that_is_opened_again_while_trials_run_proposes_what_it_would_have(tmp_path, sampler):
    """The first trials share a condition, so that a joint draw has values that do not exist in some later trials."""
    ladder = {"rungs_images": RUNGS, "keep_fraction": 0.5}
    points = [{"structure.gradient_penalty": "r1", "lane.penalty_weight": 10.0**n} for n in (0, 1)]
    base = {**CURVE_SPACE["base"], "structure.gradient_penalty": "r1"}
    space = {**CONDITIONAL, "base": base}
    spec = curve_spec(space=space, trials=16, ladder=ladder, sampler=sampler, enqueue=points)
    found = []
    for folder, opened_again in ((RunFolder(tmp_path / "whole"), False), (RunFolder(tmp_path / "again"), True)):
        folder.path.mkdir()
        proposals, reached = Proposals(spec, folder, ()), [Reached() for _ in RUNGS]
        for number in range(6):
            climb(proposals.ask(number), proposals, reached, valley)
        asked = []
        for number in range(6, 16):
            asked.append(proposals.ask(number))
            if opened_again:
                proposals = Proposals(spec, folder, range(number + 1))
        found.append([proposal.config for proposal in asked])
    assert found[0] == found[1]
    assert len(set(map(str, found[0]))) > 5


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_nothing_private_of_optunas_is_used(path):
    tree = ast.parse(path.read_text())
    own = {"self", "cls"}
    private = [
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not (isinstance(node.value, ast.Name) and node.value.id in own)
    ]
    modules = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert private == []
    assert [name for module in [*modules, *names] for name in module.split(".") if name.startswith("_")] == []
