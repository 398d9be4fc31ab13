"""A person's own game: its functions are those of one lane, and training with it is a plain loop."""

import sys
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from plain_torch import PlainGan
from tiny_arrays import train
from torch import Tensor
from torch_twins import give

from gan_core.config.gan import GanConfig
from gan_core.config.input_error import InputError
from gan_core.config.lane import LaneConfig
from gan_core.config.structure import StructureConfig
from gan_core.files.own_code import OwnCodeError, pinned
from gan_core.game.losses import LOSSES
from gan_core.game.own_losses import loss_of, own_loss
from gan_core.game.step import Game
from gan_core.lanes.axis import plain_calls
from gan_core.networks.architectures import build_networks
from gan_core.training.compiled.watching import is_compiled
from gan_core.training.lane_array import LaneArray

STEPS = 50
OWN_MODULES = ("my_gan",)
HEAD = "import torch.nn.functional as F\n"
OWN = f"""{HEAD}
class relative:
    def discriminator(real, fake):
        return F.softplus(fake - real).mean()

    def generator(fake, real):
        return F.softplus(real - fake).mean()


class Hinge:
    def discriminator(real, fake):
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()

    def generator(fake):
        return -fake.mean()


class Bound:
    margin = 1.0

    def discriminator(self, real, fake, smoothing):
        return F.relu(self.margin - (1 - smoothing) * real).mean() + F.relu(self.margin + fake).mean()

    @staticmethod
    def generator(fake, scale=1.0):
        return -scale * fake.mean()


def of_d(real, fake):
    return fake.mean() - real.mean() if float(fake.detach().mean()) < 1e9 else fake.sum()


pair = of_d, lambda fake, real=None: -fake.mean()
one = Bound()
"""


LEARNED = """import torch


class my(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def discriminator(self, real, fake):
        return self.scale * (fake - real).mean()

    def generator(self, fake):
        return -fake.mean()
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """References to names in a file of this text."""
    monkeypatch.setenv("GAN_SWEEP_CACHE", str(tmp_path / "cache"))

    def named(name: str, text: str = OWN) -> str:
        (tmp_path / "my_gan.py").write_text(text)
        return pinned("structure.loss", f"my_gan.py:{name}" if name else "my_gan.py", tmp_path)

    yield named
    for name in [name for name in sys.modules if name in OWN_MODULES]:
        del sys.modules[name]


def logits(lanes: int = 3, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((lanes, 7)))


def test_the_functions_of_one_lane_are_those_of_each(own):
    real, fake, smoothing = logits(), logits(seed=1), torch.tensor([0.0, 0.1, 0.3], dtype=torch.float64)
    mine = own_loss(own("relative"))
    assert mine.sees_real
    torch.testing.assert_close(mine.discriminator(real, fake, smoothing), F.softplus(fake - real).mean(1))
    torch.testing.assert_close(mine.generator(fake, real), F.softplus(real - fake).mean(1))
    for name in ("Bound", "one"):
        mine = own_loss(own(name))
        expected = F.relu(1 - (1 - smoothing).unsqueeze(1) * real).mean(1) + F.relu(1 + fake).mean(1)
        torch.testing.assert_close(mine.discriminator(real, fake, smoothing), expected)
        torch.testing.assert_close(mine.generator(fake), -fake.mean(1))
        assert not mine.sees_real


def test_all_lanes_are_one_call_where_that_gives_the_same(own):
    real, fake, smoothing = logits(), logits(seed=1), torch.zeros(3, dtype=torch.float64)
    with plain_calls():  # as on a GPU
        for name in ("relative", "pair"):  # the second looks at its values, for which vmap has no rule
            mine = own_loss(own(name))
            assert mine.sees_real
            together = mine.discriminator(real, fake, smoothing)
            alone = [mine.discriminator(real[i : i + 1], fake[i : i + 1], smoothing[i : i + 1]) for i in range(3)]
            torch.testing.assert_close(together, torch.cat(alone), rtol=1e-12, atol=1e-12)


def test_a_lanes_bits_do_not_depend_on_the_others(own):
    mine, real, fake = own_loss(own("relative")), logits(5).float(), logits(5, seed=1).float()
    smoothing = torch.zeros(5)
    whole = mine.discriminator(real, fake, smoothing)
    assert whole[3:4].equal(mine.discriminator(real[3:4].clone(), fake[3:4].clone(), smoothing[3:4]))


def test_the_relativistic_loss_is_that_of_the_paper():
    real, fake = logits(), logits(seed=1)
    ours = LOSSES["relativistic"]
    assert ours.sees_real
    torch.testing.assert_close(ours.discriminator(real, fake, torch.zeros(3)), -F.logsigmoid(real - fake).mean(1))
    torch.testing.assert_close(ours.generator(fake, real), -F.logsigmoid(fake - real).mean(1))
    assert loss_of("hinge") is LOSSES["hinge"]


class RelativeGan(PlainGan):
    """The training loop of a relativistic game: G's step judges the real batch again."""

    def real(self) -> tuple[Tensor, Tensor | None]:
        self.shown = super().real()
        return self.shown

    def loss_of_discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return F.softplus(fake - real).mean()

    def loss_of_generator(self, fake: Tensor) -> Tensor:
        self._enter(6)
        real = self.discriminator(self.noised(self.shown[0], 0), self.shown[1])[:, 0]
        return F.softplus(real.detach() - fake).mean()


