"""`results` chooses and writes, `list` and `show` print, each with one line for what is wrong."""

import os
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest

from results import formats
from results.table import ResultsTable
from sweep.commands import results


def test_results_chooses_sorts_and_names_the_columns(gan_sweep, digits_run):
    table = ResultsTable.load(digits_run)
    where = "trial > 0 and outcome != 'failed'"
    lines = gan_sweep("results", digits_run, "--where", where, "--sort=-fid").out.splitlines()
    chosen = table.select(where=where, sort="-fid")
    assert [int(line.split()[0]) for line in lines[1:-1]] == chosen["trial"].tolist()
    assert len(chosen) == 3
    assert lines[-1] == "sorted by fid, the largest first"
    narrow = gan_sweep("results", digits_run, "--columns", "trial, fidelity", "--top", "1").out.splitlines()
    assert narrow[0].split() == ["trial", "fidelity.fidelity"]
    assert len(narrow) == 2
    assert gan_sweep("results", digits_run, "--where", "fidelity < -1e9").out == "no trial meets the condition\n"


def test_results_goes_into_every_format_with_the_same_numbers(gan_sweep, digits_run):
    trials = ResultsTable.load(digits_run).trials
    assert tuple(formats.FORMATS) == results.FORMATS
    read = {"csv": pd.read_csv, "json": pd.read_json, "parquet": pd.read_parquet, "xlsx": pd.read_excel}
    for ending, reader in read.items():
        assert gan_sweep("results", digits_run, "-o", f"t.{ending}").out == f"4 trials in t.{ending}\n"
        assert reader(f"t.{ending}")["fidelity.fid"].tolist() == pytest.approx(trials["fidelity.fid"], rel=1e-12)
    rows = gan_sweep("results", digits_run, "--all-rungs", "--where", "rung == 0", "-o", "rows.parquet")
    assert rows.out == "4 rows in rows.parquet\n"


def test_a_terminal_gets_no_bytes(gan_sweep, digits_run, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(os, "get_terminal_size", lambda *_: os.terminal_size((80, 24)))
    answer = gan_sweep("results", digits_run, "-o", "-", "--format", "xlsx")
    assert (answer.code, answer.err) == (2, "gan-sweep: xlsx is bytes, which a terminal cannot show; give -o FILE\n")


def test_a_terminal_of_80_columns_gets_what_a_person_decides_by_and_wide_everything(gan_sweep, digits_run, monkeypatch):
    monkeypatch.setattr("sweep.commands.results.width", lambda: 80)
    lines = gan_sweep("results", digits_run).out.splitlines()
    assert max(map(len, lines[:-1])) <= 80
    assert "more columns: gan-sweep results" in lines[-1]
    head = " ".join(lines[:2]).split()
    assert {"trial", "outcome", "fidelity"} <= set(head)
    assert lines[2].count(" ± ") == 1
    wide = gan_sweep("results", digits_run, "--wide").out.splitlines()
    assert "reason" in wide[0]
    assert len(wide[0]) > 80


def test_list_says_which_runs_there_are(gan_sweep, digits_run):
    assert gan_sweep("list").out == "there are no runs here yet; begin one: gan-sweep run\n"
    Path("runs").mkdir()
    assert gan_sweep("list").out == "there are no runs in runs\n"
    shutil.copytree(digits_run, "runs/digits")
    Path("runs/other").mkdir()
    Path("runs/other/spec.yaml").write_text("trials: [\n")
    lines = gan_sweep("list").out.splitlines()
    assert lines[0].split() == ["run", "state", "trials", "best", "device", "changed"]
    best = ResultsTable.load(digits_run).best()
    (line,) = [line for line in lines if line.startswith("runs/digits")]
    assert line.split()[1:5] == ["finished", "4/4", "fidelity", f"{best['score']:.4g}"]
    assert "damaged" in "".join(lines[1:3])
    assert lines[-1].startswith("runs/other: ")
    answer = gan_sweep("list", "nowhere")
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    store = gan_sweep("list", "s3://bucket/runs")
    says = "list reads folders of this machine, got s3://bucket/runs; watch and results take an address"
    assert (store.code, store.err) == (2, f"gan-sweep: {says}\n")


def test_show_prints_one_trial(gan_sweep, digits_run):
    best = ResultsTable.load(digits_run).best()
    answer = gan_sweep("show", digits_run, str(best["trial"]))
    assert answer.code == 0
    assert answer.out.startswith(f"trial {best['trial']} of {digits_run}: ")
    assert "place 1 of" in answer.out
    assert f"samples: {digits_run}/samples/trial-{best['trial']:04d}.png" in answer.out
    missing = gan_sweep("show", digits_run, "99")
    assert (missing.code, missing.err) == (
        2,
        "gan-sweep: there is no trial 99 in this run; trials with results: 0 to 3\n",
    )
