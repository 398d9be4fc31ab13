"""`gan-sweep export`."""

import argparse
import shlex
from pathlib import Path

from sweep.commands.arguments import path, whole_number

ABOUT = "Write a trial's configuration as a YAML file that trains."


def add_arguments(part: argparse.ArgumentParser) -> None:
    """Declares what may follow `gan-sweep export`."""
    part.add_argument("run", type=path, metavar="RUN", help="a run's folder")
    part.add_argument("--trial", type=whole_number(0), metavar="N", help="this trial instead of the best")
    where = "default: best.yaml; -: standard output"
    part.add_argument("-o", "--output", type=path, default=Path("best.yaml"), metavar="FILE", help=where)


def execute(options: argparse.Namespace) -> int:
    """Writes the configuration, and says which trial it is. Returns the exit code."""
    from results.export import export_trial, write_export
    from results.output import STANDARD_OUTPUT

    text = export_trial(options.run, options.trial)
    write_export(text, options.output)
    if options.output == STANDARD_OUTPUT:
        return 0
    print(text.splitlines()[0].removeprefix("# "))
    print(f"written to {options.output}; train it: gan-sweep train {shlex.quote(str(options.output))}")
    return 0
