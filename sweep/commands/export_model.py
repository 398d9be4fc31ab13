"""`gan-sweep export-model`."""

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from gan_core.config.input_error import InputError, shown
from sweep.commands.arguments import path, path_text

ABOUT = "Write the generator of a trained model to a file that plain PyTorch or onnxruntime loads."
ENDINGS = {".pt2": "pt2", ".onnx": "onnx", ".pt": "torchscript", ".ts": "torchscript", "/": "safetensors+py"}
DEFAULTS = {
    "pt2": "generator.pt2",
    "onnx": "generator.onnx",
    "torchscript": "generator.pt",
    "safetensors+py": "generator/",
}


def add_arguments(part: argparse.ArgumentParser) -> None:
    """Declares the arguments of `gan-sweep export-model`."""
    part.add_argument("model", type=path, metavar="MODEL", help="the folder of a model, made by `gan-sweep train`")
    where = (
        "name.pt2: a torch.export program; name.onnx: an ONNX model; name.pt or name.ts: TorchScript; name/: a new "
        "folder with generator.safetensors and a generator.py that loads it; -: standard output; default: generator.pt2"
    )
    part.add_argument("-o", "--output", type=path_text, metavar="FILE", help=where)
    named = "the format if the name of the output does not say it, or in its place"
    part.add_argument("--format", choices=DEFAULTS, help=named)


def execute(options: argparse.Namespace) -> int:
    """Writes the generator and prints how far its samples are from ours. Returns the exit code."""
    form: Any = options.format or _form(options.output)
    output = options.output or DEFAULTS[form]
    if output == "-" and (form == "safetensors+py" or sys.stdout.isatty()):
        raise InputError(f"standard output cannot take the format {form} here; give -o {DEFAULTS[form]}")
    from sweep.winner.exported_model import export_model  # loads torch

    found = export_model(options.model, Path(output), form)
    if output == "-":
        return 0
    if found.difference is None:
        print("not compared with our samples: onnxruntime is not installed")
    else:
        allowed = f"at most {found.allowed:.2g} is allowed"
        same = "latents and seed, because the generator itself draws random numbers" if found.draws else "latents"
        print(f"largest difference from our samples of the same {same}: {found.difference:.1e} ({allowed})")
    if form == "torchscript":
        print("PyTorch deprecates TorchScript; a .pt2 file does the same")
    print(f"written to {shlex.quote(output)}")
    return 0


def _form(output: str | None) -> str:
    """The format that the name of the output says. Raises InputError if it says none."""
    if output is None:
        return "pt2"
    ending = "/" if output.endswith("/") else Path(output).suffix
    if ending not in ENDINGS:
        raise InputError(
            "the output must end in .pt2, .onnx, .pt or .ts (TorchScript) or / (a folder of safetensors and Python), "
            f"got {shown(output)}; give another name, or --format"
        )
    return ENDINGS[ending]
