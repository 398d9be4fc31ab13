"""A generator's program in the formats that others read, each compared with our own samples before anybody writes it.

N samples. The dimension N of a program is dynamic: any number of samples may be drawn in one call.
"""

import importlib.util
import io
import json
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from gan_core.config.input_error import InputError, shortened
from gan_core.files.own_code import OwnCodeError, their_line
from gan_core.lanes.axis import lane_arithmetic
from gan_core.lanes.streams import Stream
from gan_core.networks.call import Call
from gan_core.networks.latents import shared_latents
from gan_core.networks.own_calls import own_randomness
from gan_core.workshop.plain_generator import WEIGHTS, PlainGenerator, loaded, stored

Format = Literal["pt2", "onnx", "torchscript", "safetensors+py"]
Generate = Callable[..., Tensor]  # the inputs of a generator -> samples
METADATA = "gan_sweep"  # under which a file keeps the description of its generator, as JSON
CHECKED_SAMPLES = 64
LARGEST_DIFFERENCE = 1e-5  # from our samples, which are in [-1, 1]; of larger numbers, in parts of the largest
ROUNDINGS = 10  # a larger difference is allowed up to so many times the rounding error of our own samples in float32


@dataclass(frozen=True)
class Exported:
    """A generator in some format: name -> content of its files, and how far its samples are from ours.

    A format of one file has it under the name "". difference: None if the program could not be run here; allowed: the
    largest that would not have been refused. draws: whether the generator itself draws random numbers.
    """

    files: Mapping[str, bytes]
    difference: float | None
    allowed: float
    draws: bool = False


def exported(
    plain: PlainGenerator, weights: Mapping[str, Tensor], form: Format, metadata: Mapping[str, Any]
) -> Exported:
    """The generator in a format. weights: those that our networks sample with; metadata: plain values to keep with it.

    What was made is read again and run where that is possible, and its samples are compared with ours from the same
    latents. Those of a generator that draws random numbers itself are compared with the module's, from the same seed.
    Raises InputError if they differ by more than LARGEST_DIFFERENCE and than rounding explains, if the generator cannot
    be written in the format, or if the format needs a package that is not installed.
    """
    structure, networks = plain.config.structure, plain.networks
    (latents,) = next(shared_latents(CHECKED_SAMPLES, CHECKED_SAMPLES, structure, networks, Stream.SAMPLE_LATENTS, 0))
    draws = plain.is_own and _draws(plain, latents)
    if draws and form == "onnx":
        raise InputError(
            "the generator draws random numbers in its forward, and those of an ONNX model cannot be compared with "
            "ours; a .pt2 file or a folder/ holds it"
        )
    with _in_one_line(plain, form):
        files, generate = FORMATS[form](plain, {**metadata, **plain.described()})
        difference, allowed = _difference(plain, weights, generate or plain.module, latents, draws=draws)
    if not difference <= allowed:  # NaN is not
        raise InputError(
            f"the {form} program's samples differ from ours by {difference:.2g}, which is more than {allowed:.2g}; "
            f"nothing was written{_else(plain, form)}"
        )
    return Exported(files, difference if generate else None, allowed, draws)


def _else(plain: PlainGenerator, form: Format) -> str:
    """What can be done where a person's own class cannot be written as a program."""
    return "; a folder/ holds your class itself" if plain.is_own and form != "safetensors+py" else ""


