"""`gan-sweep results`."""

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from gan_core.config.input_error import InputError
from sweep.commands.arguments import path, place, whole_number
from sweep.commands.terminal import width

ABOUT = "Print the trials of a run, the best first, or write them to a file."
FORMATS = ("csv", "json", "parquet", "xlsx")
BINARY = ("parquet", "xlsx")  # which a terminal cannot show


def add_arguments(part: argparse.ArgumentParser) -> None:
    """Declares the arguments of `gan-sweep results`."""
    part.add_argument("run", type=place, metavar="RUN", help="the folder of a run, or its address (s3://...)")
    part.add_argument("--top", type=whole_number(1), metavar="N", help="only the first N: the best, unless sorted")
    condition = "only those that meet a condition, such as 'fidelity < 5 and outcome == \"completed\"'"
    part.add_argument("--where", metavar="CONDITION", help=condition)
    by = "sort by a column; --sort=-COLUMN: the largest first"
    part.add_argument("--sort", metavar="COLUMN", help=by)
    names = "only these columns; fidelity stands for fidelity.fidelity, generator_lr for lane.generator_lr"
    part.add_argument("--columns", metavar="A,B,C", help=names)
    rungs = "each trial at each rung, with the replicates of finalists, instead of each trial at its best rung"
    part.add_argument("--all-rungs", action="store_true", help=rungs)
    part.add_argument("--wide", action="store_true", help="print all columns, also where a terminal is too narrow")
    where = "write a file that ends in .csv, .json, .parquet or .xlsx, with all columns; -: standard output, as csv"
    part.add_argument("-o", "--output", type=path, metavar="FILE", help=where)
    named = "the format if the name of the output does not say it"
    part.add_argument("--format", choices=FORMATS, help=named)


def execute(options: argparse.Namespace) -> int:
    """Prints the trials, or writes them to a file. Returns the exit code."""
    from results.stored_run import run_folder

    folder = run_folder(options.run).require()  # before pandas is loaded
    _check(options)
    from results.selection import select
    from results.table import ResultsTable

    table = ResultsTable.load(folder.path)
    rows = select(
        table,
        columns=_names(options.columns or ""),
        where=options.where,
        sort=options.sort,
        all_rungs=options.all_rungs,
        top=options.top,
    )
    if options.output:
        _write(rows, options)
    else:
        _print(table, rows, options)
        if unfinished := how_to_go_on(folder, options.run, table):
            print(unfinished)
    return 0


def _names(columns: str) -> list[str]:
    return [name.strip() for name in columns.split(",") if name.strip()]


def _check(options: argparse.Namespace) -> None:
    """Raises InputError for options that do not go together."""
    if options.columns is not None and not _names(options.columns):
        raise InputError(f"--columns must name columns, separated by commas, got {options.columns!r}")
    if options.output is None and options.format:
        raise InputError(f"--format {options.format} is that of a file; add -o FILE, or -o - for standard output")
    if options.output == Path("-") and options.format in BINARY and sys.stdout.isatty():
        raise InputError(f"{options.format} is bytes, which a terminal cannot show; give -o FILE")


def _write(rows: Any, options: argparse.Namespace) -> None:
    from results.formats import write_rows
    from results.output import STANDARD_OUTPUT

    write_rows(rows, options.output, options.format)
    if options.output != STANDARD_OUTPUT:
        noun = "row" if options.all_rungs else "trial"
        print(f"{len(rows)} {noun}{'s' * (len(rows) != 1)} in {options.output}")


def _print(table: Any, rows: Any, options: argparse.Namespace) -> None:
    from results.text import confirmation_text, noise_text, rows_text, trials_text

    if rows.empty:
        print("no trial meets the condition")
    elif options.columns:
        print(rows_text(rows))
    else:
        wanted = None if options.wide else width()
        print(trials_text(table, rows, reasons=True, width=wanted, sort=options.sort))
    if options.columns or options.where:
        return
    if found := confirmation_text(table):
        print(f"\n{found}")
    if found := noise_text(table):
        print(found)


def how_to_go_on(folder: Any, place: str | Path = "", table: Any = None) -> str:
    """How to resume an interrupted run; "" if it is finished, and if its spec cannot be read (no error here). place: of
    a run in a store, its address. table: that of the run, where it has been loaded.
    """
    from results.store import ResultsError, is_held
    from results.stored_run import is_leased
    from sweep.run import is_finished
    from sweep.spec.sweep_spec import SweepSpec

    try:
        spec = SweepSpec.from_yaml(folder.spec)
        finished = (table is not None and _has_all(table, spec)) or is_finished(spec, folder)
    except (InputError, ResultsError):
        return ""
    if finished:
        return ""
    if is_held(folder.driver_lock):
        return "this run is going on"
    if is_leased(place):
        return "this run is going on, or its driver ended without a word"
    again = shlex.join(["gan-sweep", "run", str(folder.spec), "--out", folder.shown])
    return f"this run was broken off; go on with: {again}"


def _has_all(table: Any, spec: Any) -> bool:
    """Whether a table has all trials and replicates that a spec asks for, none of which was begun again, so that the
    run is certainly finished. Otherwise all of its files are needed to know, which takes long where trials are many.
    """
    from results.limits import violations
    from results.rows import Outcome
    from results.store import read_whole

    cohorts = read_whole(table.folder.cohorts) or b""
    begun_again = cohorts.count(b'"from_rung":0,') < cohorts.count(b"\n")
    ended = int((table.trials["outcome"] != Outcome.RUNNING).sum())
    first, confirmed = table.contenders.head(spec.confirm.top), table.confirmed
    finalists = int((violations(first, table.objectives) == 0).sum())
    replicated = len(confirmed) >= finalists and bool((confirmed["seeds"] >= spec.confirm.seeds).all())
    return ended >= spec.trials and replicated and not begun_again
