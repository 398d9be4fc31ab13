"""A person's own generator in formats of others: a folder that holds the class, and programs of what can be one."""

import importlib.util
import io
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from gan_core.config.gan import GanConfig
from gan_core.config.input_error import InputError
from gan_core.files.own_code import OwnCodeError, pinned
from gan_core.lanes.streams import Stream
from gan_core.networks.architectures import build_networks
from gan_core.networks.latents import shared_latents
from gan_core.workshop.exported_program import Exported, Format, exported
from gan_core.workshop.plain_generator import PlainGenerator, plain_generator
from gan_core.workshop.saved_generator import SampleKind, sample_generator

KIND = SampleKind((1, 8, 8), 0)
FILE = """
import torch
import torch.nn.functional as F
from torch import nn
from layers import last


class Generator(nn.Module):
    def __init__(self, latent_size):
        super().__init__()
        self.first, self.last = nn.Linear(latent_size, latent_size), last(latent_size, 64)
{made}

    def forward(self, z):
{done}
        return torch.tanh(self.last(z)).view(-1, 1, 8, 8)

{more}

class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, 1))

    def forward(self, x):
        return self.net(x)
"""
LAYERS = "from torch import nn\n\n\ndef last(inputs, outputs):\n    return nn.Linear(inputs, outputs)\n"
EXTRA_STATE = """
    def get_extra_state(self):
        return {"anything": self}

    def set_extra_state(self, state):
        raise AssertionError("nothing of a training is in it")
"""
FIRST, NOISE = "z = self.first(z)", "z = self.first(z) + torch.randn_like(z)"
SECOND, TIMES = "z = self.b(self.first(z))", "z = self.first(z) * self.b"
MOVES = """
z = self.first(z)
if self.training:
    self.b.mul_(0.9).add_(0.1 * z.detach().mean(0))
z = z - self.b
"""
BRANCH = "z = self.first(z) if z.mean() > 0 else self.first(-z)"
BY_ROW = "z = torch.stack([self.first(z)[i] for i in range(len(z))])"
# What differs from a plain generator: lines of the constructor, and of forward.
KEPT = {
    "a weight of two names": ("self.b = nn.Linear(4, 4)\nself.b.weight = self.first.weight", SECOND),
    "a layer of two names": ("self.b = self.first", SECOND),
    "a view of a buffer": ("self.register_buffer('a', torch.ones(8))\nself.register_buffer('b', self.a[:4])", TIMES),
    "a drawn buffer that is not saved": ("self.register_buffer('b', torch.randn(4), False)", TIMES),
    "a buffer that moves and is not saved": ("self.register_buffer('b', torch.ones(4), False)", MOVES),
    "a drawn attribute": ("self.b = torch.randn(4)", TIMES),
    "spectral norm": ("nn.utils.parametrizations.spectral_norm(self.first)", FIRST),
    "weight norm": ("nn.utils.parametrizations.weight_norm(self.first)", FIRST),
    "a value of a tensor": ("", BRANCH),
    "statistics of the batch": ("self.b = nn.BatchNorm1d(4, track_running_stats=False)", SECOND),
    "float32 alone": ("", "z = self.first(z) + F.linear(torch.ones(1, 4), self.first.weight)"),
    "its own noise": ("", NOISE),
    "dropout while sampling": ("", "z = self.first(F.dropout(z))"),
}


@pytest.fixture
def own(tmp_path) -> Callable[..., tuple[PlainGenerator, dict[str, Tensor]]]:
    """Makes a generator from lines of its constructor and of its forward, with weights as a training leaves them."""

    def make(made: str = "", done: str = FIRST, more: str = "") -> tuple[PlainGenerator, dict[str, Tensor]]:
        lines = [textwrap.indent(text or "pass", "        ") for text in (made, done)]
        (tmp_path / "my_gan.py").write_text(FILE.format(made=lines[0], done=lines[1], more=more))
        (tmp_path / "layers.py").write_text(LAYERS)
        text = pinned("structure.networks", "my_gan.py", tmp_path)
        values = {"structure.architecture": "own", "structure.networks": text, "structure.latent_size": 4}
        config = GanConfig.unflatten(values)
        network = build_networks(config.structure, KIND.shape, KIND.classes).generator
        initial = network.keyed_initial(3, Stream.GENERATOR_WEIGHTS)
        weights = {name: torch.from_numpy(1.1 * value).float() for name, value in initial.items()}
        return plain_generator(config, KIND, weights), weights

    return make


