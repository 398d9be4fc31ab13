"""Generators in formats of others: the same samples, of any number, with nothing of ours, and with a description."""

import io
import json
from typing import Any

import numpy as np
import pytest
import torch
from tiny_generators import GENERATORS, tiny

from gan_core.config.input_error import InputError
from gan_core.config.version import code_version
from gan_core.lanes.streams import Stream
from gan_core.networks.latents import shared_latents
from gan_core.workshop import exported_program
from gan_core.workshop.exported_program import FORMATS, METADATA, Format, exported
from gan_core.workshop.plain_generator import PlainGenerator, plain_generator
from gan_core.workshop.saved_generator import sample_generator

INPUTS = {
    "cgan": ["noise", "labels"],
    "infogan": ["noise", "codes", "continuous"],
    "infogan of no classes": ["noise", "continuous"],
}


def arguments(plain: PlainGenerator, count: int, seed: int) -> tuple[torch.Tensor, ...]:
    latents = shared_latents(count, count, plain.config.structure, plain.networks, Stream.SAMPLE_LATENTS, seed)
    return plain.arguments(next(latents)[0])


def generate(plain: PlainGenerator, form: Format, content: bytes, given: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Samples of a program, read as those who take it read it."""
    if form == "pt2":
        return torch.export.load(io.BytesIO(content)).module()(*given)
    if form == "torchscript":
        with pytest.warns((FutureWarning, DeprecationWarning)):
            return torch.jit.load(io.BytesIO(content))(*given)
    onnxruntime = pytest.importorskip("onnxruntime")
    names = [each.name for each in plain.inputs]
    fed = {name: tensor.numpy() for name, tensor in zip(names, given, strict=True)}
    return torch.from_numpy(onnxruntime.InferenceSession(content).run(None, fed)[0])


@pytest.mark.parametrize("name", GENERATORS)
def test_the_plain_module_draws_the_samples_of_ours(name):
    config, kind, weights = tiny(name)
    plain = plain_generator(config, kind, weights)
    assert [given.name for given in plain.inputs] == INPUTS.get(name, ["noise"])
    assert not plain.module.training
    for count in (1, 3, 16):
        ours = sample_generator(config, kind, weights, count, 7)
        with torch.no_grad():
            theirs = plain.module(*arguments(plain, count, 7))
        assert theirs.dtype == torch.float32
        assert (theirs - ours).abs().max() < 1e-6 * max(1, ours.abs().max())
    assert ours.shape == (16, *kind.shape)
    assert ours.std(0).max() > 0.05


@pytest.mark.parametrize("name", GENERATORS)
def test_the_weights_and_the_program_beside_them(name):
    config, kind, weights = tiny(name)
    plain = plain_generator(config, kind, weights)
    made = exported(plain, weights, "safetensors+py", {"note": "n"})
    assert list(made.files) == ["generator.safetensors", "generator.py"]
    assert made.difference is not None
    assert made.difference < 1e-6
    assert "gan_core" not in made.files["generator.py"].decode()
    assert max(map(len, made.files["generator.py"].decode().splitlines())) <= 120


def check_program(name: str, form: Format) -> None:
    """Reads what is written in a format and draws from it numbers of samples that it was not made with."""
    config, kind, weights = tiny(name)
    plain = plain_generator(config, kind, weights)
    made = exported(plain, weights, form, {"note": "n"})
    assert made.difference is not None
    assert made.difference < 2e-6
    for count in (1, 3, 16):
        theirs = generate(plain, form, made.files[""], arguments(plain, count, 3))
        ours = sample_generator(config, kind, weights, count, 3)
        assert (theirs - ours).abs().max() < 2e-6 * max(1, ours.abs().max())
    if plain.inputs[-1].name == "labels":
        noise, classes = torch.randn(1, 5).expand(10, -1), torch.arange(10)
        assert len(np.unique(generate(plain, form, made.files[""], (noise, classes)).numpy(), axis=0)) == 10
    assert b"site-packages" not in made.files[""]
    assert b"gan_core" not in made.files[""]


@pytest.mark.parametrize("name", ["mlp_bn", "cgan"])
def test_a_pt2_program_draws_any_number_of_the_samples_of_ours(name):
    check_program(name, "pt2")


@pytest.mark.slow
@pytest.mark.parametrize("form", ["pt2", "onnx", "torchscript"])
@pytest.mark.parametrize("name", GENERATORS)
def test_a_program_draws_any_number_of_the_samples_of_ours(name, form):
    if form == "onnx":
        pytest.importorskip("onnxscript")
    check_program(name, form)


def test_a_class_that_is_none_is_refused_by_a_program():
    config, kind, weights = tiny("cgan")
    plain = plain_generator(config, kind, weights)
    with pytest.raises(RuntimeError, match="Class values must be smaller"):
        plain.module(torch.zeros(1, 5), torch.tensor([10]))


def described(form: Format, content: bytes) -> Any:
    """The description that a file of a format holds."""
    if form == "onnx":
        import onnx

        return {prop.key: json.loads(prop.value) for prop in onnx.load_from_string(content).metadata_props}[METADATA]
    extra: Any = {f"{METADATA}.json": ""}
    if form == "pt2":
        torch.export.load(io.BytesIO(content), extra_files=extra)
    else:
        with pytest.warns((FutureWarning, DeprecationWarning)):
            torch.jit.load(io.BytesIO(content), _extra_files=extra)
    return json.loads(extra[f"{METADATA}.json"])


@pytest.mark.parametrize("form", ["pt2", "torchscript", pytest.param("onnx", marks=pytest.mark.slow)])
def test_a_file_says_what_goes_in_and_what_comes_out(form):
    if form == "onnx":
        pytest.importorskip("onnxscript")
    config, kind, weights = tiny("cgan")
    plain = plain_generator(config, kind, weights)
    assert described(form, exported(plain, weights, form, {"note": "n"}).files[""]) == {
        "note": "n",
        "inputs": [
            {"name": "noise", "shape": ["N", 5], "dtype": "float32", "distribution": "N(0, 1)"},
            {"name": "labels", "shape": ["N"], "dtype": "int64", "distribution": "whole numbers from 0 to 9"},
        ],
        "output": {"name": "images", "shape": ["N", 1, 8, 8], "dtype": "float32", "range": [-1, 1]},
    }
    assert code_version() in plain.texts["generator.py"]


@pytest.mark.parametrize("moved", [1e-3, float("nan")])
def test_a_program_whose_samples_are_not_ours_is_refused(moved):
    config, kind, weights = tiny("mlp")
    plain = plain_generator(config, kind, weights)
    with torch.no_grad():
        next(plain.module.parameters()).add_(moved)
    with pytest.raises(InputError, match=r"the safetensors\+py program's samples differ from ours by .*1e-05; nothing"):
        exported(plain, weights, "safetensors+py", {})


def test_what_rounding_explains_is_no_difference(monkeypatch):
    """Outputs of a generator with steep layers hang by the last bits of large sums; ours do too."""
    config, kind, weights = tiny("mlp")
    steep = {name: 40 * tensor if name.endswith("weight") else tensor for name, tensor in weights.items()}
    plain, as_drawn = plain_generator(config, kind, steep), plain_generator(config, kind, weights)
    monkeypatch.setitem(FORMATS, "pt2", lambda made, _: ({"": b""}, lambda noise: made.module(noise) + 5e-5))
    made = exported(plain, steep, "pt2", {})
    assert made.difference == pytest.approx(5e-5, rel=0.1)
    assert 1e-4 < made.allowed < 0.1
    with pytest.raises(InputError, match=r"differ from ours by 5e-05, which is more than 1e-05"):
        exported(as_drawn, weights, "pt2", {})


def test_samples_of_another_shape_are_not_ours(monkeypatch):
    config, kind, weights = tiny("gaussian")
    plain = plain_generator(config, kind, weights)
    flat = lambda *_: ({"": b""}, lambda noise: plain.module(noise).flatten())  # noqa: E731
    monkeypatch.setitem(FORMATS, "pt2", flat)
    with pytest.raises(InputError, match="differ from ours by nan"):
        exported(plain, weights, "pt2", {})


def test_weights_of_another_generator_are_refused():
    config, kind, _ = tiny("mlp")
    _, _, weights = tiny("mlp_bn")
    with pytest.raises(InputError, match="the generator's weights do not fit the configuration beside them"):
        plain_generator(config, kind, weights)


def test_onnx_without_its_packages_is_one_line(monkeypatch):
    config, kind, weights = tiny("mlp")
    plain = plain_generator(config, kind, weights)
    monkeypatch.setattr(exported_program, "installed", lambda name: name != "onnxscript")
    with pytest.raises(InputError, match=r"format onnx needs onnxscript: pip install 'gan-sweep\[onnx\]'"):
        exported(plain, weights, "onnx", {})


@pytest.mark.slow
def test_onnx_without_its_runtime_is_written_and_not_compared(monkeypatch):
    pytest.importorskip("onnxscript")
    config, kind, weights = tiny("mlp")
    plain = plain_generator(config, kind, weights)
    monkeypatch.setattr(exported_program, "installed", lambda name: name != "onnxruntime")
    made = exported(plain, weights, "onnx", {})
    assert made.difference is None
    assert len(made.files[""]) > 1000
