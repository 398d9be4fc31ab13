"""`benchmarks.gpu` on the CPU: every part runs, none takes another with it, and what is wrong is said."""

import json
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from table_rows import row as row_of
from table_rows import stored

from benchmarks import gpu, gpu_parts
from benchmarks.contestants import Setting
from benchmarks.gpu_parts import PARTS, Check, Part, PartError
from benchmarks.lanes import Measured, Plan, row
from results.rows import Outcome
from results.table import ResultsTable

CARD = Check("cuda", card_name="A card", card_bytes=8_000_000_000)
HERE = Check("cpu", tiny=True, local=True)


def part_of(code: str, limit_seconds: float = 60.0) -> Part:
    """A part that runs this code, and whose results are what it wrote."""
    return Part(limit_seconds, lambda check, folder: ["-S", "-c", code, str(folder)], gpu_parts.read_json("found.json"))


WRITES = (
    "import sys, pathlib; pathlib.Path(sys.argv[1], 'found.json').write_text('{\"a\": 1}'); "
    "print('written', flush=True);"  # a process that is killed loses what it has not written
)


@pytest.mark.slow
def test_all_parts_run_on_the_cpu_without_ray(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """With Ray, which no other test is to start beside its own: `python -m benchmarks.gpu --device cpu --tiny`."""
    file = tmp_path / "gpu.json"
    assert gpu.main(["--device", "cpu", "--tiny", "--local", "--out", str(file)]) == 0
    found = json.loads(file.read_text())
    assert list(found["parts"]) == ["tests", "memory", "sweep", "lanes"]
    assert all(part["error"] is None and part["seconds"] > 0 for part in found["parts"].values())
    tests, memory, sweep, lanes = (part["results"] for part in found["parts"].values())
    assert tests["skipped"] == tests["tests"] > 20
    assert memory["gaussian"]["lanes"] == 2
    assert 0.2 < memory["gaussian"]["one_call_bytes"] / memory["gaussian"]["used_bytes"] < 5
    assert sum(sweep["outcomes"].values()) == sweep["trials"] == 4
    assert sweep["cohorts"] == 2
    assert all(lanes["gaussian"]["rates"][name][0] > 0 for name in ("peak", "stock", "strong", "ours"))
    assert {"processor", "commit", "code_version", "date", "versions"} <= set(found["machine"])
    said = capsys.readouterr().out
    assert "| sweep | " in said
    assert "| gaussian | 2 | " in said
    assert "ours/stock" in said


def test_a_part_that_fails_dies_or_hangs_takes_no_other_with_it(tmp_path, monkeypatch, capsys):
    parts = {
        "refuses": part_of("import sys; sys.exit('why it failed')"),
        "dies": part_of(WRITES + "import os; os.kill(os.getpid(), 9)"),
        "hangs": part_of("import time; time.sleep(600)", limit_seconds=0.5),
        "goes on": part_of(WRITES),
        "says nothing": part_of("pass"),
    }
    monkeypatch.setattr(gpu, "PARTS", parts)
    monkeypatch.setattr(gpu, "FEWEST_SECONDS", 0.1)
    assert gpu.main(["--device", "cpu", "--parts", ",".join(parts), "--out", str(tmp_path / "gpu.json")]) == 1
    found = json.loads((tmp_path / "gpu.json").read_text())["parts"]
    assert {name: part["error"] for name, part in found.items()} == {
        "refuses": "it ended with 1\nwhy it failed",
        "dies": "it was killed by signal 9\nwritten",
        "hangs": "it took longer than 0 s, and was ended",
        "goes on": None,
        "says nothing": "it left no results",
    }
    assert {name for name, part in found.items() if part["results"] == {"a": 1}} == {"dies", "goes on"}
    said = capsys.readouterr()
    assert re.search(r"\| dies \| \d+ \| \*\*failed\*\*: it was killed by signal 9; measured: a \|", said.out)
    assert "refuses failed: it ended with 1\nwhy it failed" in said.err


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] not in "ZX"
    except FileNotFoundError:
        return False


def test_what_a_part_left_running_is_ended(tmp_path: Path):
    code = "import subprocess, sys; child = subprocess.Popen(['sleep', '600']); print(child.pid)"
    assert gpu.run_command(["-S", "-c", code], "cpu", 60, tmp_path / "output.txt") is None
    child = int((tmp_path / "output.txt").read_text())
    while running(child):  # for as long as the kernel takes; pytest's timeout bounds it
        time.sleep(0.01)
    assert not running(child)


