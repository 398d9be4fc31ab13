"""A trial's numbers do not depend on its company: how many trials share a cohort, which of them were pruned."""

from pathlib import Path
from typing import Any

import pytest
from tiny_runs import TINY

from results.table import ResultsTable
from sweep.run import run_sweep
from sweep.spec.sweep_spec import SweepSpec

COMPANY = ["cohort", "lane", "seconds", "elapsed_seconds", "device", "reason", "outcome"]
SIXTEEN = ("sampler=random", "trials=16")
SPACES = {
    "dense": ("structure.generator_width=16", "ladder.rungs_images=[640, 1280]", "ladder.keep_fraction=1"),
    "convolutions": (
        "space=dcgan",
        "structure.dataset=digits",
        "structure.image_size_pixels=8",
        "structure.generator_width=4",
        "structure.discriminator_width=4",
        "structure.discriminator_norm=published",
        "structure.batch_size=16",
        "ladder.rungs_images=[32, 64]",
        "ladder.keep_fraction=1",
    ),
}


def rows(out: Path, *assignments: str) -> Any:
    """Everything known of each trial at each rung, but for its company. Any: as a type checker sees pandas' columns."""
    spec = SweepSpec.from_mapping({}, (*TINY, *SIXTEEN, *assignments))
    run_sweep(spec, out, local=True)
    frame = ResultsTable.load(out).frame.drop(columns=COMPANY)
    return frame.sort_values(["trial", "rung"]).reset_index(drop=True)


@pytest.mark.parametrize("space", SPACES)
def test_sixteen_trials_are_the_same_as_one_cohort_as_four_and_as_sixteen(space, tmp_path):
    together, fours, alone = (
        rows(tmp_path / str(lanes), *SPACES[space], f"lanes_per_cohort={lanes}") for lanes in (16, 4, 1)
    )
    assert len(together) == 32
    assert together["score"].nunique() > 16
    assert together.equals(fours)
    assert together.equals(alone)


def test_what_is_left_of_a_cohort_is_the_same_as_what_was_never_pruned(tmp_path):
    ladder = "ladder.rungs_images=[640, 1280]"
    whole, pruned = (rows(tmp_path / str(keep), ladder, f"ladder.keep_fraction={keep}") for keep in (1, 0.25))
    left = pruned[pruned["rung"] == 1]["trial"].tolist()
    assert 0 < len(left) < 16
    same = whole[whole["trial"].isin(left)].reset_index(drop=True)
    assert same.equals(pruned[pruned["trial"].isin(left)].reset_index(drop=True))
