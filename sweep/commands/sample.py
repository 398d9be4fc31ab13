"""`gan-sweep sample`."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from gan_core.config.input_error import InputError
from gan_core.files.addresses import is_address
from sweep.commands.arguments import path_text, place, whole_number

ABOUT = "Draw samples from a trained model, or from a trial of a run whose generator was kept."
FORMS = ("png", "npy", "txt")


def add_arguments(part: argparse.ArgumentParser) -> None:
    """Declares the arguments of `gan-sweep sample`."""
    part.add_argument(
        "model", type=place, metavar="MODEL", help="the folder of a model or of a run, or the address of a run"
    )
    trial = "for a run: draw from this trial instead of the best"
    part.add_argument("--trial", type=whole_number(0), metavar="N", help=trial)
    part.add_argument("-n", type=whole_number(1), default=64, metavar="N", help="the number of samples; default: 64")
    part.add_argument("--seed", type=whole_number(0), default=0, metavar="S", help="seed of the latents; default: 0")
    asked = "draw only this class (cgan) or categorical code (infogan); default: all in turn, with a grid row for each"
    part.add_argument("--class", type=whole_number(0), dest="choice", metavar="K", help=asked)
    form = (
        "name.png: a grid; name.npy: an array [N, C, H, W] in [-1, 1], [N, 2] or [N]; name/: a new folder with a .png "
        "for each sample; name.txt: the texts of your own training; -: standard output; default: grid.png"
    )
    part.add_argument("-o", "--output", type=path_text, default="grid.png", metavar="FILE", help=form)
    named = "the format if the name of the output does not say it, as for a pipe or -; default: png"
    part.add_argument("--format", choices=FORMS, help=named)
    root = "for a run on images:FOLDER: the data root, if it differs from that of the run"
    part.add_argument("--data-root", type=place, metavar="DIR", help=root)


def execute(options: argparse.Namespace) -> int:
    """Writes the samples. Returns the exit code."""
    output = Path(options.output)
    form = _form(options.output, options.format)
    from sweep.winner.own_training import Drawn, own_samples, write_texts  # loads torch
    from sweep.winner.sampling import write_numbers, write_picture, write_pictures

    write = {"png": write_picture, "npy": write_numbers, "folder": write_pictures}
    own = own_samples(options.model, options.trial, options.n, options.seed)
    count = options.n if own is None else len(own)
    if isinstance(own, list):
        if form not in ("txt", "png"):
            raise InputError(f"the samples are texts, which go into a .txt, or as a picture into a .png, got {output}")
        write_texts(own, output, as_picture=form == "png")
    elif form == "txt":
        raise InputError(
            f"{output} takes texts alone, which your own training may draw; give a .png, a .npy or a folder/"
        )
    elif own is not None:
        write[form](Drawn(own), count, options.seed, output)
    else:
        write[form](_generator(options), count, options.seed, output, options.choice)
    if options.output != "-":
        print(f"{count:,} sample{'s' if count > 1 else ''} in {options.output}")
    return 0


def _form(output: str, asked: str | None) -> str:
    """png, npy or folder, by the name of the output or, if that does not say it, as requested."""
    from gan_core.files.whole_files import is_written_through
    from results.output import STANDARD_OUTPUT

    place = Path(output)
    if output.endswith("/"):
        return "folder"
    if place == STANDARD_OUTPUT and sys.stdout.isatty():
        raise InputError("samples are bytes, which a terminal cannot show; give -o FILE, or send them to a program")
    if place == STANDARD_OUTPUT or is_written_through(place):
        return asked or FORMS[0]
    named = place.suffix.removeprefix(".")
    if named not in FORMS and asked is None and os.path.isdir(place):
        return "folder"
    if (asked or named) not in FORMS:
        raise InputError(
            "the output must end in .png (a grid), .npy (the samples), .txt (texts) or / (a folder of pictures), got "
            f"{output}"
        )
    return asked or named


def _generator(options: argparse.Namespace) -> Any:
    from results.stored_run import run_folder
    from sweep.winner.sampling import of_model, of_trial

    if is_address(options.model) or run_folder(options.model).holds_run():
        return of_trial(options.model, options.trial, options.data_root)
    if options.trial is not None:
        raise InputError(f"{options.model} is no run, of which --trial could be drawn from; leave it out")
    return of_model(options.model)
