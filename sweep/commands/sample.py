"""`gan-sweep sample`."""

import argparse
from pathlib import Path

from gan_core.input_error import InputError
from sweep.commands.arguments import whole_number

ABOUT = "Draw samples from a trained model."


def add_arguments(part: argparse.ArgumentParser) -> None:
    """Declares what may follow `gan-sweep sample`."""
    part.add_argument("model", type=Path, metavar="MODEL", help="a model's folder")
    part.add_argument("-n", type=whole_number(1), default=64, metavar="N", help="how many; default: 64")
    part.add_argument("--seed", type=whole_number(0), default=0, metavar="S", help="of the latents; default: 0")
    asked = "of this class (cgan) or categorical code (infogan); without it they take turns"
    part.add_argument("--class", type=whole_number(0), dest="choice", metavar="K", help=asked)
    form = ".png: a grid; .npy: the samples, [N, C, H, W] in [-1, 1], [N, 2] or [N]; default: grid.png"
    part.add_argument("-o", "--output", type=Path, default=Path("grid.png"), metavar="FILE", help=form)


def execute(options: argparse.Namespace) -> int:
    """Writes the samples. Returns the exit code."""
    if options.output.suffix not in (".png", ".npy"):
        raise InputError(f"the output must end in .png (a grid) or .npy (the samples), got {options.output}")
    from sweep.final import write_samples

    write_samples(options.model, options.n, options.seed, options.output, options.choice)
    print(f"{options.n} samples in {options.output}")
    return 0
