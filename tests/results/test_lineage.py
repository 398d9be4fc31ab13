"""The trials whose training led to a rung of a member of a population."""

from typing import Any

import pandas as pd
import pytest
from table_rows import replicates, row, stored

from gan_core.config.gan import GanConfig
from gan_core.config.schedule import Schedule
from results.lineage import lineage, schedule_of
from results.store import ResultsError
from results.table import ResultsTable

RATE, BETA = "lane.generator_lr", "lane.beta1"


def member(trial: int, rung: int, rate: float, parent: int | None = None, beta: float = 0.5) -> dict[str, Any]:
    """A member of a population at rungs of 100, 200, ... images."""
    return {**row(trial, rung, 1.0), RATE: rate, BETA: beta, "parent": parent}


# Trial 0 takes over 1 after rung 0; trial 2 takes over 0, which was 1's child, after rung 1; nobody moves after rung 2.
POPULATION = [
    member(0, 0, 1.0, parent=1),
    member(1, 0, 2.0),
    member(2, 0, 3.0),
    member(0, 1, 4.0),
    member(1, 1, 2.0, parent=2),
    member(2, 1, 3.0, parent=0),
    member(0, 2, 4.0),
    member(1, 2, 5.0),
    member(2, 2, 6.0, parent=1),
]


@pytest.fixture
def frame(tmp_path) -> pd.DataFrame:
    return ResultsTable.load(stored(tmp_path, [*POPULATION, *replicates(2, 1.0)])).frame


@pytest.mark.parametrize(
    ("trial", "rung", "owners"),
    [
        (0, 0, [0]),
        (0, 1, [1, 0]),  # it trained to rung 1 from 1's state, with its own new parameters
        (2, 1, [2, 2]),
        (2, 2, [1, 0, 2]),
        (1, 2, [2, 2, 1]),  # of 2 as it was before 2 took over 0
        (0, 2, [1, 0, 0]),
    ],
)
def test_a_lineage_goes_back_through_the_states_that_were_taken_over(frame, trial, rung, owners):
    led = lineage(frame, trial, rung)
    assert [step["trial"] for step in led] == owners
    assert [step["rung"] for step in led] == list(range(rung + 1))
    assert {step["replicate"] for step in led} == {0}


def test_a_schedule_says_from_how_many_images_on_parameters_were_in_force(frame):
    assert schedule_of(lineage(frame, 2, 2)) == [
        {"from_images": 0, RATE: 2.0},
        {"from_images": 100, RATE: 4.0},
        {"from_images": 200, RATE: 6.0},
    ]


def test_a_segment_lasts_while_nothing_changes(frame):
    assert schedule_of(lineage(frame, 0, 2)) == [{"from_images": 0, RATE: 2.0}, {"from_images": 100, RATE: 4.0}]


def test_each_segment_names_all_that_ever_changes():
    rows = [
        member(0, 0, 1.0, beta=0.1),
        member(0, 1, 2.0, beta=0.1),
        member(0, 2, 2.0, beta=0.2),
        member(0, 3, 1.0, beta=0.1),
    ]
    assert schedule_of(rows) == [
        {"from_images": 0, RATE: 1.0, BETA: 0.1},
        {"from_images": 100, RATE: 2.0, BETA: 0.1},
        {"from_images": 200, RATE: 2.0, BETA: 0.2},
        {"from_images": 300, RATE: 1.0, BETA: 0.1},
    ]


def test_null_is_a_value_that_a_schedule_tells(tmp_path):
    """In a population a beta of the discriminator changes from null to a number, stays, and changes back."""
    name = "lane.discriminator_beta1"
    betas = (None, 0.5, 0.5, None)
    table = ResultsTable.load(stored(tmp_path, [{**member(0, n, 1.0), name: beta} for n, beta in enumerate(betas)]))
    schedule = schedule_of(lineage(table.frame, 0, 3))
    assert schedule == [
        {"from_images": 0, name: None},
        {"from_images": 100, name: 0.5},
        {"from_images": 300, name: None},
    ]
    read = Schedule.read(GanConfig(), schedule)
    assert [lane.discriminator_beta1 for _, lane in read.changes] == [None, 0.5, None]


def test_a_trial_that_never_changes_has_no_schedule_though_it_took_over_a_state_or_its_seed_did():
    assert schedule_of([member(0, rung, 1.0, parent=3) for rung in range(3)]) == []
    assert schedule_of([{**member(0, 0, 1.0), "seed": 1}, {**member(0, 1, 1.0), "seed": 2}]) == []


@pytest.mark.parametrize("lost", [0, 1, 3, 4])
def test_a_lineage_with_a_hole_is_refused(tmp_path, lost):
    rows = [record for place, record in enumerate(POPULATION) if place != lost]
    trial, rung = (0, 1) if lost in (0, 1, 3) else (1, 2)
    table = ResultsTable.load(stored(tmp_path, rows))
    with pytest.raises(ResultsError, match=rf"lacks trial \d at rung \d, which led to trial {trial}: a line was"):
        lineage(table.frame, trial, rung)
