"""`gan-sweep train`."""

import argparse
from pathlib import Path

from gan_core.config.input_error import InputError
from sweep.commands.arguments import add_data_options, path, place, whole_number

ABOUT = "Train the final model from an exported configuration; after Ctrl-C the same command resumes it."


def add_arguments(part: argparse.ArgumentParser) -> None:
    """Declares the arguments of `gan-sweep train`."""
    part.add_argument(
        "config", type=place, metavar="CONFIG", help="a file written by `gan-sweep export`, or its address"
    )
    home = "the folder of the model; default: models/<CONFIG>"
    part.add_argument("-o", "--output", type=path, metavar="DIR", help=home)
    images = "the number of real images to train on; default: that of the file"
    part.add_argument("--images", type=whole_number(1, 10**15), metavar="N", help=images)
    part.add_argument("--seed", type=whole_number(0), metavar="S", help="a seed other than that of the trial")
    add_data_options(part)
    other = "allow data that differ from those of the sweep"
    part.add_argument("--other-data", action="store_true", help=other)


def execute(options: argparse.Namespace) -> int:
    """Trains the model or resumes its training. Returns the exit code."""
    from gan_core.config.gan import GanConfig
    from results.export import ExportedConfiguration

    exported = ExportedConfiguration.read(options.config)
    values = {**exported.configuration, **({} if options.seed is None else {"seed": options.seed})}
    config = GanConfig.unflatten(values)
    from sweep.run import check_files
    from sweep.winner.final_training import conditions_of, train_final  # loads torch

    home = options.output or Path("models") / Path(options.config).stem
    if str(home) == "-":
        raise InputError("-o must be a folder, and standard output is none")
    conditions = conditions_of(config, exported, options.data_root, options.skip_corrupt_images)
    check_files(config.structure, conditions, options.download)
    images = options.images or exported.images
    if conditions.trainer:
        from sweep.winner.own_training import train_own

        if options.data_root or options.download or options.other_data or options.skip_corrupt_images:
            raise InputError("your own training reads its own data: leave the options about data out")
        return train_own(config, exported, home, images, conditions)
    return train_final(config, exported, home, images, conditions, other_data=options.other_data)
