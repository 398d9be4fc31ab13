"""`gan-sweep list`."""

import argparse
from pathlib import Path

from gan_core.config.input_error import InputError
from sweep.commands.arguments import place
from sweep.commands.terminal import width

ABOUT = "List the runs in a folder, what changed last first: state, trials, best score, device time."


def add_arguments(part: argparse.ArgumentParser) -> None:
    """Declares the arguments of `gan-sweep list`."""
    where = "the folder that holds runs; default: runs"
    part.add_argument("folder", nargs="?", type=place, default=Path("runs"), metavar="DIR", help=where)


def execute(options: argparse.Namespace) -> int:
    """Prints a line for each run. Returns the exit code."""
    if isinstance(options.folder, str):
        raise InputError(f"list reads folders of this machine, got {options.folder}; watch and results take an address")
    from results.run_list import runs_in, runs_text

    if options.folder == Path("runs") and not options.folder.exists():
        print("there are no runs here yet; begin one: gan-sweep run")
        return 0
    runs = runs_in(options.folder)
    print(f"there are no runs in {options.folder}" if runs.empty else runs_text(runs, width()))
    return 0
