"""A person's own modules train as in the plain loop that they come from."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from plain_loop import PlainLoop
from published_modules import PUBLISHED, MlpGenerator
from tiny_arrays import train
from torch import nn

from gan_core.config.gan import GanConfig
from gan_core.config.lane import LaneConfig
from gan_core.config.structure import StructureConfig
from gan_core.data.dataset import Dataset
from gan_core.lanes.streams import Stream
from gan_core.training.lane_array import LaneArray

STEPS = 50
SMALL: dict[str, Any] = {"latent_size": 7, "batch_size": 13}


def configs_of(structure: StructureConfig) -> list[GanConfig]:
    lanes = LaneConfig(generator_lr=1e-3, beta1=0.5), LaneConfig(discriminator_lr=2e-3, beta2=0.9)
    return [GanConfig(structure=structure, lane=lane, seed=3 + i, data_seed=i) for i, lane in enumerate(lanes)]


def given(array: LaneArray, lane: int, name: str) -> tuple[nn.Module, nn.Module]:
    """A lane's networks in plain torch, with its weights of now."""
    modules = PUBLISHED[name][0](latent_size=7).double(), PUBLISHED[name][1]().double()
    for module, rows in zip(modules, (array.state.generator, array.state.discriminator), strict=True):
        module.load_state_dict({weight: view[lane] for weight, view in rows.views.items()})
    return modules


def assert_near(mine: torch.Tensor, theirs: torch.Tensor, what: str) -> None:
    """To 1e-9 of each number, or of the largest."""
    scale = 1e-9 * theirs.detach().abs().max().item()
    np.testing.assert_allclose(mine.numpy(), theirs.detach().numpy(), rtol=1e-9, atol=scale, err_msg=what)


DEAR = [pytest.param(name, "compiled", marks=pytest.mark.slow) for name in PUBLISHED if name != "mlp_bn"]


@pytest.mark.parametrize(("name", "execution"), [*((n, "replayed") for n in PUBLISHED), ("mlp_bn", "compiled"), *DEAR])
def test_published_classes_follow_the_plain_loop(name: str, execution: Any, few: Callable[[str], Dataset]):
    order: Any = "generator_first" if name == "mlp_bn" else "discriminator_first"
    configs = configs_of(StructureConfig(update_order=order, **SMALL))
    array = LaneArray(configs, few("digits"), dtype=torch.float64, networks=PUBLISHED[name], execution=execution)
    loops = [
        PlainLoop(config, array.dataset, *given(array, lane, name), labels=name == "cgan")
        for lane, config in enumerate(configs)
    ]
    train(array, STEPS)
    latents = array.shared_latents(Stream.SCORE_LATENTS, 7, 5)
    samples = array.generate(latents)
    assert array.carried_out == execution
    assert array.networks.carried(torch.device("cpu")) == "looped"
    for lane, loop in enumerate(loops):
        loop.train(STEPS)
        for rows, module in ((array.state.generator, loop.generator), (array.state.discriminator, loop.discriminator)):
            theirs = {n: t for n, t in module.state_dict().items() if not n.endswith("num_batches_tracked")}
            assert set(rows.views) == set(theirs)
            for weight, tensor in theirs.items():
                assert_near(rows.views[weight][lane], tensor, f"lane {lane}, {weight}")
        noise, labels = latents[lane, :, :7], latents[lane, :, 7:].argmax(1) if name == "cgan" else None
        loop.generator.eval()
        with torch.no_grad():
            noise = noise.view(-1, 7, 1, 1) if name == "dcgan" else noise
            theirs = loop.generator(*loop.given(noise, labels)).view(-1, 1, 8, 8)
        assert_near(samples[lane], theirs, f"samples of lane {lane}")
    assert not array.state.generator.flat[0].equal(array.state.generator.flat[1])


class Recurrent(nn.Module):
    """A generator whose calls change tensors in place, shapes included, and whose buffer is one whole number."""

    calls: torch.Tensor

    def __init__(self, latent_size: int = 7) -> None:
        super().__init__()
        self.layer = nn.GRU(latent_size, 64, batch_first=True)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        self.calls += self.training
        z /= z.norm(dim=1, keepdim=True)  # which autograd allows because latents have no gradients
        return self.layer(z.unsqueeze_(1))[0][:, 0].view(-1, 1, 8, 8) * (self.calls / 20).clamp(max=1)


class Judge(nn.Module):
    """A discriminator with a layer between two others."""

    def __init__(self, between: nn.Module | None = None) -> None:
        super().__init__()
        self.layer, self.between, self.last = nn.Linear(64, 8), between or nn.Tanh(), nn.Linear(8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.last(self.between(self.layer(x.flatten(1)))))


