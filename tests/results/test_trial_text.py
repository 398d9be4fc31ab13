"""One trial is shown with what a person asks of it: why it ended, what was different about it, how it got there."""

import math
import re
from typing import Any

import pytest
import yaml
from table_rows import replicates, row, stored

from gan_core.config import health
from gan_core.config.health import SIGN_WORDS
from results.rows import Outcome
from results.store import ResultsError, RunFolder
from results.table import ResultsTable
from results.trial_run import TrialRun
from results.trial_text import trial_text

BASE = {"lane.beta1": 0.5, "lane.generator_lr": 2e-4, "lane.discriminator_beta1": None, "structure.loss": "hinge"}


def shown(trial: int, rung: int, score: float, outcome: Outcome = Outcome.RUNNING, **values: Any) -> dict[str, Any]:
    return {**row(trial, rung, score, outcome), **BASE, "seed": 42, **values}


def table(path, *rows) -> ResultsTable:
    found = ResultsTable.load(stored(path, list(rows)))
    assert found.folder is not None
    found.folder.spec.write_text(yaml.safe_dump({"space": {"base": BASE}}))
    return found


FASTER: dict[str, Any] = {"lane.generator_lr": 1e-3}
ERROR: dict[str, Any] = {"fidelity.fidelity_error": 0.25}
SLOWER: dict[str, Any] = {"lane.beta1": 0.25}
ROWS = [
    shown(0, 0, 4.0),
    shown(0, 1, 3.0, Outcome.COMPLETED),
    shown(1, 0, 2.0, signs="oscillation", **FASTER, **ERROR),
    shown(1, 1, 2.5, Outcome.PRUNED, signs="oscillation low_coverage", **FASTER),
    shown(2, 0, math.nan, Outcome.DIVERGED, reason="generator loss is inf", **{"structure.loss": "red \x1b[31m"}),
]


def test_the_first_lines_say_how_it_ended_its_place_and_what_the_defaults_reach(tmp_path):
    found = table(tmp_path, *ROWS)
    lines = trial_text(found, 1).splitlines()
    run = tmp_path / "run"
    assert lines[0] == f"trial 1 of {run}: pruned at 200 images; pruned at 1"
    assert lines[1] == "seed 42, 1 s of device time"
    assert lines[2] == (
        "fidelity 2.00 ± 0.25 at its best rung, 0 (100 images): place 1 of 2; the defaults (trial 0) reach 3"
    )
    assert lines[-1] == f"export: gan-sweep export {run} --trial 1"


def test_what_differs_from_the_default_comes_first_with_the_default(tmp_path):
    text = trial_text(table(tmp_path, *ROWS), 1)
    differing, same = text.split("\n\n")[1:3]
    assert [line.split() for line in differing.splitlines()] == [
        ["differs", "from", "the", "default", "value", "default"],
        ["generator_lr", "0.001", "0.0002"],
    ]
    assert same == "as the default:\nbeta1 0.5, discriminator_beta1 as beta1, loss hinge"
    assert "nothing differs from the default" in trial_text(table(tmp_path / "b", *ROWS), 0)


def test_each_rung_is_a_line_and_each_sign_is_explained(tmp_path):
    parts = trial_text(table(tmp_path, *ROWS), 1).split("\n\n")
    head, first, second = (line.split() for line in parts[3].splitlines())
    assert head == ["rung", "images_seen", "outcome", "fidelity", "d_loss", "g_loss", "d_gradient"]
    assert first == ["0", "100", "running", "2.00", "±", "0.25", "1", "-", "10"]
    assert second[:4] == ["1", "200", "pruned", "2.50"]
    assert parts[4].splitlines() == [
        "signs of trouble:",
        f"  oscillation (rungs 0, 1): {SIGN_WORDS['oscillation']}",
        f"  low_coverage (rung 1): {SIGN_WORDS['low_coverage']}",
    ]
    assert "no signs of trouble" in trial_text(table(tmp_path / "b", *ROWS), 0)


def test_a_trial_that_died_says_why_and_no_text_moves_the_cursor(tmp_path):
    text = trial_text(table(tmp_path, *ROWS), 2)
    assert "diverged at 100 images; generator loss is inf\nseed 42, 0.5 s of device time\nit has no score" in text
    assert "red \\x1b[31m" in text
    assert "\x1b" not in text
    with pytest.raises(ResultsError, match="no trial 9"):
        trial_text(table(tmp_path / "b", *ROWS), 9)


