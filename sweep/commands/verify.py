"""`gan-sweep verify`."""

import argparse

from sweep.commands.arguments import add_data_options, place

ABOUT = "Train an exported configuration to its first rung again, and compare the scores."


def add_arguments(part: argparse.ArgumentParser) -> None:
    """Declares the arguments of `gan-sweep verify`."""
    part.add_argument(
        "config", type=place, metavar="CONFIG", help="a file written by `gan-sweep export`, or its address"
    )
    add_data_options(part)


def execute(options: argparse.Namespace) -> int:
    """Prints the recorded and the new scores, and why they may differ. Returns the exit code."""
    from results.export import ExportedConfiguration

    exported = ExportedConfiguration.read(options.config)
    from sweep.winner.verify import verify_first_rung  # loads torch

    return verify_first_rung(exported, options.data_root, options.skip_corrupt_images, options.download)
