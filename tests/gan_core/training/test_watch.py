"""What is watched: sums against means computed apart, lanes that did not step, and the deaths that it finds."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_arrays import bits, configs_of, structure_of, train, trained
from torch import Tensor

from gan_core.config.gan import GanConfig
from gan_core.config.health import HealthConfig
from gan_core.config.lane import LaneConfig
from gan_core.config.structure import LossName, StructureConfig
from gan_core.data.dataset import Dataset
from gan_core.game.losses import LOSSES
from gan_core.game.step import Game
from gan_core.native.library import LaneMemory
from gan_core.networks.architectures import build_networks
from gan_core.training.compiled.watching import NativeWatch
from gan_core.training.draws import BLOCK_STEPS
from gan_core.training.lane_array import LaneArray
from gan_core.training.record import StepRecord
from gan_core.training.watch import SUMS, Watch

LIKE = torch.empty(0, dtype=torch.float64)
LAST = 3 * BLOCK_STEPS  # 1,536 images of batches of 16; a multiple of 3
TINY: dict[str, Any] = {"generator_width": 8, "discriminator_width": 8, "latent_size": 3, "batch_size": 16}


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def watch(lanes: int = 3, **thresholds: Any) -> Watch:
    return Watch.begin(lanes, LIKE, HealthConfig(**thresholds))


def column(of: Watch, name: str) -> list[float]:
    return of.sums[:, SUMS.index(name)].tolist()


def see_discriminator(seen: Watch, loss: Tensor, real: Tensor, fake: Tensor, *rest: Tensor | None) -> None:
    """One step of every D: loss, real, fake, penalty, information, gradient."""
    penalty, information, gradient = (torch.zeros_like(loss) if part is None else part for part in rest)
    seen.add_discriminator_steps(*(part.unsqueeze(0) for part in (loss, real, fake, penalty, information, gradient)))


def see_generator(seen: Watch, loss: Tensor, gradient: Tensor, active: list[bool], images: list[int]) -> None:
    seen.add_generator_steps(loss.unsqueeze(0), gradient.unsqueeze(0), [active], [images])


def test_what_is_read_is_the_mean_over_the_steps_of_each_lane():
    seen, losses, gradients = watch(), numbers(5, 3), numbers(5, 3, seed=1).abs()
    real, fake, penalties, information = (numbers(5, 3, 7, seed=s) for s in (2, 3, 4, 5))
    for step in range(5):
        extra = penalties[step].mean(1), information[step].mean(1)
        see_discriminator(seen, losses[step], real[step], fake[step], *extra, gradients[step])
    for lane, means in enumerate(seen.read()):
        assert means["d_loss"] == pytest.approx(losses[:, lane].mean().item(), rel=1e-12)
        assert means["d_loss_deviation"] == pytest.approx(losses[:, lane].std(correction=0).item(), rel=1e-9)
        above = sum(bool(a > b) for a, b in zip(real[:, lane].flatten(), fake[:, lane].flatten(), strict=True))
        assert means["discriminator_accuracy"] == pytest.approx(above / 35, rel=1e-12)
        assert means["penalty"] == pytest.approx(penalties[:, lane].mean().item(), rel=1e-12)
        assert means["d_information"] == pytest.approx(information[:, lane].mean().item(), rel=1e-12)
        assert means["d_gradient"] == pytest.approx(gradients[:, lane].mean().item(), rel=1e-12)
        assert [math.isnan(means[name]) for name in ("g_loss", "g_gradient", "sample_deviation")] == [True] * 3


def test_a_lane_that_took_no_generator_step_is_not_counted():
    seen, losses, norms = watch(), numbers(4, 3), numbers(4, 3, seed=1).abs()
    active = [[True, False, False], [True, True, False], [False, True, False], [True, True, False]]
    losses[0, 1] = math.nan  # of a step that this lane did not take
    for step in range(4):
        see_generator(seen, losses[step], norms[step], active[step], [8, 8, 8])
    assert column(seen, "g_steps") == [3, 3, 0]
    means = seen.read()
    assert means[0]["g_loss"] == pytest.approx(losses[[0, 1, 3], 0].mean().item(), rel=1e-12)
    assert means[1]["g_loss"] == pytest.approx(losses[[1, 2, 3], 1].mean().item(), rel=1e-12)
    assert means[1]["g_gradient"] == pytest.approx(norms[[1, 2, 3], 1].mean().item(), rel=1e-12)
    assert math.isnan(means[2]["g_loss"])


def test_images_without_a_gradient_are_counted_by_lane_and_begin_anew_with_one():
    seen, loss = watch(), torch.zeros(3).double()
    quiet, loud = torch.full_like(loss, 9e-7), torch.full_like(loss, 1e-6)
    for _ in range(2):
        see_generator(seen, loss, quiet, [True, True, False], [8, 80, 8])
    assert column(seen, "quiet_images") == [16, 160, 0]
    seen.read()
    assert column(seen, "quiet_images") == [16, 160, 0]  # reading leaves it
    see_generator(seen, loss, loud, [True, False, True], [8, 80, 8])
    assert column(seen, "quiet_images") == [0, 160, 0]
    see_generator(seen, loss, quiet, [True, True, True], [8, 80, 8])
    assert column(seen, "quiet_images") == [8, 240, 8]


def test_steps_added_together_are_those_added_one_by_one_bit_for_bit():
    one_by_one, together = watch(vanished_gradient=1.0), watch(vanished_gradient=1.0)
    losses, real, fake, penalties, information = (numbers(9, 3, 5, seed=s) for s in range(5))
    losses, penalties, information, norms = (
        losses[..., 0],
        penalties[..., 0],
        information[..., 0],
        2 * fake[..., 0].abs(),
    )
    active = (numbers(9, 3, seed=7) > -0.5).tolist()
    active[3], norms[5, 1], losses[5, 1] = [False] * 3, math.nan, math.nan
    active[5][1] = True
    images = [[8, 16, 24]] * 8 + [[0, 0, 0]]
    for first, last in ((0, 1), (1, 4), (4, 9)):
        part = slice(first, last)
        see = losses[part], real[part], fake[part], penalties[part], information[part], norms[part]
        together.add_discriminator_steps(*see)
        together.add_generator_steps(losses[part], norms[part], active[part], images[part])
    for step in range(9):
        parts = penalties[step], information[step], norms[step]
        see_discriminator(one_by_one, losses[step], real[step], fake[step], *parts)
        see_generator(one_by_one, losses[step], norms[step], active[step], images[step])
    assert bits(one_by_one.sums) == bits(together.sums)
    assert len({*column(together, "quiet_images")}) > 1


def test_images_with_still_samples_are_counted_by_lane_and_begin_anew():
    seen, real = watch(), numbers(3, 20, 2, 4)
    fake = real * torch.tensor([0.0, 9e-4, 2e-3], dtype=torch.float64).view(3, 1, 1, 1) + 5
    for _ in range(2):
        seen.see_samples(real, fake, 64)
    assert column(seen, "still_images") == [128, 128, 0]
    means = seen.read()
    assert [lane["sample_deviation"] for lane in means] == pytest.approx([0, 9e-4, 2e-3], abs=1e-12)
    assert column(seen, "still_images") == [128, 128, 0]
    seen.see_samples(real, fake.flip(0), 64)
    assert column(seen, "still_images") == [0, 192, 64]


def test_the_deviation_of_samples_is_that_of_each_pixel_over_the_batch():
    real, fake = numbers(2, 9, 1, 3, 3), numbers(2, 9, 1, 3, 3, seed=1)
    seen = watch(2)
    seen.see_samples(real, fake, 1)
    for lane, means in enumerate(seen.read()):
        ours = sum(fake[lane, :, 0, r, c].std().item() for r in range(3) for c in range(3))
        theirs = sum(real[lane, :, 0, r, c].std().item() for r in range(3) for c in range(3))
        assert means["sample_deviation"] == pytest.approx(ours / theirs, rel=1e-12)


@pytest.mark.parametrize("samples", [1, 5])
def test_real_samples_that_are_all_alike_tell_nothing(samples: int):
    seen = watch(2)
    seen.see_samples(torch.full((2, samples, 3), 0.5), numbers(2, samples, 3), 64)
    assert seen.dead() == [None, None]
    assert [means["sample_deviation"] for means in seen.read()] == [1, 1]


def test_a_constant_loss_has_no_deviation_whatever_the_rounding():
    seen = watch(1)
    for _ in range(7):
        see_discriminator(seen, torch.full((1,), 0.1), numbers(1, 2), numbers(1, 2), None, None, torch.ones(1))
    deviation = seen.means()[0]["d_loss_deviation"]
    assert 0 <= deviation < 1e-8
    assert math.copysign(1, deviation) == 1


def test_reading_begins_anew_and_looking_does_not():
    seen = watch()
    assert not seen.unread
    see_discriminator(seen, numbers(3), numbers(3, 4), numbers(3, 4, seed=1), None, None, torch.ones(3))
    assert seen.unread
    first, again = seen.means(), seen.read()
    assert [repr(lane) for lane in first] == [repr(lane) for lane in again]
    assert not seen.unread
    assert all(math.isnan(lane["d_loss"]) for lane in seen.read())


def test_the_numbers_of_a_lane_are_its_own(few: Any):
    configs = configs_of("gaussian minibatch r1")
    together = trained(configs, few("gaussian"), torch.float32, 33).state.watch
    for i, config in enumerate(configs):
        alone = trained([config], few("gaussian"), torch.float32, 33).state.watch
        assert bits(alone.sums[0]) == bits(together.sums[i])
    assert bits(together.take([2, 0]).sums) == bits(together.sums[[2, 0]])


def _nan_in_generator(array: LaneArray) -> None:
    array.state.generator.flat[1] = torch.nan


def _infinity_in_discriminator(array: LaneArray) -> None:
    array.state.discriminator.flat[1] = torch.inf


def _nan_in_adam(array: LaneArray) -> None:
    array.state.generator_adam.mean_square[1] = torch.nan


@pytest.mark.parametrize("plant", [_nan_in_generator, _infinity_in_discriminator, _nan_in_adam])
@pytest.mark.parametrize("case", ["mlp", "infogan", "mlp_bn generator_first"])
def test_a_lane_of_nan_stops_training_within_a_look_and_is_named(
    few: Any, case: str, plant: Callable[[LaneArray], None]
):
    array = trained(configs_of(case), few("digits"), torch.float32, 3)
    plant(array)
    steps = array.state.discriminator_steps
    assert not array.train_to(10**6)
    assert array.state.discriminator_steps - steps <= BLOCK_STEPS
    dead = array.dead()
    assert [found is None for found in dead] == [True, False, True, True]
    assert dead[1] is not None
    assert dead[1].outcome == "diverged"
    assert "nan" in dead[1].reason or "inf" in dead[1].reason
    array.keep([0, 2, 3])
    assert array.dead() == [None] * 3


def planted(digits: Dataset, lanes: list[LaneConfig], health: HealthConfig, **structure: Any) -> LaneArray:
    of = StructureConfig(**{**TINY, **structure})
    configs = [GanConfig(structure=of, lane=lane, seed=i) for i, lane in enumerate(lanes)]
    return LaneArray(configs, digits, health=health, execution="eager")


@pytest.mark.parametrize("order", ["discriminator_first", "generator_first"])
def test_a_saturated_lane_dies_of_its_vanished_gradient_counted_in_images_that_d_saw(digits: Dataset, order: str):
    lanes = [LaneConfig(discriminator_lr=0.0, discriminator_steps=k, generator_steps=g) for k, g in ((1, 1), (3, 2))]
    lanes.append(LaneConfig())
    health = HealthConfig(vanished_images=16 * LAST)
    array = planted(digits, lanes, health, loss="minimax_clamped", update_order=order)
    views = array.state.discriminator.views
    last = max((name for name in views if name.endswith("bias")), key=lambda name: int(name.partition(".")[0]))
    views[last][:2] = -50
    counted = []
    for step in range(1, LAST):
        array.train_to(16 * step)
        counted.append(column(array.state.watch, "quiet_images"))
    assert not array.train_to(10**6)
    counted.append(column(array.state.watch, "quiet_images"))
    assert array.state.images_seen == 16 * LAST
    first = 1 if order == "generator_first" else 0
    for step, quiet in enumerate(counted, 1):
        turns = step // 3 if not first else -(-step // 3)
        assert quiet == [16 * step, 16 * 3 * turns, 0]
    dead = array.dead()
    assert [found is None for found in dead] == [False, False, True]
    assert {found.reason for found in dead if found} == {
        "no gradient for G in 1,536 images: its norm stays below 1e-06"
    }
    assert {found.outcome for found in dead if found} == {"diverged"}


def test_the_same_logits_kill_nobody_in_the_unclamped_game(digits: Dataset):
    array = planted(digits, [LaneConfig(discriminator_lr=0.0)], HealthConfig(vanished_images=16 * BLOCK_STEPS))
    views = array.state.discriminator.views
    views[max((name for name in views if name.endswith("bias")), key=lambda name: int(name.partition(".")[0]))].fill_(
        -50
    )
    assert array.train_to(16 * 2 * BLOCK_STEPS)
    assert column(array.state.watch, "quiet_images") == [0]


def test_a_generator_that_ignores_its_latent_dies_as_collapsed(digits: Dataset):
    lanes = [LaneConfig(), LaneConfig(generator_lr=0.0)]
    array = planted(digits, lanes, HealthConfig(collapsed_images=16 * 3 * BLOCK_STEPS))
    for name, view in array.state.generator.views.items():
        if name.startswith("4."):  # the last of G's layers that has weights
            view[1] = 0
    assert array.train_to(16 * (3 * BLOCK_STEPS - 1))
    assert column(array.state.watch, "still_images") == [0, 16 * 2 * BLOCK_STEPS]
    assert not array.train_to(16 * 200)
    assert array.state.images_seen == 16 * 3 * BLOCK_STEPS
    dead = array.dead()
    assert dead[0] is None
    assert dead[1] is not None
    assert dead[1].outcome == "collapsed"
    assert f"{16 * 3 * BLOCK_STEPS:,} images" in dead[1].reason
    array.keep([0])
    assert array.train_to(16 * (3 * BLOCK_STEPS + 2))


def test_training_stops_at_every_look_while_a_dead_lane_is_kept(digits: Dataset):
    array = planted(digits, [LaneConfig(), LaneConfig()], HealthConfig())
    array.state.generator.flat[0] = torch.nan
    assert not array.train_to(16 * 1000)
    assert not array.train_to(16 * 1000)
    assert array.state.discriminator_steps == 2 * BLOCK_STEPS


def test_training_answers_of_deaths_since_the_last_look_too(digits: Dataset):
    array = planted(digits, [LaneConfig()], HealthConfig())
    array.state.generator.flat[0] = torch.nan
    assert not array.train_to(16 * 2)
    assert array.state.discriminator_steps == 2


@pytest.mark.parametrize(
    "case", ["gaussian minibatch r1", "mlp", "cgan", "dcgan", "infogan", "mlp_bn", "mlp_dropout sum"]
)
def test_no_family_of_default_lane_parameters_shows_a_fatal_sign_in_a_short_training(few: Any, case: str):
    structure = structure_of(case)
    configs = [GanConfig(structure=structure, seed=seed) for seed in range(2)]
    health = HealthConfig(vanished_images=32, collapsed_images=32)
    array = LaneArray(configs, few(structure.dataset), health=health, execution="eager")
    train(array, 65)
    assert array.dead() == [None, None]
    assert column(array.state.watch, "quiet_images") == column(array.state.watch, "still_images") == [0, 0]


def test_a_summed_loss_has_the_gradients_norm_of_its_mean(few: Any):
    means = []
    for reduction in ("mean", "sum"):
        structure = replace(structure_of("mlp"), loss_reduction=reduction)
        array = trained([GanConfig(structure=structure)], few("digits"), torch.float64, 1)
        means.append(array.state.watch.read()[0])
    assert means[0]["d_gradient"] == pytest.approx(means[1]["d_gradient"], rel=1e-12)
    assert means[0]["g_gradient"] == pytest.approx(means[1]["g_gradient"], rel=1e-3)  # D had moved, by Adam's eps apart


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("loss", [name for name, loss in LOSSES.items() if not loss.sees_real])
def test_lanes_watched_in_c_have_the_sums_of_those_watched_by_torch(loss: LossName, dtype: torch.dtype):
    """Of logits up to 30, of updates that some lanes take no part in, of a quiet lane, of samples that are alike."""
    lanes, batch, steps = 3, 13, 6
    structure = StructureConfig(**{**TINY, "batch_size": batch}, loss=loss, loss_reduction="sum")
    game = Game(structure, build_networks(structure, (1, 4, 4)))
    inputs = {"real": numbers(lanes, batch, 1, 4, 4), "fake": numbers(lanes, batch, 1, 4, 4, seed=1)}
    inputs |= {"smoothing": torch.tensor([0.0, 0.1, 0.3], dtype=torch.float64)}
    inputs["fake"][1] = inputs["fake"][1, :1]
    inputs = {name: tensor.to(dtype) for name, tensor in inputs.items()}
    seen = []
    for in_c in (True, False):
        mine = Watch.begin(lanes, inputs["real"], HealthConfig())
        record = StepRecord(mine, game, inputs, steps, 2 * steps)
        rows = record.tensors()
        watching = NativeWatch(mine, {**inputs, **rows}, game, LaneMemory()) if in_c else record
        for step in range(steps):
            rows["d_row"].copy_(10 * numbers(*rows["d_row"].shape, seed=2 + step))
            rows["g_row"].copy_(10 * numbers(*rows["g_row"].shape, seed=20 + step))
            rows["g_norm"].copy_(torch.tensor([13.0, 0.0, 0.0 if step > 2 else 13.0]))
            watching.discriminator()
            watching.generator([True, step > 3, True], [batch, 2 * batch, batch])
            watching.generator([step == 5, False, False], [0] * lanes)
        watching.settle()
        watching.look(70)
        seen.append(dict(zip(SUMS, mine.sums.T.clone(), strict=True)))
    for name in SUMS:
        # torch takes softplus for its argument from 20 on, which is off by 2e-9.
        tolerance: Any = {"rtol": 1e-9, "atol": 0.0} if dtype == torch.float64 else {"rtol": 1e-5, "atol": 1e-6}
        torch.testing.assert_close(seen[0][name], seen[1][name], **tolerance, msg=name)
    assert seen[0]["quiet_images"].tolist() == [0, 4 * batch, 3 * batch]
    assert seen[0]["still_images"].tolist() == [0, 70, 0]
    assert seen[0]["g_steps"].tolist() == [7, 2, 6]


def test_nan_is_watched_in_c():
    structure = StructureConfig(**TINY)
    game = Game(structure, build_networks(structure, (1, 4, 4)))
    inputs = {name: numbers(2, 16, 1, 4, 4).float() for name in ("real", "fake")} | {"smoothing": torch.zeros(2)}
    mine = Watch.begin(2, inputs["real"], HealthConfig())
    rows = StepRecord(mine, game, inputs, 1, 1).tensors()
    watching = NativeWatch(mine, {**inputs, **rows}, game, LaneMemory())
    rows["d_real"][0, 3], rows["g_fake"][0, 5], rows["g_norm"][0] = math.nan, math.nan, math.nan
    watching.discriminator()
    watching.generator([True, True], [16, 16])
    found = dict(zip(SUMS, mine.sums[0].tolist(), strict=True))
    assert all(math.isnan(found[name]) for name in ("d_loss", "g_loss", "g_gradient"))
    assert [death is None for death in mine.dead()] == [False, True]