def test_a_part_is_not_begun_when_the_time_is_up():
    found = gpu.run_part(part_of(WRITES), HERE, left_seconds=1.0)
    assert (found.error, found.results) == ("not begun: the others took all the time", None)
    assert sum(part.limit_seconds for name, part in PARTS.items() if name != "lanes") + 150 <= gpu.BUDGET_SECONDS < 480


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--parts", "lane"], "did you mean 'lanes'?"),
        (["--out", "nowhere/gpu.json"], "a folder that does not exist"),
        (["--device", "cuda"], "--device cpu --tiny checks the program without one"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(arguments, said, monkeypatch, capsys):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit) as stop:
        gpu.main(arguments)
    assert stop.value.code == 2
    assert said in (error := capsys.readouterr().err)
    assert error.count("\n") == 1


def test_a_card_is_shared_by_as_many_processes_as_it_holds():
    assert CARD.processes <= 10
    assert replace(CARD, card_bytes=1_000_000_000).processes == 1
    assert replace(CARD, card_bytes=10**15).processes <= 16
    command = gpu_parts.lanes_command(CARD, Path("folder"))
    assert command[command.index("--processes") + 1] == str(CARD.processes)
    assert command[command.index("--models") + 1] == "gaussian,mlp64,mlp256,dcgan16,dcgan64"
    assert gpu_parts.sweep_spec(CARD).resources.gpus_per_cohort == 0.5


def test_tests_that_did_not_run_on_the_card_are_an_error(tmp_path: Path):
    suite = '<testsuites><testsuite tests="3" failures="1" errors="0" skipped="{}">{}</testsuite></testsuites>'
    bad = '<testcase name="a"><failure/></testcase>'
    (tmp_path / "tests.xml").write_text(suite.format(2, bad))
    with pytest.raises(PartError, match="no test ran on the GPU") as error:
        gpu_parts.read_tests(CARD, tmp_path)
    assert error.value.results["failed"] == ["a"]
    (tmp_path / "tests.xml").write_text(suite.format(1, bad))
    assert gpu_parts.read_tests(CARD, tmp_path) == {
        **{"passed": 1, "tests": 3, "failures": 1, "errors": 0, "skipped": 1},
        "failed": ["a"],
    }
    (tmp_path / "tests.xml").write_text("<testsuites>")
    assert gpu_parts.read_tests(CARD, tmp_path) is None


def run_of(folder: Path, *rows: dict[str, Any]) -> Path:
    stored(folder, list(rows))
    return folder


def test_cohorts_that_overlap_are_counted(tmp_path: Path):
    def table(*spans: tuple[int, float, float]) -> ResultsTable:
        rows = [row_of(i, 0, 1.0, cohort=c, elapsed_seconds=e, seconds=s) for i, (c, e, s) in enumerate(spans)]
        return ResultsTable(pd.DataFrame.from_records(rows))

    assert gpu_parts.at_once(table((0, 2.0, 1.0), (1, 2.5, 1.0), (2, 9.0, 1.0))) == 2
    assert gpu_parts.at_once(table((0, 1.0, 1.0), (0, 4.0, 1.0), (1, 3.0, 1.0), (2, 3.5, 0.5))) == 3


def test_a_sweep_off_the_card_cut_short_or_without_a_winner_is_an_error(tmp_path: Path):
    assert gpu_parts.read_sweep(CARD, tmp_path) is None
    few = replace(CARD, tiny=True)
    ended = [row_of(i, 0, 1.0 + i, Outcome.COMPLETED, device="A card, 4 lanes a call") for i in range(4)]
    found = gpu_parts.read_sweep(few, run_of(tmp_path, *ended))
    assert found is not None
    assert (found["outcomes"], found["best_score"]) == ({"completed": 4}, 1.0)
    bad = {
        "4 of 16 trials are in the table": (CARD, ended),
        "not all were trained on A card": (few, [*ended[:3], ended[3] | {"device": "cpu, 1 lanes a call"}]),
        "no trial was completed": (few, [row | {"outcome": "diverged"} for row in ended]),
    }
    for place, (said, (check, rows)) in enumerate(bad.items()):
        (tmp_path / str(place)).mkdir()
        with pytest.raises(PartError, match=said):
            gpu_parts.read_sweep(check, run_of(tmp_path / str(place), *rows))


def test_the_table_of_a_card_has_its_own_contestants():
    plan = Plan(("mlp64",), 0.3, 1, Setting("cuda"), 16, None)
    assert list(plan.contestants) == ["stock", "16 processes", "graph", "strong", "ours"]
    rates = {"peak": [100.0], "stock": [10.0], "16 processes": [50.0], "graph": [40.0], "strong": [60.0], "ours": [1e4]}
    cells = row("mlp64", Measured(1e6, rates, {"stock": "", "ours": "512/512"}), plan).split(" | ")
    assert cells[2:8] == ["10.0", "50.0", "40.0", "60.0", "10,000", "512/512"]
    assert cells[8:12] == ["1000.00", "200.00", "250.00", "166.67"]