@contextmanager
def _in_one_line(plain: PlainGenerator, form: Format) -> Iterator[None]:
    """Within this context exporters and programs say nothing, and what they raise is an InputError."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(action="ignore"), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            yield
    except (InputError, MemoryError):
        raise
    except Exception as error:  # exporters, and a person's own code in them, may raise anything
        why = f"{_reason(error)}{their_line(error)}"
        raise InputError(f"the generator cannot be written as {form}: {why}{_else(plain, form)}") from error
    finally:
        logging.disable(before)


def _reason(error: BaseException) -> str:
    """Why torch refuses a program, in words."""
    if error.__cause__ is not None:  # of what the exporters wrap, the first error says most
        return _reason(error.__cause__)
    said = str(error)
    if "data-dependent" in said.lower():
        return "its forward depends on the values of tensors"
    if "specialized" in said:
        return "its forward computes another program for each number of samples"
    first = next((line.strip() for line in said.splitlines() if line.strip()), "no message")
    return f"{type(error).__name__}: {shortened(first)}"


def _draws(plain: PlainGenerator, latents: Tensor) -> bool:
    """Whether the module draws from the global generators, so that latents alone do not fix its samples."""
    samples = []
    for seed in (0, 1):
        with torch.no_grad(), own_randomness(seed):
            samples.append(plain.module(*plain.arguments(latents)))
    return not torch.equal(*samples)


def _difference(
    plain: PlainGenerator, weights: Mapping[str, Tensor], generate: Generate, latents: Tensor, *, draws: bool
) -> tuple[float, float]:
    """The largest difference of a program's samples from ours, drawn from the same latents in calls of two sizes, and
    the largest that is allowed. Where the generator draws too, it is that from the samples of the module.
    """
    call, arguments = Call([plain.config.lane.batch_norm_eps]), plain.arguments(latents)

    def ours(rows: slice, dtype: torch.dtype = torch.float32) -> Tensor:
        stacked = {name: tensor.unsqueeze(0).to(dtype) for name, tensor in weights.items()}
        return plain.networks.generator(stacked, latents[None, rows].to(dtype), call)[0]

    def samples_of(module: Generate) -> Tensor:
        with own_randomness(0):
            return torch.cat([module(*(part[rows] for part in arguments)) for rows in calls])

    with torch.no_grad(), lane_arithmetic():
        calls = _calls(ours)
        mine = samples_of(plain.module) if draws else torch.cat([ours(rows) for rows in calls])
        theirs = samples_of(generate)
        try:
            exact = mine if draws else torch.cat([ours(rows, torch.float64) for rows in calls])
        except OwnCodeError:  # some classes compute in float32 alone
            exact = mine
    if theirs.shape != mine.shape:
        return math.nan, LARGEST_DIFFERENCE
    scale = max(1.0, float(exact.abs().max()))
    rounding = float((mine - exact).abs().max()) / scale
    return float((theirs - mine).abs().max()) / scale, max(LARGEST_DIFFERENCE, ROUNDINGS * rounding)


def _calls(draw: Callable[[slice], Tensor]) -> Sequence[slice]:
    """The rows of two calls, the first of one sample, or of two where a generator refuses one, as some norms do."""
    try:
        draw(slice(1))
    except OwnCodeError:
        return slice(2), slice(2, None)
    return slice(1), slice(1, None)


def _traced(plain: PlainGenerator) -> torch.export.ExportedProgram:
    """The module as a `torch.export` program, which keeps no file names of this machine."""
    batch = torch.export.Dim("batch")
    shapes = tuple({0: batch} for _ in plain.inputs)
    try:
        program = torch.export.export(plain.module, plain.examples(), dynamic_shapes=shapes)
    except Exception as error:  # torch's, or of a person's own code within
        try:  # analysing the Python, for which `len(x)` is any number too
            program = torch.export.export(plain.module, plain.examples(), dynamic_shapes=shapes, strict=True)
        except Exception:  # that one says less, and without the line of the code
            raise error from None
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    return program


def _pt2(plain: PlainGenerator, metadata: Mapping[str, Any]) -> tuple[dict[str, bytes], Generate]:
    """A `torch.export` archive."""
    file = io.BytesIO()
    torch.export.save(_traced(plain), file, extra_files={f"{METADATA}.json": json.dumps(metadata)})
    content = file.getvalue()
    return {"": content}, torch.export.load(io.BytesIO(content)).module()


def _torchscript(plain: PlainGenerator, metadata: Mapping[str, Any]) -> tuple[dict[str, bytes], Generate]:
    """A traced module in a TorchScript archive. PyTorch deprecates the format, and warns at every call."""
    _traced(plain)  # raises for what depends on the values of tensors, where the trace would keep one branch
    file = io.BytesIO()
    traced = torch.jit.trace(plain.module, plain.examples(), check_trace=False)
    torch.jit.save(traced, file, _extra_files={f"{METADATA}.json": json.dumps(metadata)})
    content = file.getvalue()
    return {"": content}, torch.jit.load(io.BytesIO(content))


def _onnx(plain: PlainGenerator, metadata: Mapping[str, Any]) -> tuple[dict[str, bytes], Generate | None]:
    """An ONNX model; it can be run where onnxruntime is installed."""
    if missing := [name for name in ("onnx", "onnxscript") if not installed(name)]:
        raise InputError(f"format onnx needs {' and '.join(missing)}: pip install 'gan-sweep[onnx]'")
    names, samples = [given.name for given in plain.inputs], metadata["output"]["name"]
    program = torch.onnx.export(_traced(plain), input_names=names, output_names=[samples], verbose=False)
    assert program is not None
    model = program.model_proto
    model.metadata_props.add(key=METADATA, value=json.dumps(metadata))
    content = model.SerializeToString()
    if not installed("onnxruntime"):
        return {"": content}, None
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def generate(*arguments: Tensor) -> Tensor:
        fed = {name: argument.numpy() for name, argument in zip(names, arguments, strict=True)}
        return torch.from_numpy(session.run([samples], fed)[0])

    return {"": content}, generate


def installed(package: str) -> bool:
    """Whether a package can be imported here."""
    return importlib.util.find_spec(package) is not None


def _safetensors(plain: PlainGenerator, metadata: Mapping[str, Any]) -> tuple[dict[str, bytes], Generate]:
    """The weights under their names in the module, and the program that defines it."""
    content = stored(plain.weights(), {"format": "pt", METADATA: json.dumps(metadata)})
    files = {path: text.encode() for path, text in plain.texts.items()}
    return {WEIGHTS: content, **files}, loaded(plain.texts, content)


FORMATS: dict[Format, Callable[[PlainGenerator, Mapping[str, Any]], tuple[dict[str, bytes], Generate | None]]] = {
    "pt2": _pt2,
    "onnx": _onnx,
    "torchscript": _torchscript,
    "safetensors+py": _safetensors,
}
