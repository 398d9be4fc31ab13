"""A generator's program in the formats that others read, each compared with our own samples before anybody writes it.

N samples. The dimension N of a program is dynamic: any number of samples may be drawn in one call.
"""

import importlib.util
import io
import json
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from safetensors.torch import load, save
from torch import Tensor

from gan_core.config.input_error import InputError
from gan_core.lanes.axis import lane_arithmetic
from gan_core.lanes.streams import Stream
from gan_core.networks.call import Call
from gan_core.networks.latents import shared_latents
from gan_core.workshop.plain_generator import SOURCE_NAME, WEIGHTS_NAME, PlainGenerator

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
    largest that would not have been refused.
    """

    files: Mapping[str, bytes]
    difference: float | None
    allowed: float


def exported(
    plain: PlainGenerator, weights: Mapping[str, Tensor], form: Format, metadata: Mapping[str, Any]
) -> Exported:
    """The generator in a format. weights: those that our networks sample with; metadata: plain values to keep with it.

    What was made is read again and run where that is possible, and its samples are compared with ours from the same
    latents. Raises InputError if they differ by more than LARGEST_DIFFERENCE and than rounding explains, or if the
    format needs a package that is not installed.
    """
    files, generate = FORMATS[form](plain, {**metadata, **plain.described()})
    difference, allowed = _difference(plain, weights, generate or plain.module)
    if not difference <= allowed:  # NaN is not
        raise InputError(
            f"the {form} program's samples differ from ours by {difference:.2g}, which is more than {allowed:.2g}; "
            "nothing was written"
        )
    return Exported(files, difference if generate else None, allowed)


def _difference(plain: PlainGenerator, weights: Mapping[str, Tensor], generate: Generate) -> tuple[float, float]:
    """The largest difference of a program's samples from ours, drawn from the same latents in calls of two sizes, and
    the largest that is allowed.
    """
    structure, call = plain.config.structure, Call([plain.config.lane.batch_norm_eps])
    drawn = shared_latents(CHECKED_SAMPLES, CHECKED_SAMPLES, structure, plain.networks, Stream.SAMPLE_LATENTS, 0)
    latents = next(drawn)
    arguments = plain.arguments(latents[0])
    stacked = {name: tensor.unsqueeze(0) for name, tensor in weights.items()}
    with torch.no_grad(), lane_arithmetic():
        ours = plain.networks.generator(stacked, latents, call)[0]
        doubled = {name: tensor.double() for name, tensor in stacked.items()}
        exact = plain.networks.generator(doubled, latents.double(), call)[0]
        theirs = torch.cat([generate(*(part[rows] for part in arguments)) for rows in (slice(1), slice(1, None))])
    if theirs.shape != ours.shape:
        return math.nan, LARGEST_DIFFERENCE
    scale = max(1.0, float(exact.abs().max()))
    rounding = float((ours - exact).abs().max()) / scale
    return float((theirs - ours).abs().max()) / scale, max(LARGEST_DIFFERENCE, ROUNDINGS * rounding)


def _traced(plain: PlainGenerator) -> torch.export.ExportedProgram:
    """The module as a `torch.export` program, which keeps no file names of this machine."""
    batch = torch.export.Dim("batch")
    program = torch.export.export(
        plain.module, plain.examples(), dynamic_shapes=tuple({0: batch} for _ in plain.inputs)
    )
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
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        traced = torch.jit.trace(plain.module, plain.examples())
        torch.jit.save(traced, file, _extra_files={f"{METADATA}.json": json.dumps(metadata)})
        content = file.getvalue()
        return {"": content}, torch.jit.load(io.BytesIO(content))


def _onnx(plain: PlainGenerator, metadata: Mapping[str, Any]) -> tuple[dict[str, bytes], Generate | None]:
    """An ONNX model; it can be run where onnxruntime is installed."""
    if missing := [name for name in ("onnx", "onnxscript") if not installed(name)]:
        raise InputError(f"format onnx needs {' and '.join(missing)}: pip install 'gan-sweep[onnx]'")
    names, samples = [given.name for given in plain.inputs], metadata["output"]["name"]
    with _quiet():
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


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings of the exporter that two inputs share their batch dimension, as they are meant to."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _safetensors(plain: PlainGenerator, metadata: Mapping[str, Any]) -> tuple[dict[str, bytes], Generate]:
    """The weights under their names in the module, and the program that defines it."""
    state = {name: tensor.contiguous() for name, tensor in plain.state().items()}
    content = save(state, {"format": "pt", METADATA: json.dumps(metadata)})
    code = {path: text.encode() for path, text in plain.code}
    name = SOURCE_NAME if SOURCE_NAME not in code else f"load_{SOURCE_NAME}"
    return {**code, WEIGHTS_NAME: content, name: plain.source.encode()}, plain.again(load(content))


FORMATS: dict[Format, Callable[[PlainGenerator, Mapping[str, Any]], tuple[dict[str, bytes], Generate | None]]] = {
    "pt2": _pt2,
    "onnx": _onnx,
    "torchscript": _torchscript,
    "safetensors+py": _safetensors,
}