def loaded(made: Exported, folder: Path) -> nn.Module:
    """What `load` of a written folder returns, where other modules with the names of its files are loaded already."""
    for name, content in made.files.items():
        (folder / name).write_bytes(content)
    spec = importlib.util.spec_from_file_location("taken", folder / "generator.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    others = {name: ModuleType(name) for name in ("my_gan", "layers")}
    before = {name: sys.modules.get(name) for name in others}, list(sys.path)
    sys.modules.update(others)
    try:
        spec.loader.exec_module(module)
        assert {name: sys.modules[name] for name in others} == others
        return module.load()
    finally:
        sys.path[:] = before[1]
        for name, was in before[0].items():
            sys.modules.pop(name) if was is None else sys.modules.update({name: was})


def latents_of(plain: PlainGenerator, count: int) -> Tensor:
    return next(shared_latents(count, count, plain.config.structure, plain.networks, Stream.SAMPLE_LATENTS, 7))[0]


@pytest.mark.parametrize("name", KEPT)
def test_a_folder_draws_the_samples_of_ours(own, tmp_path, name):
    plain, weights = own(*KEPT[name])
    made = exported(plain, weights, "safetensors+py", {})
    assert made.difference is not None
    assert made.difference < 1e-6
    assert made.allowed == 1e-5
    assert made.draws == (name in ("its own noise", "dropout while sampling"))
    assert list(made.files) == ["generator.safetensors", "my_gan.py", "layers.py", "generator.py"]
    if not made.draws:
        folder = tmp_path / "taken"
        folder.mkdir()
        theirs = loaded(made, folder)(latents_of(plain, 5))
        ours = sample_generator(plain.config, KIND, weights, 5, 7)
        assert (theirs - ours).abs().max() < 1e-6
        assert ours.std(0).max() > 0.01


def test_extra_state_stays_as_the_constructor_leaves_it(own):
    plain, weights = own(more=EXTRA_STATE)
    assert exported(plain, weights, "safetensors+py", {}).difference == pytest.approx(0, abs=1e-6)


def test_a_transposed_convolution_takes_noise_in_both_shapes(own):
    plain, weights = own(
        "self.first = nn.ConvTranspose2d(4, 4, 1)", "z = self.first(z).flatten(1)\nassert z.shape[1] == 4"
    )
    noise = latents_of(plain, 5)
    samples = plain.module(noise)
    assert samples.shape == (5, 1, 8, 8)
    assert samples.equal(plain.module(noise[:, :, None, None]))
    assert "z = noise.reshape" not in plain.texts["my_gan.py"]
    assert "noise.reshape(noise.shape[0], 4, 1, 1)" in plain.texts["generator.py"]


def test_len_of_a_batch_is_any_number_in_a_program(own):
    plain, weights = own(done="z = self.first(z).view(len(z), 4)")
    made = exported(plain, weights, "pt2", {})
    program = torch.export.load(io.BytesIO(made.files[""])).module()
    for count in (1, 7):
        ours = sample_generator(plain.config, KIND, weights, count, 7)
        assert (program(latents_of(plain, count)) - ours).abs().max() < 1e-6


ELSE = r"; a folder/ holds your class itself$"
VALUES = r"its forward depends on the values of tensors \(my_gan.py, line 15\)" + ELSE
REFUSED: list[tuple[Format, str, str]] = [
    ("pt2", BRANCH, "cannot be written as pt2: " + VALUES),
    ("torchscript", BRANCH, "cannot be written as torchscript: " + VALUES),
    ("pt2", BY_ROW, "its forward computes another program for each number of samples" + ELSE),
    ("onnx", NOISE, "draws random numbers in its forward, and those of an ONNX model cannot be compared"),
    ("pt2", "import random\nz = self.first(z) + random.random()", r"pt2 program's samples differ from ours.*" + ELSE),
]


@pytest.mark.parametrize(("form", "done", "says"), REFUSED, ids=str)
def test_what_a_program_cannot_hold_is_one_line(own, capfd, form: Format, done, says):
    plain, weights = own(done=done)
    with pytest.raises(InputError, match=says) as raised:
        exported(plain, weights, form, {})
    assert "\n" not in str(raised.value)
    assert capfd.readouterr() == ("", "")


def test_an_error_of_theirs_when_the_folder_is_loaded_is_shown(own):
    plain, weights = own()
    wrong = plain.texts["my_gan.py"].replace("import torch\n", "raise ValueError('no')\n", 1)
    with pytest.raises(OwnCodeError, match=r"cannot be loaded: ValueError: no \(my_gan.py, line 2\)$") as raised:
        exported(replace(plain, texts={**plain.texts, "my_gan.py": wrong}), weights, "safetensors+py", {})
    assert "raise ValueError('no')" in raised.value.theirs
