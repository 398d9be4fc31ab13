"""What is found out about a person's modules, and what is refused."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from published_modules import PUBLISHED, HalvingDiscriminator, MlpDiscriminator, MlpGenerator
from torch import Tensor, nn
from torch.nn.utils import spectral_norm as older_spectral_norm
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from gan_core.config.conditions import Execution
from gan_core.config.gan import GanConfig
from gan_core.config.input_error import InputError
from gan_core.config.lane import LaneConfig
from gan_core.config.structure import StructureConfig
from gan_core.data.dataset import load_dataset
from gan_core.files.own_code import OwnCodeError
from gan_core.game.step import Game
from gan_core.native.toolchain import told
from gan_core.networks.build import Networks
from gan_core.networks.own_lanes import OwnNetwork
from gan_core.networks.own_modules import own_networks
from gan_core.training.lane_array import LaneArray

SHAPE = (1, 8, 8)
STRUCTURE = StructureConfig(latent_size=6, batch_size=5)


class Judge(nn.Module):
    """A D of some layers between a convolution and a logit."""

    def __init__(self, *layers: nn.Module, width: int = 4 * 16) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 4, 2, 1)
        self.layers = nn.Sequential(*layers)
        self.last = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.layers(F.leaky_relu(self.first(x), 0.2)).flatten(1))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        words = x.flatten(2).mT
        return self.heads(words, words, words)[0].mT.reshape(x.shape)


class Itemised(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.sum().item() > 0 else x * 3


class Noise(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 0.1 * torch.randn_like(x)


class MinibatchDeviation(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((x, x.std(0).mean().expand(len(x), 1, *x.shape[2:])), 1)


class Constants(nn.Module):
    """Random numbers that no trial has for itself: in a buffer that is no part of the state, and in no buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shift", torch.randn(4, 4), persistent=False)
        self.scale = torch.rand(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale.to(x) + cast(Tensor, self.shift)


class Counter(nn.Module):
    """State in an attribute: each call counts."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x * min(1.0, self.calls / 50)


class Drawing(nn.Module):
    """The same: a generator of random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.source = torch.Generator().manual_seed(0)

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.rand(x.shape, generator=self.source)


class Listed(nn.Module):
    """A layer whose weight is called by another name."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 64)
        self.others = [self.layer.weight]

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.flatten(1), self.others[0])


class Again(nn.Module):
    """A layer that is called again in the backward pass, as `torch.utils.checkpoint` does, which takes long to load."""

    class Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, layer: nn.Module, x: Tensor) -> Tensor:
            ctx.layer, ctx.x = layer, x.detach()
            return layer(x)

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            with torch.enable_grad():
                x = ctx.x.requires_grad_()
                return None, *torch.autograd.grad(ctx.layer(x), x, gradient)

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 64)

    def forward(self, x: Tensor) -> Tensor:
        return self.Function.apply(self.layer, x.flatten(1))


KEEPS = "Discriminator computes something else once it has been called"
JUDGES: dict[str, Callable[[], nn.Module]] = {
    "plain": Judge,
    "batch norm": lambda: Judge(nn.BatchNorm2d(4)),
    "cumulative batch norm": lambda: Judge(nn.BatchNorm2d(4, momentum=cast(float, None))),
    "group norm": lambda: Judge(nn.GroupNorm(2, 4), nn.InstanceNorm2d(4)),
    "layer norm": lambda: Judge(nn.LayerNorm([4, 4, 4]), nn.SiLU(), nn.InstanceNorm2d(4, affine=True)),
    "grouped": lambda: Judge(nn.Conv2d(4, 4, 3, 1, 1, groups=2), nn.ConvTranspose2d(4, 4, 3, 1, 1)),
    "attention": lambda: Judge(Attention()),
    "upsampling": lambda: Judge(nn.Upsample(scale_factor=2), width=4 * 64),
    "deviation": lambda: Judge(MinibatchDeviation(), width=5 * 16),
    "spectral norm": lambda: Judge(spectral_norm(nn.Conv2d(4, 4, 3, 1, 1))),
    "older spectral norm": lambda: Judge(older_spectral_norm(nn.Conv2d(4, 4, 3, 1, 1))),
    "weight norm": lambda: Judge(weight_norm(nn.Conv2d(4, 4, 3, 1, 1))),
    "dropout": lambda: Judge(nn.Dropout(0.3), nn.Dropout2d(0.4), nn.AlphaDropout(0.2)),
    "constants": lambda: Judge(Constants()),
    "item": lambda: Judge(Itemised()),
    "noise": lambda: Judge(Noise()),
}
NOT_VMAPPED = ("cumulative batch norm", "item", "noise")


def networks_of(generator: Any = MlpGenerator, discriminator: Any = MlpDiscriminator, **changes: Any) -> Networks:
    return own_networks(generator, discriminator, replace(STRUCTURE, **changes), SHAPE, 0)


def judge_of(make: Callable[[], nn.Module], **changes: Any) -> OwnNetwork:
    return cast(OwnNetwork, networks_of(discriminator=make, **changes).discriminator)


@pytest.mark.parametrize("name", JUDGES)
def test_lanes_are_vmapped_where_that_gives_their_own_gradients(name: str):
    traits = judge_of(JUDGES[name]).traits
    assert traits.vmapped == traits.traced == (name not in NOT_VMAPPED)
    assert traits.plain == traits.vmapped  # also with the calls that C has kernels for
    assert traits.random == (name == "noise")
    assert traits.dropouts == (3 if name == "dropout" else 0)


TOGETHER = ("plain", "group norm", "layer norm", "grouped", "attention", "upsampling", "weight norm", "constants")


@pytest.mark.parametrize("name", JUDGES)
def test_batches_are_joined_where_rows_are_treated_by_themselves(name: str):
    networks = networks_of(discriminator=JUDGES[name])
    assert networks.own is not None
    assert networks.own.rowwise == (name in TOGETHER)
    assert Game(STRUCTURE, networks).judged_apart == (name not in TOGETHER)


@pytest.mark.parametrize("name", [name for name in JUDGES if "batch norm" not in name and name not in NOT_VMAPPED])
def test_penalties_are_differentiated_twice_in_vmap(name: str):
    assert judge_of(JUDGES[name], gradient_penalty="r1").traits.vmapped


def test_a_vmap_that_gives_other_numbers_is_not_used(monkeypatch: pytest.MonkeyPatch):
    together = OwnNetwork.together
    monkeypatch.setattr(OwnNetwork, "together", lambda *given: together(*given) * (1 + 1e-8))
    assert not judge_of(lambda: Judge()).traits.vmapped  # a lambda of its own, which has not been examined


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_classes_are_vmapped_and_end_in_the_sigmoid_that_they_have(name: str):
    networks = own_networks(*PUBLISHED[name], STRUCTURE, SHAPE, 10 if name == "cgan" else 0)
    assert networks.own is not None
    assert networks.own.vmapped
    assert networks.carried(torch.device("cuda")) == "vmapped"
    assert networks.conditional == (name == "cgan")
    traits = cast(OwnNetwork, networks.discriminator).traits
    assert traits.last_sigmoid == (None if name == "cgan" else 0)


class Gated(nn.Module):
    """A sigmoid that is not the last call."""

    def __init__(self, last: Callable[[Tensor], Tensor] = lambda x: x) -> None:
        super().__init__()
        self.gate, self.decide, self.last = nn.Linear(64, 64), nn.Linear(64, 1), last

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        return self.last(self.decide(x * torch.sigmoid(self.gate(x))))


def test_a_sigmoid_within_a_network_stays():
    assert judge_of(Gated).traits.last_sigmoid is None
    for ends in (F.sigmoid, Tensor.sigmoid, nn.Sigmoid(), lambda x: torch.sigmoid(x).view(-1, 1).squeeze(1)):
        assert judge_of(lambda ends=ends: Gated(ends)).traits.last_sigmoid == 1


def test_probabilities_that_are_made_otherwise_are_refused():
    for ends in (lambda x: torch.sigmoid(x).clamp(1e-3, 0.999), lambda x: (x.tanh() + 1) / 2):
        with pytest.raises(InputError, match="must return logits, or end in a sigmoid"):
            judge_of(lambda ends=ends: Gated(ends))


class Returns(nn.Module):
    """A network that returns what a function makes of its first argument and of one weight."""

    def __init__(self, answer: Callable[[Tensor, Tensor], Any], weight: Any = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1)) if weight is None else weight
        self.answer = answer

    def forward(self, x: Tensor) -> Any:
        return self.answer(x.flatten(1), self.weight)


class NeedsDepth(MlpGenerator):
    def __init__(self, depth: int, width: int = 8, latent_size: int = 100) -> None:
        super().__init__(latent_size, width)


class Labelled(HalvingDiscriminator):
    def forward(self, img: Tensor, y: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().forward(img)


SHARED = nn.Parameter(torch.ones(1))


def returning(answer: Callable[[Tensor, Tensor], Any], weight: Any = None) -> Callable[[], nn.Module]:
    return lambda: Returns(answer, weight)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "samples of another shape": (
        {"generator": returning(lambda x, w: (w * x).new_ones(len(x), 1, 9, 9))},
        r"Generator must return samples \[N, 1, 8, 8\], got \[N, 1, 9, 9\]",
    ),
    "no tensor": ({"generator": returning(lambda x, w: (x, w))}, "Generator must return samples .* got tuple"),
    "several logits": (
        {"discriminator": returning(lambda x, w: x[:, :3] * w)},
        r"Discriminator must return logits \[N\] or \[N, 1\], got \[N, 3\]",
    ),
    "whole numbers": (
        {"discriminator": returning(lambda x, w: x[:, :1].long())},
        "Discriminator must return .* of the type of its input, got torch.int64",
    ),
    "another device": (
        {"discriminator": returning(lambda x, w: x[:, 0].to("meta"))},
        "Discriminator must stay on the device of its input, got what lies on meta",
    ),
    "not finite": (
        {"generator": returning(lambda x, w: (x[:, :1] * w / 0).expand(-1, 64))},
        "Generator returns numbers that are not finite in its first forward",
    ),
    "no gradient of the weights": (
        {"discriminator": returning(lambda x, w: (x[:, 0] * w).detach())},
        r"Discriminator cannot be trained: .* no gradient with respect to its weights, as after .detach\(\)",
    ),
    "no gradient at all": (
        {"generator": returning(torch.no_grad()(lambda x, w: x[:, :1].expand(-1, 64) * w))},
        "Generator cannot be trained: .* no gradient with respect to its weights",
    ),
    "no gradient of the samples": (
        {"discriminator": returning(lambda x, w: x[:, 0].detach() * w)},
        "Generator cannot be trained: what Discriminator returns has no gradient with respect to its samples",
    ),
    "half precision": (
        {"generator": returning(lambda x, w: (x[:, :1].expand(-1, 64) * w).half())},
        r"Generator must return samples \[N, 1, 8, 8\] of the type of its input, got torch.float16 for torch.float32",
    ),
    "double precision": (
        {"discriminator": returning(lambda x, w: x[:, 0] * w, nn.Parameter(torch.ones(1).double()))},
        "Discriminator must have parameters of torch.float32, got weight in torch.float64",
    ),
    "a counter": ({"discriminator": lambda: Judge(Counter())}, KEEPS),
    "a generator of its own": ({"discriminator": lambda: Judge(Drawing())}, KEEPS),
    "weights of another name": ({"discriminator": lambda: Judge(Listed(), width=64)}, KEEPS),
    "a checkpoint": ({"discriminator": lambda: Judge(Again(), width=64)}, KEEPS),
    "shared": (
        {
            "generator": returning(lambda x, w: x[:, :1].expand(-1, 64) * w, SHARED),
            "discriminator": returning(lambda x, w: x[:, 0] * w, SHARED),
        },
        "must not share parameters, got weight in both",
    ),
    "made elsewhere": (
        {"discriminator": lambda: MlpDiscriminator().to("meta")},
        "Discriminator must be made on the CPU, got model.0.weight on meta",
    ),
    "complex": (
        {"discriminator": returning(lambda x, w: x[:, 0] * w.real, nn.Parameter(torch.ones(1, dtype=torch.cfloat)))},
        "Discriminator must have parameters of torch.float32, got weight in torch.complex64",
    ),
    "nothing to train": (
        {"discriminator": lambda: MlpDiscriminator().requires_grad_(False)},
        "Discriminator has no parameters that require gradients",
    ),
    "lazy": ({"discriminator": lambda: Judge(nn.LazyConv2d(4, 1))}, "got the lazy layers.0.weight"),
    "no module": ({"discriminator": lambda: 3}, "Discriminator must be an nn.Module, got 'int'"),
    "an argument without a value": (
        {"generator": NeedsDepth},
        "generator.depth has no default in the constructor",
    ),
    "labels in D alone": ({"discriminator": Labelled}, "both networks must take labels, or neither, got Discriminator"),
    "batch norm with a penalty": (
        {"discriminator": JUDGES["batch norm"], "gradient_penalty": "r1"},
        r"a gradient penalty \(r1\) .* got BatchNorm2d 'layers.0'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_networks_that_do_not_fit_are_refused_in_one_line(case: str):
    changes, message = REFUSED[case]
    with pytest.raises(InputError, match=message) as refused:
        networks_of(**changes)
    assert "\n" not in str(refused.value)


def test_images_without_negative_numbers_are_told_of():
    def made(last: nn.Module) -> nn.Module:
        linear = nn.Linear(6, 64)
        nn.init.constant_(linear.bias, 5.0)
        return nn.Sequential(linear, last)

    told.cache_clear()
    with warnings.catch_warnings(action="error"):
        networks_of(generator=lambda: made(nn.Tanh()))  # whose first samples are all positive
        networks_of(generator=lambda: made(nn.Identity()))
    for last in (nn.Sigmoid(), nn.ReLU()):
        told.cache_clear()
        with pytest.warns(UserWarning, match="Generator returns no negative numbers, and samples are in"):
            networks_of(generator=lambda last=last: made(last))


def test_labels_need_classes():
    with pytest.raises(InputError, match="need data with at least 2 classes, got 0"):
        own_networks(*PUBLISHED["cgan"], STRUCTURE, SHAPE, 0)


def test_arguments_that_a_constructor_lacks_are_refused():
    own = replace(STRUCTURE, architecture="own", networks="my.py#0123456789ab")
    for arguments, message in (
        ({"widht": 3}, "Generator has no argument 'widht'; did you mean 'width'?"),
        ({"latent_size": 3}, "generator.latent_size is passed by the sweep, from structure.latent_size"),
    ):
        structure = replace(own, generator=type(own.generator).of(arguments))
        with pytest.raises(InputError, match=message):
            own_networks(*PUBLISHED["mlp"], structure, SHAPE, 0)
    wide = replace(own, generator=type(own.generator).of({"width": 3}))
    assert own_networks(*PUBLISHED["mlp"], wide, SHAPE, 0).generator.shapes()["model.0.weight"] == (3, 6)


def test_what_modules_raise_is_told_as_theirs():
    def failing() -> nn.Module:
        raise KeyError("no such layer")

    def misfit(x: Tensor, w: Tensor) -> Tensor:
        raise ValueError("odd rows")

    with pytest.raises(OwnCodeError, match="Generator cannot be made: KeyError: 'no such layer'"):
        networks_of(generator=failing)
    with pytest.raises(OwnCodeError, match="Discriminator cannot be called: ValueError: odd rows"):
        networks_of(discriminator=returning(misfit))


def test_gradients_that_cannot_be_computed_are_told_of():
    def clipped(x: Tensor, w: Tensor) -> Tensor:
        with torch.no_grad():
            w.clamp_(-0.1, 0.1)
        return (x[:, :1] * w).square()

    message = (
        "the gradients of Discriminator cannot be computed: RuntimeError: one of the variables needed for gradient"
    )
    with pytest.raises(OwnCodeError, match=message):  # of the first batch, after the second
        networks_of(discriminator=returning(clipped))


def test_what_only_layers_of_ours_do_is_refused():
    def refused(message: str, structure: StructureConfig = STRUCTURE, **given: Any) -> None:
        config = GanConfig(structure=structure, lane=LaneConfig(**given.pop("lane", {})))
        with pytest.raises(InputError, match=message):
            LaneArray([config], load_dataset("digits"), networks=(MlpGenerator, MlpDiscriminator), **given)

    refused("precision 'bfloat16' is not for your own networks", precision="bfloat16")
    refused("discriminator_dropout needs an architecture that is not your own", lane={"discriminator_dropout": 0.1})
    refused("structure.discriminator_norm has no effect on your own", replace(STRUCTURE, discriminator_norm="spectral"))


def test_classes_given_in_python_make_configurations_of_own_networks():
    small = {"structure.latent_size": 6, "structure.batch_size": 4}
    configs = [GanConfig.unflatten({**small, "generator.width": 5, "seed": seed}) for seed in (1, 2)]
    array = LaneArray(configs, load_dataset("digits"), networks=(MlpGenerator, MlpDiscriminator), execution="eager")
    assert array.networks.generator.shapes()["model.0.weight"] == (5, 6)
    assert array.structure.is_own
    array.take_over([1, 1], [configs[1], configs[1]])
    assert array.train_to(8)
    with pytest.raises(InputError, match=r"these are networks of your own; give their classes, LaneArray\("):
        LaneArray(configs, load_dataset("digits"))
    with pytest.raises(InputError, match="generator.width must be a whole number, as its constructor says, got 'w'"):
        LaneArray(
            [GanConfig.unflatten({"generator.width": "w"})],
            load_dataset("digits"),
            networks=(MlpGenerator, MlpDiscriminator),
        )


@pytest.mark.parametrize(
    ("networks", "says"),
    [
        ("script.py", "got 'script.py'; a file with them is named in structure.networks"),
        ((MlpGenerator,), r"networks must be two classes of your own, \(Generator, Discriminator\), got \(<class"),
        ((MlpGenerator(), MlpDiscriminator()), "got an object of MlpGenerator, an object of MlpDiscriminator; a file"),
        ((), r"got \(\); a file"),
        (3, "got 3; a file"),
    ],
)
def test_what_is_not_two_classes_is_refused_in_one_line(networks: Any, says: str):
    with pytest.raises(InputError, match=says) as refused:
        LaneArray([GanConfig(structure=STRUCTURE)], load_dataset("digits"), networks=networks)
    assert "\n" not in str(refused.value)


def test_an_error_in_training_alone_is_told_as_theirs():
    class Late(MlpDiscriminator):
        def forward(self, x: Tensor) -> Tensor:
            if len(x) > 4:
                raise ValueError("too many")
            return super().forward(x)

    array = LaneArray([GanConfig(structure=STRUCTURE)], load_dataset("digits"), networks=(MlpGenerator, Late))
    with pytest.raises(OwnCodeError, match="Late cannot be called: ValueError: too many"):
        array.train_to(5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["batch norm", "group norm", "layer norm", "dropout"])
def test_steps_in_c_compute_what_eager_ones_do(name: str):
    networks, config = (MlpGenerator, JUDGES[name]), GanConfig(structure=STRUCTURE)
    arrays = [
        LaneArray([config], load_dataset("digits"), networks=networks, dtype=torch.float64, execution=way)
        for way in cast(tuple[Execution, ...], ("compiled", "eager"))
    ]
    for array in arrays:
        array.train_to(50)
    assert [array.carried_out for array in arrays] == ["compiled", "eager"]
    compiled, eager = (array.sample(3, 0) for array in arrays)
    assert torch.allclose(compiled, eager, rtol=0, atol=1e-12)
