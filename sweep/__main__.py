"""The command `gan-sweep`, also as `python -m sweep`."""

from typing import NoReturn

from sweep.commands.cli import main
from sweep.commands.streams import with_streams
from sweep.runners.loading import leave


def command() -> NoReturn:
    """Runs one command, and ends the process with its exit code."""
    leave(with_streams(main))


if __name__ == "__main__":
    command()
