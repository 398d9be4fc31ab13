"""`gan-sweep report`."""

import argparse
import time
from dataclasses import replace
from pathlib import Path

from gan_core.config.input_error import InputError
from results.printable import printable
from sweep.commands.arguments import path, place, whole_number

ABOUT = "Write one HTML file that says what a run has found, to read and to send; of several runs, with a comparison."
RENEWED_SECONDS = 30  # where --watch says no number


def add_arguments(part: argparse.ArgumentParser) -> None:
    """Declares the arguments of `gan-sweep report`."""
    run = "the folder of a run, or its address (s3://...); several are compared"
    part.add_argument("run", type=place, nargs="+", metavar="RUN", help=run)
    where = "the file to write; -: standard output; default: report.html"
    part.add_argument("-o", "--output", type=path, default=Path("report.html"), metavar="FILE", help=where)
    watch = f"while a run goes on, write the file again every so many seconds ({RENEWED_SECONDS}); an open page follows"
    part.add_argument(
        "--watch", type=whole_number(1, 86_400), nargs="?", const=RENEWED_SECONDS, metavar="SECONDS", help=watch
    )


def execute(options: argparse.Namespace) -> int:
    """Writes the page, again and again with --watch until no run goes on. Returns the exit code."""
    from results.output import STANDARD_OUTPUT

    if options.output == STANDARD_OUTPUT and options.watch:
        raise InputError("--watch writes a file again and again, which standard output cannot be; name it with -o")
    said = False
    while True:
        renewed_seconds = options.watch if options.watch and _any_goes_on(options.run) else 0
        size_bytes = _write(options, renewed_seconds)
        if options.output != STANDARD_OUTPUT and not (said and renewed_seconds):
            renewal = f", and again every {renewed_seconds} s" if renewed_seconds else ""
            print(f"written to {printable(options.output)} ({size_bytes / 1e6:.1f} MB){renewal}; open it in a browser")
            said = True
        if not renewed_seconds:
            return 0
        time.sleep(renewed_seconds)


def _write(options: argparse.Namespace, renewed_seconds: int) -> int:
    from results.output import output
    from results.report.page import report
    from results.report.runs import ReportedRun
    from sweep.commands.results import how_to_go_on

    loaded = [ReportedRun.load(run) for run in options.run]
    runs = [replace(run, state=how_to_go_on(run.folder, run.place, run.table)) for run in loaded]
    page = report(runs, renewed_seconds=renewed_seconds)
    with output(options.output) as file:
        file.write(page)
    return len(page)


def _any_goes_on(runs: list[str | Path]) -> bool:
    from results.stored_run import run_folder
    from sweep.commands.watch import is_going
    from sweep.runners.progress_file import ProgressFile

    folders = [run_folder(run).require() for run in runs]
    return any(is_going(folder, ProgressFile(folder)) for folder in folders)
