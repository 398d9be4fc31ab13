"""`gan-sweep results`."""

import argparse
import json
import shlex
from pathlib import Path
from typing import Any

from gan_core.config.input_error import InputError
from sweep.commands.arguments import path, place, whole_number
from sweep.commands.terminal import width

ABOUT = "Print the trials of a run, the best first."


def add_arguments(part: argparse.ArgumentParser) -> None:
    """Declares the arguments of `gan-sweep results`."""
    part.add_argument("run", type=place, metavar="RUN", help="the folder of a run, or its address (s3://...)")
    part.add_argument("--top", type=whole_number(1), metavar="N", help="print only the best N trials")
    rows = "write all rows (each trial at each rung) to a file instead; -: to standard output"
    part.add_argument("--csv", type=path, metavar="FILE", help=rows)
    records = "print the trials as JSON records, those of finalists with their confirmation"
    part.add_argument("--json", action="store_true", help=records)


def execute(options: argparse.Namespace) -> int:
    """Prints the trials, or writes the rows to a file. Returns the exit code."""
    from results.stored_run import run_folder

    folder = run_folder(options.run).require()  # before pandas is loaded
    from results.output import STANDARD_OUTPUT, output
    from results.table import ResultsTable
    from results.text import confirmation_text, noise_text, trials_text

    table = ResultsTable.load(folder.path)
    trials = table.trials if options.top is None else table.trials.head(options.top)
    if options.csv:
        with output(options.csv) as file:
            file.write(table.frame.to_csv(index=False).encode())
        if options.csv != STANDARD_OUTPUT:
            print(f"{len(table.frame)} row{'s' if len(table.frame) > 1 else ''} in {options.csv}")
    elif options.json:
        print(json.dumps(table.records(trials), indent=1))
    else:
        print(trials_text(table, trials, reasons=True, width=width()))
        if found := confirmation_text(table, width()):
            print(f"\n{found}")
        if found := noise_text(table):
            print(found)
        if unfinished := how_to_go_on(folder, options.run):
            print(unfinished)
    return 0


def how_to_go_on(folder: Any, place: str | Path = "") -> str:
    """How to resume an interrupted run; "" if it is finished, and if its spec cannot be read (no error here). place: of
    a run in a store, its address.
    """
    from results.store import ResultsError, is_held
    from results.stored_run import is_leased
    from sweep.run import is_finished
    from sweep.spec.sweep_spec import SweepSpec

    try:
        finished = is_finished(SweepSpec.from_yaml(folder.spec), folder)
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
