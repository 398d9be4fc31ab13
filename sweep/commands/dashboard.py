"""The command `gan-sweep dashboard`."""

import argparse

from sweep.commands.arguments import place, whole_number

ABOUT = "Show a run in optuna-dashboard, also while it goes on. The run is only read."


def add_arguments(part: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    part.add_argument("run", type=place, metavar="RUN", help="a run's folder, or its address (s3://...), as it is now")
    port = "the port of 127.0.0.1; 0 takes a free one; default: 8080"
    part.add_argument("--port", type=whole_number(0, 65_535), default=8080, metavar="N", help=port)


def execute(options: argparse.Namespace) -> int:
    """Serves the dashboard until Ctrl-C, and returns the exit code."""
    from sweep.tracking.dashboard import serve

    return serve(options.run, options.port)
