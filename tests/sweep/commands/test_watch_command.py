"""A sweep is watched from elsewhere: what it is doing while it runs, and how it ended afterwards."""

import json
import math
import platform
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import TINY

from results.rows import ResultRow
from results.store import RunFolder, exclusive
from sweep.commands.cli import main
from sweep.ledger.snapshot import RunningCohort, SeenNode, Snapshot
from sweep.run import run_sweep
from sweep.runners.node_lines import node_lines
from sweep.runners.progress_file import SILENT_SECONDS, ProgressFile
from sweep.spec.sweep_spec import SweepSpec

SNAPSHOT = Snapshot(
    trials=8,
    done=2,
    running=3,
    outcomes={"pruned": 1, "completed": 1},
    images=1_000,
    best_trial=None,
    best_score=math.nan,
    best_config={},
    baseline_score=2.5,
    notes=("a tracker is away",),
    phase="compiling",
    nodes=(SeenNode("node1", 2, "it is being drained"),),
    cohorts=(RunningCohort(1, 0, 2, "compiling", "node1"), RunningCohort(3, 1, 1)),
)


class Looking:
    """A callback that looks at the sweep as another process would: by the command, once for each row."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capsys, self.seen = folder, capsys, list[str]()

    def row(self, row: ResultRow) -> None:
        self.capsys.readouterr()
        assert main(["watch", str(self.folder), "--once"]) == 0
        self.seen.append(self.capsys.readouterr().out)

    def end(self, table: Any) -> None:
        pass


def test_a_running_sweep_is_watched_and_a_finished_one_says_how_to_see_it(tmp_path, capsys):
    folder = tmp_path / "run"
    looking = Looking(folder, capsys)
    run_sweep(SweepSpec.from_mapping({}, [*TINY]), folder, local=True, progress=False, callbacks=[looking])
    line, *cohorts = looking.seen[0].splitlines()
    assert re.match(r"\[\d:\d\d\] trials [01]/4 done, [12] running; best fidelity ", line)
    assert re.fullmatch(rf"cohort 0 on {platform.node()}, on its way to rung [01], [12] trials?", cohorts[0])
    assert not RunFolder(folder).progress.exists()
    capsys.readouterr()
    assert main(["watch", str(folder)]) == 0
    assert capsys.readouterr().out == f"{folder} is finished; see it: gan-sweep results {folder}\n"


def test_a_sweep_on_a_machine_whose_locks_are_not_seen_runs_as_long_as_it_says_so(tmp_path, capsys):
    folder = unfinished(tmp_path)
    ProgressFile(folder).keep(SNAPSHOT, 83.0)
    assert main(["watch", str(folder.path), "--once"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "gan-sweep: warning: a tracker is away"
    assert told[1].startswith("[1:23] trials 2/8 done, 3 running; best fidelity none yet; now compiling")
    assert told[2:] == [
        "node node1 is given no cohort: it is being drained",
        "  cohort 1, on its way to rung 0, 2 trials: compiling",
        "cohort 3, on its way to rung 1, 1 trial",
    ]
    values = json.loads(folder.progress.read_text())
    folder.progress.write_text(json.dumps({**values, "written_seconds": time.time() - 2 * SILENT_SECONDS}))
    assert main(["watch", str(folder.path)]) == 0
    assert "this run was broken off; go on with: gan-sweep run" in capsys.readouterr().out


def test_each_node_is_shown_with_its_cohorts_and_an_idle_one_with_the_reason_in_80_columns():
    on_a_cluster = replace(
        SNAPSHOT,
        nodes=(
            SeenNode("node1", 1),
            SeenNode("node2", 2),
            SeenNode("node3", 0, f"what all trials need does not load ({'no module of this name, ' * 4})"),
        ),
        cohorts=(*SNAPSHOT.cohorts, RunningCohort(4, 0, 1, "", "node2")),
        idle_because="no cohort is left to hand out",
    )
    lines = node_lines(on_a_cluster, 80)
    assert max(map(len, lines)) <= 80
    assert lines[:4] == [
        "node node1: 1 of 1 place in use",
        "  cohort 1, on its way to rung 0, 2 trials: compiling",
        "node node2: 1 of 2 places in use; idle: no cohort is left to hand out",
        "  cohort 4, on its way to rung 0, 1 trial",
    ]
    assert lines[4].startswith("node node3 is given no cohort: what all trials need does not load (no module")
    assert lines[5].startswith("    ")
    assert lines[-1] == "cohort 3, on its way to rung 1, 1 trial"
    (waiting,) = node_lines(replace(on_a_cluster, nodes=on_a_cluster.nodes[1:2], cohorts=(), idle_because=""), 120)
    assert waiting == "node node2: 0 of 2 places in use; idle: a process starts there, or waits for what others use"


def test_a_sweep_that_has_just_begun_has_not_said_how_far_it_is(tmp_path, capsys):
    folder = unfinished(tmp_path)
    with exclusive(folder.driver_lock):
        assert main(["watch", str(folder.path), "--once"]) == 0
    assert capsys.readouterr().out == "this run is going on, and has not said yet how far it is\n"


def test_a_snapshot_survives_its_file_and_what_is_no_snapshot_is_none(tmp_path):
    folder = unfinished(tmp_path)
    file = ProgressFile(folder)
    file.keep(SNAPSHOT, 1.5)
    said = file.read()
    assert said is not None
    assert said.elapsed_seconds == 1.5
    assert said.snapshot.plain() == SNAPSHOT.plain()
    assert (said.snapshot.cohorts, said.snapshot.nodes) == (SNAPSHOT.cohorts, SNAPSHOT.nodes)
    later = json.loads(folder.progress.read_text())
    later["snapshot"]["added"] = 1
    folder.progress.write_text(json.dumps(later))
    read = file.read()
    assert read is not None
    assert read.snapshot.plain() == SNAPSHOT.plain()
    for broken in ("", "[1]", "{}", '{"snapshot": 3}', "torn"):
        folder.progress.write_text(broken)
        assert file.read() is None


def test_what_is_no_run_cannot_be_watched(tmp_path, capsys):
    assert main(["watch", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        f"gan-sweep: {tmp_path} is no run folder: it has no spec.yaml; give the folder of a run\n"
    )


def unfinished(tmp_path: Path) -> RunFolder:
    """The folder of a run of which nothing but the spec is there."""
    folder = RunFolder(tmp_path / "run").create()
    folder.spec.write_text(SweepSpec.from_mapping({}, [*TINY]).to_yaml())
    return folder