def test_a_dead_trial_with_a_score_has_no_place(tmp_path):
    rows = [*ROWS, shown(3, 0, 1.0, Outcome.COLLAPSED)]
    assert "(100 images): no place, because it died; the defaults" in trial_text(table(tmp_path, *rows), 3)


def test_a_broken_limit_is_said_in_words_and_the_trial_has_the_place_behind_all_others(tmp_path):
    broken = {"fidelity.violation": 2.0, "fidelity.class_balance_violation": 2.0}
    broken |= {"fidelity.classes_covered": 8.0, "fidelity.classes": 10.0}
    text = trial_text(table(tmp_path, *ROWS, shown(3, 0, 0.5, Outcome.PRUNED, **broken)), 3)
    assert "place 3 of 3" in text
    assert "it breaks a limit: class balance: 8 of 10 classes" in text


def test_replicates_stand_there_with_their_median(tmp_path):
    rows = [*ROWS, *({**each, **BASE} for each in replicates(1, 2.0, math.inf, 4.0))]
    parts = trial_text(table(tmp_path, *rows), 1).split("\n\n")
    (part,) = [part for part in parts if part.startswith("from other seeds:")]
    lines = part.splitlines()
    assert [line.split() for line in lines[1:5]] == [
        ["replicate", "outcome", "images_seen", "fidelity", "reason"],
        ["1", "completed", "200", "2", "completed", "at", "1"],
        ["2", "failed", "200", "inf", "failed", "at", "1"],
        ["3", "completed", "200", "4", "completed", "at", "1"],
    ]
    assert lines[5] == "median 4.00 (3.00 to inf, 1 failed) over 3 seeds"


def test_a_hyperparameter_that_changed_on_the_way_has_a_column(tmp_path):
    rows = [shown(0, 0, 4.0, parent=1, **SLOWER), shown(0, 1, 3.0, Outcome.COMPLETED)]
    lines = trial_text(table(tmp_path, *rows), 0).split("\n\n")[3].splitlines()
    cells = [dict(zip(lines[0].split(), line.split(), strict=True)) for line in lines[1:]]
    assert [each["beta1"] for each in cells] == ["0.25", "0.50"]
    assert [each["parent"] for each in cells] == ["1", "-"]


def test_a_run_without_a_base_is_compared_with_trial_0_and_a_frame_alone_with_it_too(tmp_path):
    found: Any = table(tmp_path, *ROWS)
    RunFolder(tmp_path / "run").spec.write_text("name: x\n")
    assert "generator_lr" in trial_text(ResultsTable.load(tmp_path / "run"), 1).split("\n\n")[1]
    alone = trial_text(ResultsTable(found.frame), 1)
    assert alone.startswith("trial 1: pruned at 200 images")
    assert "export" not in alone
    without = trial_text(ResultsTable(found.frame[found.frame["trial"] == 1]), 1)
    assert "\nconfiguration:\ngenerator_lr 0.001" in without or "\nconfiguration:\n" in without


def test_the_pictures_and_the_generator_are_named_that_were_kept(tmp_path):
    found = table(tmp_path, *ROWS)
    folder = RunFolder(tmp_path / "run")
    for path in (folder.trial_samples(TrialRun(1)), folder.best_generator(TrialRun(1))):
        path.parent.mkdir(parents=True)
        path.touch()
    assert trial_text(found, 1).splitlines()[-3:] == [
        f"samples: {folder.trial_samples(TrialRun(1))}",
        f"more samples: gan-sweep sample {folder.path} --trial 1",
        f"export: gan-sweep export {folder.path} --trial 1",
    ]


@pytest.mark.parametrize("width", [40, 80])
def test_lines_fit_a_narrow_terminal(tmp_path, width):
    many = {f"lane.parameter_{number}": 0.125 for number in range(40)}
    watched = {f"health.quantity_{number}": 0.125 for number in range(20)}
    text = trial_text(table(tmp_path, *({**each, **many, **watched} for each in ROWS)), 1, width)
    parts = text.split("\n\n")
    assert max(len(line) for part in parts[1:4] for line in part.splitlines()) <= width
    assert re.search(r"\n\d+ more columns in a wider terminal$", parts[3])
    assert re.search(r"parameter_39 0.125", text)


def test_every_sign_has_its_words():
    assert set(SIGN_WORDS) == set(health._SIGNS)