@pytest.mark.parametrize(
    ("loss", "more"),
    [
        ("relative", {}),
        ("relative", {"update_order": "generator_first"}),
        ("relativistic", {"gradient_penalty": "r1"}),
        ("relative", {"discriminator_norm": "batch", "loss_reduction": "sum"}),
    ],
    ids=str,
)
def test_fifty_steps_of_an_own_game_are_those_of_a_plain_loop(own, few: Any, loss: str, more: dict[str, Any]):
    widths = {"generator_width": 6, "discriminator_width": 5, "latent_size": 4, "batch_size": 7}
    named: Any = loss if loss in LOSSES else own(loss)
    structure = StructureConfig(**widths, **more, loss=named)
    first: Any = {"instance_noise": 0.1} if "discriminator_norm" in more else {"discriminator_dropout": 0.2}
    second: Any = {"penalty_weight": 0.5} if "gradient_penalty" in more else {}
    lanes = [LaneConfig(generator_lr=2e-3, **first), LaneConfig(discriminator_lr=3e-3, beta1=0.5, **second)]
    configs = [GanConfig(structure=structure, lane=lane, seed=i, data_seed=i) for i, lane in enumerate(lanes)]
    array = LaneArray(configs, few("digits"), dtype=torch.float64, execution="replayed")
    followers = []
    for i, config in enumerate(configs):
        follower = RelativeGan(config, array.dataset)
        eps, momentum = [config.lane.batch_norm_eps] * 2, [config.lane.batch_norm_momentum] * 2
        give(array.networks.generator, array.state.generator.views, i, follower.generator, eps, momentum)
        give(array.networks.discriminator, array.state.discriminator.views, i, follower.discriminator, eps, momentum)
        followers.append(follower)
    train(array, STEPS)
    watched = array.state.watch.read()
    for i, follower in enumerate(followers):
        follower.train(STEPS)
        for name in ("d_loss", "g_loss", "d_gradient", "g_gradient"):
            assert watched[i][name] == pytest.approx(np.mean(follower.watched[name]), rel=1e-7), (i, name)
    assert watched[0]["g_loss"] != watched[1]["g_loss"]


def test_an_own_game_of_known_operations_is_compiled_like_a_shipped_one(own):
    structure = StructureConfig(generator_width=6, discriminator_width=5, latent_size=4, loss=own("Hinge"))  # pyright: ignore
    assert is_compiled(Game(structure, build_networks(structure, (1, 8, 8))))


@pytest.mark.parametrize(
    ("text", "name", "says"),
    [
        (OWN, "", "must say which loss of the file is meant"),
        (OWN, "lost", "has no 'lost'"),
        ("my = 3", "my", "must be a class with functions discriminator"),
        ("my = (1, 2)", "my", "or a pair of them, got 'tuple'"),
        (
            "my = (lambda real: real.mean(), lambda fake: fake.mean())",
            "my",
            r"must take \(real, fake\) or \(real, fake, s",
        ),
        ("my = (lambda r, f: r.mean(), lambda a, b, c: a.mean())", "my", r"must take \(fake\) or \(fake, real\)"),
        ("my = (lambda r, f: r - f, lambda f: f.mean())", "my", r"one number, .* got a tensor of shape \[5\]"),
        ("my = (lambda r, f: 3.0, lambda f: f.mean())", "my", "must return one number, .* got float"),
        ("my = (lambda r, f: (r - f).detach().mean(), lambda f: f.mean())", "my", "a number without a gradient"),
        (
            "my = (lambda r, f: (r - f).mean(), lambda f, real: real.mean())",
            "my",
            "generator .* on the logits of fakes",
        ),
        (
            "my = (lambda r, f: -r.log().mean(), lambda f: f.mean())",
            "my",
            "discriminator .* must be finite.* got nan for",
        ),
        ("my = (lambda r, f: (r - f).mean(), lambda f: (f - f).sqrt().sum())", "my", "generator .* its gradients too"),
        (LEARNED, "my", "got parameters of its own that require gradients, which nothing would train"),
    ],
)
def test_what_is_no_loss_is_one_line(own, text, name, says):
    with pytest.raises(InputError, match=says):
        own_loss(own(name, text))


def test_an_error_in_a_loss_is_theirs(own):
    reference = own("my", "def d(real, fake):\n    return real.nonsense()\n\n\nmy = d, d\n")
    with pytest.raises(OwnCodeError, match=r"no attribute 'nonsense' \(my_gan.py, line 2\)") as error:
        own_loss(reference)
    assert "return real.nonsense()" in error.value.theirs
    assert "own_losses" not in error.value.theirs
    later = own("my", "def d(real, fake):\n    assert len(real) == 5\n    return (fake - real).mean()\n\n\nmy = d, d\n")
    with pytest.raises(InputError, match=r"AssertionError: no message \(my_gan.py, line 2\)"):
        own_loss(later).discriminator(logits(), logits(), torch.zeros(3))


def test_a_loss_that_looks_at_values_is_called_as_it_stands(own, few: Any):
    """What a trace would write down is only one of its ways."""
    text = "def g(fake):\n    return fake.mean() if fake.mean() > 0 else -fake.mean()\n\n\n"
    text += "my = (lambda r, f: (f - r).mean()), g\n"
    loss = own("my", text)
    assert not own_loss(loss).traced
    structure = StructureConfig(generator_width=6, discriminator_width=5, latent_size=4, loss=loss)  # pyright: ignore
    array = LaneArray([GanConfig(structure=structure)], few("digits"))
    array.train_to(128)
    assert array.carried_out == "eager"
