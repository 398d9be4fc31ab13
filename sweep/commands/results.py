"""`gan-sweep results`."""

import argparse
import json
from pathlib import Path

from gan_core.input_error import InputError
from sweep.commands.arguments import whole_number
from sweep.commands.terminal import width

ABOUT = "Print a run's trials, best first."


def add_arguments(part: argparse.ArgumentParser) -> None:
    """Declares what may follow `gan-sweep results`."""
    part.add_argument("run", type=Path, metavar="RUN", help="a run's folder")
    part.add_argument("--top", type=whole_number(1), metavar="N", help="only the best N trials")
    part.add_argument("--csv", type=Path, metavar="FILE", help="write every row (each trial at each rung) instead")
    part.add_argument(
        "--json", action="store_true", help="print the trials as JSON records, a finalist's with its confirmation"
    )


def execute(options: argparse.Namespace) -> int:
    """Prints the trials, or writes the rows to a file. Returns the exit code."""
    from results.store import RunFolder

    RunFolder(options.run).require()  # before pandas is loaded
    from results.table import ResultsTable
    from results.text import confirmation_text, trials_text

    table = ResultsTable.load(options.run)
    trials = table.trials if options.top is None else table.trials.head(options.top)
    if options.csv:
        try:
            table.frame.to_csv(options.csv, index=False)
        except OSError as error:
            raise InputError(f"cannot write {options.csv}: {error.strerror or error}") from error
        print(f"{len(table.frame)} rows in {options.csv}")
    elif options.json:
        print(json.dumps(table.records(trials), indent=1))
    else:
        print(trials_text(table, trials, reasons=True, width=width()))
        if found := confirmation_text(table, width()):
            print(f"\n{found}")
    return 0