class OldSpectral(nn.Module):
    """Spectral normalisation as it is often published for PyTorch: its singular vector is a parameter that requires no
    gradient, whose data are replaced in each forward.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 8))
        self.u = nn.Parameter(F.normalize(torch.randn(8), dim=0), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        v = F.normalize(self.weight.data.mT @ self.u.data, dim=0)
        self.u.data = F.normalize(self.weight.data @ v, dim=0)
        # A copy, because in PyTorch a second forward before the backward pass would change the vector of the first.
        return x @ (self.weight / (self.u.data.clone() @ self.weight @ v))


class Replaced(nn.Module):
    """The same with a weight that is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.weight.data = self.weight.data / self.weight.data.norm()
        return x @ self.weight


class Clipped(nn.Module):
    """A gradient that is clipped by its norm over the batch, which is a number of Python."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x * 1
        if x.requires_grad:
            x.register_hook(lambda gradient: gradient * min(1.0, 0.01 / float(gradient.norm())))
        return x


class SineByNumpy(torch.autograd.Function):
    """A function whose derivative no trace sees."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return gradient * torch.from_numpy(np.cos(np.from_dlpack(ctx.saved_tensors[0].detach())))


class Sine(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return SineByNumpy.apply(x)


class Attention(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        words = x.view(-1, 4, 2)
        return F.scaled_dot_product_attention(words, words * 2, words).flatten(1)


class InPlace(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.clamp_(-0.5, 0.5)


ODD: dict[str, tuple[type[nn.Module], str]] = {  # and how they are carried out
    "singular vectors in parameters": (OldSpectral, "replayed"),
    "replaced data": (Replaced, "replayed"),
    "a hook": (Clipped, "eager"),
    "a derivative by numpy": (Sine, "eager"),
    "attention": (Attention, "replayed"),
    "in place": (InPlace, "replayed"),
}


def trained(networks: Any, execution: Any, dataset: Dataset, **changes: Any) -> LaneArray:
    configs = configs_of(StructureConfig(**SMALL, **changes))
    array = LaneArray(configs, dataset, dtype=torch.float64, networks=networks, execution=execution)
    train(array, 6)
    return array


@pytest.mark.parametrize("odd", ODD)
def test_odd_layers_follow_the_plain_loop_however_they_are_carried_out(odd: str, few: Callable[[str], Dataset]):
    layer, carried_out = ODD[odd]
    networks = MlpGenerator, lambda: Judge(layer())
    replayed, eager = (trained(networks, way, few("digits")) for way in ("replayed", "eager"))
    assert (replayed.carried_out, eager.carried_out) == (carried_out, "eager")
    assert replayed.state.discriminator.flat.equal(eager.state.discriminator.flat)
    new = LaneArray(eager.configs, eager.dataset, dtype=torch.float64, networks=networks)
    for lane, config in enumerate(eager.configs):
        modules = MlpGenerator(latent_size=7).double(), Judge(layer()).double()
        for module, rows in zip(modules, (new.state.generator, new.state.discriminator), strict=True):
            module.load_state_dict({weight: view[lane] for weight, view in rows.views.items()})
        loop = PlainLoop(config, eager.dataset, *modules, labels=False)
        loop.train(6)
        for module, rows in zip(modules, (eager.state.generator, eager.state.discriminator), strict=True):
            for weight, tensor in module.state_dict().items():
                assert_near(rows.views[weight][lane], tensor, f"lane {lane}, {weight}")


def test_attention_is_differentiated_twice(few: Callable[[str], Dataset]):
    networks = MlpGenerator, lambda: Judge(Attention())
    replayed, eager = (trained(networks, way, few("digits"), gradient_penalty="r1") for way in ("replayed", "eager"))
    assert (replayed.carried_out, eager.carried_out) == ("replayed", "eager")
    assert replayed.state.discriminator.flat.equal(eager.state.discriminator.flat)


def test_what_changes_shapes_in_place_is_replayed_as_it_stands(few: Callable[[str], Dataset]):
    replayed, eager = (trained((Recurrent, Judge), way, few("digits")) for way in ("replayed", "eager"))
    assert (replayed.carried_out, eager.carried_out) == ("replayed", "eager")
    assert replayed.state.generator.flat.equal(eager.state.generator.flat)
    assert replayed.state.generator.views["calls"].flatten().tolist() == [12.0, 12.0]


def test_what_cannot_be_traced_is_called_as_it_stands(few: Callable[[str], Dataset], monkeypatch: pytest.MonkeyPatch):
    def unknown(*given: Any) -> None:
        raise RuntimeError("an unknown call")

    monkeypatch.setattr("gan_core.execution.programs.trace", unknown)
    with pytest.warns(UserWarning, match=r"steps of your networks cannot be repeated \(an unknown call\)"):
        array = trained((MlpGenerator, Judge), "replayed", few("digits"))
    assert array.carried_out == "eager"
    assert not array.state.generator.flat[0].equal(array.state.generator.flat[1])
