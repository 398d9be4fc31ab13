"""`gan-sweep watch`."""

import argparse
import shlex
import time
from pathlib import Path
from typing import Any

from gan_core.config.input_error import InputError
from results.printable import printable
from sweep.commands.arguments import place
from sweep.commands.terminal import width

PLAIN_WIDTH = 80  # characters of a line where no terminal has another width
ABOUT = "Watch a sweep that runs in another terminal, or on another machine that sees the run's folder or its store."


def add_arguments(part: argparse.ArgumentParser) -> None:
    """Declares the arguments of `gan-sweep watch`."""
    part.add_argument("run", type=place, metavar="RUN", help="the folder of a run, or its address (s3://...)")
    part.add_argument("--once", action="store_true", help="print how far it is, with each node and cohort, and end")


def execute(options: argparse.Namespace) -> int:
    """Shows how far a sweep is until it ends, and then how it ended. Ctrl-C ends the command, and not the sweep.
    Returns the exit code.
    """
    from results.stored_run import run_folder
    from sweep.runners.node_lines import node_lines
    from sweep.runners.progress import LIVE_SECONDS, ProgressDisplay
    from sweep.runners.progress_file import KEPT_SECONDS, ProgressFile
    from sweep.spec.sweep_spec import SweepSpec

    folder = run_folder(options.run).require()
    spec, file, seen = SweepSpec.from_yaml(folder.spec), ProgressFile(folder), -1.0
    with ProgressDisplay(spec.ladder, spec.objective, spec.space.searched, detailed=True) as display:
        while True:
            going, said = is_going(folder, file), file.read()
            if said is not None and said.written_seconds != seen:
                if seen < 0:
                    display.begin(said.elapsed_seconds)
                seen = said.written_seconds
                display.show(said.snapshot)
            if options.once or not going:
                break
            time.sleep(LIVE_SECONDS if folder.shown == str(folder.path) else KEPT_SECONDS)
            run_folder(options.run)  # of a store, as it is now
    if going and said is not None:
        for line in node_lines(said.snapshot, width() or PLAIN_WIDTH):
            print(line)
    else:
        print(_ending(folder, going, options.run))
    return 0


def is_going(folder: Any, file: Any) -> bool:
    """Whether a sweep runs in the folder. Where its machine is another one, whose locks may not be seen here, what it
    wrote not long ago tells.
    """
    from results.store import is_held
    from sweep.runners.progress_file import SILENT_SECONDS

    if is_held(folder.driver_lock):
        return True
    said = file.read()
    return said is not None and abs(time.time() - said.written_seconds) < SILENT_SECONDS


def _ending(folder: Any, going: bool, place: str | Path) -> str:
    """How the sweep stands that is not watched any longer."""
    from results.store import ResultsError
    from sweep.commands.results import how_to_go_on

    if going:
        return "this run is going on, and has not said yet how far it is"
    try:
        again = how_to_go_on(folder, place)
    except (InputError, ResultsError) as error:
        return printable(error)
    table = shlex.join(["gan-sweep", "results", folder.shown])
    return again or printable(f"{folder.shown} is finished; see it: {table}")
