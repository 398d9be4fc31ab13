"""`gan-sweep show`."""

import argparse

from sweep.commands.arguments import place, whole_number
from sweep.commands.terminal import width

ABOUT = "Show one trial of a run: its configuration against the default, its rungs, its signs, how it ended and why."


def add_arguments(part: argparse.ArgumentParser) -> None:
    """Declares the arguments of `gan-sweep show`."""
    part.add_argument("run", type=place, metavar="RUN", help="the folder of a run, or its address (s3://...)")
    part.add_argument("trial", type=whole_number(0), metavar="TRIAL", help="the number of the trial")


def execute(options: argparse.Namespace) -> int:
    """Prints what is known of the trial. Returns the exit code."""
    from results.stored_run import run_folder

    folder = run_folder(options.run).require()  # before pandas is loaded
    from results.table import ResultsTable
    from results.trial_text import trial_text

    print(trial_text(ResultsTable.load(folder.path), options.trial, width()))
    return 0
