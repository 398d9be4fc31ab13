"""`gan-sweep export`."""

import argparse
import shlex
from pathlib import Path

from sweep.commands.arguments import path, place, whole_number

ABOUT = "Write the configuration of a trial to a YAML file that can be edited and trained."


def add_arguments(part: argparse.ArgumentParser) -> None:
    """Declares the arguments of `gan-sweep export`."""
    part.add_argument("run", type=place, metavar="RUN", help="the folder of a run, or its address (s3://...)")
    part.add_argument("--trial", type=whole_number(0), metavar="N", help="export this trial instead of the best")
    where = "the file to write; -: standard output; default: best.yaml"
    part.add_argument("-o", "--output", type=path, default=Path("best.yaml"), metavar="FILE", help=where)


def execute(options: argparse.Namespace) -> int:
    """Writes the configuration and prints which trial it is. Returns the exit code."""
    from results.export import export_trial, write_export
    from results.output import STANDARD_OUTPUT

    text = export_trial(options.run, options.trial)
    write_export(text, options.output)
    if options.output == STANDARD_OUTPUT:
        return 0
    print(text.splitlines()[0].removeprefix("# "))
    print(f"written to {options.output}; train it: gan-sweep train {shlex.quote(str(options.output))}")
    return 0
