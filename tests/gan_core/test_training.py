"""The laws of an array of lanes, bit for bit on the CPU with one thread, and the same training in plain torch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_core.checkpoint import load_tensors, save_tensors
from gan_core.config import GanConfig, InputError, LaneConfig, StructureConfig
from gan_core.data import Dataset
from gan_core.lanes import Stream
from gan_core.training import LaneArray

STEPS = 8


def value_structure(discriminator_input: str, batch_size: int, width: int, **others) -> StructureConfig:
    values = {"generator_width": width, "discriminator_width": width, "latent_size": 1, **others}
    return StructureConfig(
        architecture="gaussian",
        dataset="gaussian",
        discriminator_input=discriminator_input,  # pyright: ignore[reportArgumentType]
        batch_size=batch_size,
        **values,
    )


STRUCTURES = {
    "sample": value_structure("sample", 100, 50, latent_distribution="uniform"),
    "minibatch": value_structure("minibatch", 13, 7),
    "moments": value_structure("moments", 100, 50, latent_size=5),
    "hinge": value_structure("sample", 13, 7, loss="hinge"),
    "least_squares": value_structure("moments", 13, 50, loss="least_squares"),
    "mlp": StructureConfig(generator_width=50, discriminator_width=7, latent_size=11, batch_size=13),
    "wide mlp": StructureConfig(
        generator_width=7, discriminator_width=257, batch_size=33, latent_size=5, loss="minimax"
    ),
}
LANES = [
    LaneConfig(generator_lr=1e-3, discriminator_lr=2e-3, discriminator_steps=1),
    LaneConfig(generator_lr=5e-3, discriminator_lr=1e-3, beta1=0.5, discriminator_steps=2, ema_half_life_images=300),
    LaneConfig(generator_lr=2e-3, discriminator_lr=5e-3, beta1=0.0, beta2=0.9, discriminator_steps=3),
    LaneConfig(generator_lr=1e-2, discriminator_lr=1e-4, beta2=0.99, ema_half_life_images=2000),
]


@pytest.fixture(scope="module", params=STRUCTURES)
def structure(request) -> StructureConfig:
    return STRUCTURES[request.param]


@pytest.fixture(scope="module", params=[torch.float32, torch.float64], ids=str)
def dtype(request) -> torch.dtype:
    return request.param


@pytest.fixture(scope="module")
def values(gaussian) -> Dataset:
    """So few numbers that a training of STEPS steps passes the end of an epoch."""
    return replace(gaussian, train=gaussian.train[:97])


@pytest.fixture(scope="module")
def dataset(structure, digits, values) -> Dataset:
    return digits if structure.dataset == "digits" else values


def configs_of(structure: StructureConfig) -> list[GanConfig]:
    """Lanes that differ in everything; two of them share a data order."""
    return [GanConfig(structure=structure, lane=lane, seed=10 + i, data_seed=i % 3) for i, lane in enumerate(LANES)]


def trained(configs: Sequence[GanConfig], dataset: Dataset, dtype: torch.dtype, steps: int = STEPS) -> LaneArray:
    array = LaneArray(configs, dataset, dtype=dtype)
    train(array, steps)
    return array


def train(array: LaneArray, steps: int) -> None:
    array.train_to(array.state.images_seen + steps * array.structure.batch_size)


def bits(tensor: Tensor) -> bytes:
    return tensor.detach().contiguous().numpy().tobytes()


def lane_results(array: LaneArray) -> list[dict[str, bytes]]:
    """Everything that is known of each lane, as bits. The average is compared as what is scored: a lane without one
    has none to compare when it is alone.
    """
    state, samples = array.state.tensors(), array.sample(count=29, seed=3)
    named = {name: state[name] for name in state if name not in ("average", "counters", "layout")}
    return [
        {
            **{name: bits(tensor[i]) for name, tensor in named.items()},
            **{f"scored {name}": bits(tensor) for name, tensor in array.generator_tensors(i).items()},
            "samples": bits(samples[i]),
            "counters": bits(state["counters"]),
        }
        for i in range(array.lanes)
    ]


def assert_same(mine: dict[str, bytes], theirs: dict[str, bytes]) -> None:
    assert set(mine) == set(theirs)
    assert [name for name in mine if mine[name] != theirs[name]] == []


@dataclass(frozen=True)
class Baseline:
    """What STEPS steps of the lanes of `configs_of`, all together and undisturbed, come to."""

    results: list[dict[str, bytes]]
    d_loss: list[float | None]
    g_loss: list[float | None]


@pytest.fixture(scope="module")
def baseline(structure, dataset, dtype) -> Baseline:
    array = trained(configs_of(structure), dataset, dtype)
    results = lane_results(array)
    for name in ("generator", "discriminator", "samples", "d_loss_sum", "g_loss_sum"):
        assert len({result[name] for result in results}) == len(results)  # lanes that differ prove something
    return Baseline(results, *array.read_losses())


def test_a_lane_of_an_array_is_the_same_configuration_trained_alone(structure, dataset, dtype, baseline):
    for i, config in enumerate(configs_of(structure)):
        alone = trained([config], dataset, dtype)
        assert_same(baseline.results[i], lane_results(alone)[0])
        assert alone.read_losses() == ([baseline.d_loss[i]], [baseline.g_loss[i]])


@pytest.mark.parametrize(
    "change",
    [
        {"lane": LaneConfig(generator_lr=0.5, discriminator_lr=0.1, discriminator_steps=5)},
        {"lane": LaneConfig(ema_half_life_images=10, beta1=0.3)},
        {"seed": 999, "data_seed": 77},
    ],
    ids=["rates", "average", "seeds"],
)
def test_another_configuration_in_one_lane_leaves_the_others_bit_for_bit_the_same(
    structure, dataset, dtype, baseline, change
):
    configs = configs_of(structure)
    changed = [configs[0], replace(configs[1], **change), *configs[2:]]
    after = lane_results(trained(changed, dataset, dtype))
    assert after[1] != baseline.results[1]
    for i in (0, 2, 3):
        assert_same(after[i], baseline.results[i])


@pytest.mark.parametrize("order", [[3, 2, 1, 0], [2, 0, 3, 1]])
def test_permuting_lanes_permutes_results_bit_for_bit(structure, dataset, dtype, baseline, order):
    configs = configs_of(structure)
    permuted = lane_results(trained([configs[i] for i in order], dataset, dtype))
    for place, i in enumerate(order):
        assert_same(permuted[place], baseline.results[i])


def _generator_of_nan(array: LaneArray) -> None:
    array.state.generator.flat[1] = torch.nan


def _discriminator_of_infinity(array: LaneArray) -> None:
    array.state.discriminator.flat[1] = torch.inf


def _adam_of_nan(array: LaneArray) -> None:
    array.state.discriminator_adam.mean_square[1] = torch.nan


@pytest.mark.parametrize("poison", [_generator_of_nan, _discriminator_of_infinity, _adam_of_nan])
def test_a_lane_of_nan_leaves_the_others_bit_for_bit_the_same(
    structure: StructureConfig, dataset: Dataset, dtype: torch.dtype, poison: Callable[[LaneArray], None]
):
    clean, poisoned = (trained(configs_of(structure), dataset, dtype, steps=2) for _ in range(2))
    poison(poisoned)
    for array in (clean, poisoned):
        train(array, 4)
    assert not bool(poisoned.state.discriminator.flat[1].isfinite().all())
    for mine, theirs in zip(lane_results(clean)[::2], lane_results(poisoned)[::2], strict=True):
        assert_same(mine, theirs)
    clean_losses, poisoned_losses = clean.read_losses(), poisoned.read_losses()
    assert repr(poisoned_losses[0][1]) == "nan"
    assert [part[::2] for part in clean_losses] == [part[::2] for part in poisoned_losses]
    for array in (clean, poisoned):
        array.keep([3, 1, 0])
        train(array, 4)
    assert not bool(poisoned.state.discriminator.flat[1].isfinite().all())
    for mine, theirs in zip(lane_results(clean)[::2], lane_results(poisoned)[::2], strict=True):
        assert_same(mine, theirs)


def test_the_highest_learning_rate_in_one_lane_leaves_the_others_bit_for_bit_the_same(
    structure, dataset, dtype, baseline
):
    configs = configs_of(structure)
    wild = LaneConfig(generator_lr=10, discriminator_lr=10, beta1=0, beta2=0)
    after = trained([*configs[:3], replace(configs[3], lane=wild)], dataset, dtype)
    assert float(after.state.discriminator.flat[3].abs().max()) > 5
    for mine, theirs in zip(lane_results(after)[:3], baseline.results[:3], strict=True):
        assert_same(mine, theirs)


@pytest.mark.parametrize("stop", [0, 1, 2, 5, 7])
def test_going_on_from_a_file_equals_not_stopping(structure, dataset, dtype, baseline, stop, tmp_path: Path):
    configs = configs_of(structure)
    stopped = trained(configs, dataset, dtype, stop)
    save_tensors(tmp_path / "state.safetensors", stopped.state.tensors())
    resumed = trained(configs, dataset, dtype, steps=3)  # what it had learnt is overwritten
    resumed.state.load(load_tensors(tmp_path / "state.safetensors"))
    assert lane_results(resumed) == lane_results(stopped)
    train(resumed, STEPS - stop)
    for mine, theirs in zip(lane_results(resumed), baseline.results, strict=True):
        assert_same(mine, theirs)
    assert resumed.read_losses() == (baseline.d_loss, baseline.g_loss)


@pytest.mark.parametrize("kept", [[0, 1, 2, 3], [3, 1], [2, 0], [2]], ids=str)
def test_the_lanes_kept_go_on_bit_for_bit_as_if_the_others_were_there_also_from_a_file(
    structure, dataset, dtype, baseline, kept, tmp_path: Path
):
    fewer = trained(configs_of(structure), dataset, dtype, steps=3)
    fewer.keep(kept)
    assert fewer.lanes == len(kept)
    train(fewer, 2)
    save_tensors(tmp_path / "state.safetensors", fewer.state.tensors())
    resumed = LaneArray(fewer.configs, dataset, dtype=dtype)
    resumed.state.load(load_tensors(tmp_path / "state.safetensors"))
    for array in (fewer, resumed):
        train(array, STEPS - 5)
        for i, mine in zip(kept, lane_results(array), strict=True):
            assert_same(mine, baseline.results[i])
        assert array.read_losses() == ([baseline.d_loss[i] for i in kept], [baseline.g_loss[i] for i in kept])


@dataclass
class Reference:
    """One GAN in plain torch, float64: modules, autograd, torch.optim.Adam, and a step by the book."""

    generator: nn.Sequential
    discriminator: nn.Sequential
    config: GanConfig
    dataset: Dataset

    def train(self, steps: int) -> tuple[list[float], list[float]]:
        """D's and G's loss at each of their steps."""
        structure, lane, losses = self.config.structure, self.config.lane, ([], [])
        g_adam, d_adam = (
            torch.optim.Adam(network.parameters(), lr=lr, betas=(lane.beta1, lane.beta2), foreach=False)
            for network, lr in (
                (self.generator, lane.generator_lr),
                (self.discriminator, lane.discriminator_lr),
            )
        )
        for step in range(1, steps + 1):
            seen = (step - 1) * structure.batch_size
            fake = self.generator(self.noise(3, seen)).detach()
            d_loss = self.judged(self.real(seen), 1) + self.judged(fake, 0)
            d_adam.zero_grad()
            d_loss.backward()
            d_adam.step()
            losses[0].append(d_loss.item())
            if step % lane.discriminator_steps:
                continue
            g_loss = self.judged(self.generator(self.noise(4, seen)), 1)
            g_adam.zero_grad()
            g_loss.backward()
            g_adam.step()
            losses[1].append(g_loss.item())
        return losses

    def noise(self, purpose: int, seen: int) -> Tensor:
        source = np.random.Generator(np.random.Philox(key=[self.config.seed, purpose], counter=[0, seen, 0, 0]))
        shape = (self.config.structure.batch_size, self.config.structure.latent_size)
        uniform = self.config.structure.latent_distribution == "uniform"
        drawn = source.random(shape, np.float32) if uniform else source.standard_normal(shape, np.float32)
        return torch.from_numpy(drawn).double()

    def real(self, seen: int) -> Tensor:
        size = len(self.dataset.train)
        shown = []
        for position in range(seen, seen + self.config.structure.batch_size):
            counter = [0, position // size, 0, 0]
            source = np.random.Generator(np.random.Philox(key=[self.config.data_seed, 5], counter=counter))
            shown.append(self.dataset.train[source.permutation(size)[position % size]])
        return torch.stack(shown).double()

    def judged(self, samples: Tensor, label: float) -> Tensor:
        logits = self.discriminator(self.seen_by_discriminator(samples))
        return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))

    def seen_by_discriminator(self, samples: Tensor) -> Tensor:
        values = samples.flatten(1)
        if self.config.structure.discriminator_input == "sample":
            return values
        mean = values.mean()
        if self.config.structure.discriminator_input == "minibatch":
            return torch.cat((values, (values - mean) ** 2)).T
        deviation = (values.var(correction=0) + 1e-12) ** 0.5
        scores = (values - mean) / deviation
        return torch.stack((mean, deviation, (scores**3).mean(), (scores**4).mean() - 3)).unsqueeze(0)


def reference_of(array: LaneArray, lane: int) -> Reference:
    """The same networks in torch.nn, with the array's weights of now."""
    structure = array.structure
    g, d, z = structure.generator_width, structure.discriminator_width, structure.latent_size
    if structure.architecture == "gaussian":
        inputs = {"sample": 1, "minibatch": 2 * structure.batch_size, "moments": 4}[structure.discriminator_input]
        generator = [nn.Linear(z, g), nn.ELU(), nn.Linear(g, g), nn.Sigmoid(), nn.Linear(g, 1)]
        discriminator = [nn.Linear(inputs, d), nn.ELU(), nn.Linear(d, d), nn.ELU(), nn.Linear(d, 1)]
    else:
        generator = [nn.Linear(z, g), nn.ReLU(), nn.Linear(g, g), nn.ReLU(), nn.Linear(g, 64), nn.Tanh()]
        slope = nn.LeakyReLU(0.2)
        discriminator = [nn.Linear(64, d), slope, nn.Linear(d, d), slope, nn.Linear(d, 1)]
    networks = nn.Sequential(*generator).double(), nn.Sequential(*discriminator).double()
    for network, rows in zip(networks, (array.state.generator, array.state.discriminator), strict=True):
        network.load_state_dict({name: view[lane].t().clone() for name, view in rows.views.items()})
    return Reference(*networks, array.configs[lane], array.dataset)


@pytest.mark.parametrize("name", ["sample", "minibatch", "moments", "mlp"])
def test_every_lane_follows_plain_torch(name, digits, values):
    steps, structure = 30, STRUCTURES[name]
    dataset = digits if structure.dataset == "digits" else values
    array = LaneArray(configs_of(structure), dataset, dtype=torch.float64)
    references = [reference_of(array, i) for i in range(array.lanes)]
    train(array, steps)
    d_losses, g_losses = array.read_losses()
    assert len(set(d_losses)) == len(set(g_losses)) == array.lanes
    for i, reference in enumerate(references):
        d_loss, g_loss = reference.train(steps)
        assert len(g_loss) == steps // array.k[i]
        assert (d_losses[i], g_losses[i]) == pytest.approx((np.mean(d_loss), np.mean(g_loss)), rel=1e-9)
        for rows, network in (
            (array.state.generator, reference.generator),
            (array.state.discriminator, reference.discriminator),
        ):
            for parameter, tensor in network.state_dict().items():
                mine = rows.views[parameter][i].t().numpy()
                np.testing.assert_allclose(mine, tensor.numpy(), rtol=1e-9, atol=1e-9 * tensor.abs().max().item())


def test_a_lane_of_k_takes_one_generator_step_for_k_of_its_discriminator(values, dtype):
    configs = [
        GanConfig(structure=STRUCTURES["sample"], lane=LaneConfig(discriminator_steps=k)) for k in (1, 2, 3, 1000)
    ]
    array = LaneArray(configs, values, dtype=dtype)
    start, moved_at = array.state.generator.flat.clone(), []

    def note(images_seen: int) -> None:
        moved_at.append((images_seen, array.state.generator_adam.steps.tolist()))

    array.train_to(12 * 100, note)
    assert moved_at == [(100 * step, [step, step // 2, step // 3, 0]) for step in range(1, 13)]
    assert array.state.discriminator_adam.steps.tolist() == [12] * 4
    assert array.state.g_loss_count.tolist() == [12, 6, 4, 0]
    assert (array.state.generator.flat != start).any(1).tolist() == [True, True, True, False]
    assert [loss is None for loss in array.read_losses()[1]] == [False, False, False, True]


def test_the_average_is_a_loop_over_the_generators_weights(structure, dataset):
    array = LaneArray(configs_of(structure), dataset, dtype=torch.float64)
    half_lives = [config.lane.ema_half_life_images for config in array.configs]
    expected, differs = array.state.generator.flat.numpy().copy(), [False] * array.lanes

    def average(images_seen: int) -> None:
        now = array.state.generator.flat.numpy()
        for i, half_life in enumerate(half_lives):
            decay = 0.5 ** (structure.batch_size / half_life) if half_life else 0.0
            expected[i] = decay * expected[i] + (1 - decay) * now[i]
            differs[i] = not np.allclose(expected[i], now[i], rtol=1e-6, atol=0)

    array.train_to(20 * structure.batch_size, average)
    np.testing.assert_allclose(array.state.average.numpy(), expected, rtol=1e-12, atol=1e-15)
    assert differs == [half_life > 0 for half_life in half_lives] == [False, True, False, True]


def test_a_lane_is_scored_by_its_average_or_by_its_plain_weights_exactly(structure, dataset, dtype):
    array = trained(configs_of(structure), dataset, dtype)
    latents = array.shared_latents(Stream.SCORE_LATENTS, 1013, 5)
    plain, averaged = (
        array.networks.generator(array.state.generator.with_flat(flat), latents)
        for flat in (array.state.generator.flat, array.state.average)
    )
    scored = array.generate(latents)
    for i, config in enumerate(array.configs):
        source = averaged if config.lane.ema_half_life_images else plain
        np.testing.assert_allclose(scored[i].numpy(), source[i].numpy(), rtol=1e-5 if dtype.itemsize == 4 else 1e-12)
        weights = array.generator_tensors(i)
        rows = array.state.average if config.lane.ema_half_life_images else array.state.generator.flat
        views = array.state.generator.with_flat(rows)
        assert {name: bits(tensor) for name, tensor in weights.items()} == {n: bits(v[i]) for n, v in views.items()}
    assert [bits(plain[i]) == bits(averaged[i]) for i in range(4)] == [True, False, True, False]


def test_an_array_without_averages_is_scored_by_its_weights(values):
    config = GanConfig(structure=STRUCTURES["minibatch"], lane=LaneConfig(generator_lr=0.1))
    array = trained([config], values, torch.float32)
    views = array.state.generator.views
    assert {n: bits(t) for n, t in array.generator_tensors(0).items()} == {n: bits(v[0]) for n, v in views.items()}
    latents = array.shared_latents(Stream.SCORE_LATENTS, 50, 5)
    assert torch.equal(array.generate(latents), array.networks.generator(views, latents).detach())


def test_samples_are_a_function_of_count_and_seed_with_the_same_latents_in_every_lane(values):
    array = trained(configs_of(STRUCTURES["sample"]), values, torch.float32)
    latents = array.shared_latents(Stream.SAMPLE_LATENTS, 2500, 3)
    assert all(torch.equal(latents[i], latents[0]) for i in range(array.lanes))
    assert torch.equal(latents[:, :29], array.shared_latents(Stream.SAMPLE_LATENTS, 29, 3))
    assert torch.equal(array.sample(2500, seed=3), array.generate(latents))
    assert array.sample(2500, seed=3).shape == (4, 2500, 1)
    assert not torch.equal(array.sample(29, seed=3), array.sample(29, seed=4))


def test_lanes_of_one_data_seed_see_the_same_batches_in_the_order_of_the_data_set(digits):
    array = LaneArray(configs_of(STRUCTURES["mlp"]), digits)
    real = array.real_batch(990)
    assert real.shape == (4, 13, 1, 8, 8)
    assert torch.equal(real[0], real[3])
    assert not torch.equal(real[0], real[1])
    members = {bits(image) for image in digits.train}
    assert {bits(image) for image in real.flatten(0, 1)} <= members


@pytest.mark.parametrize(("images", "stops_at"), [(0, 0), (1, 13), (13, 13), (14, 26), (100, 104)])
def test_training_stops_at_the_first_whole_batch_at_or_after_the_images_asked_for(values, images, stops_at):
    array = LaneArray([GanConfig(structure=STRUCTURES["minibatch"])], values)
    seen = []
    array.train_to(images, seen.append)
    assert array.images_at(images) == array.state.images_seen == stops_at
    assert seen == list(range(13, stops_at + 1, 13))


def test_losses_read_are_the_means_since_they_were_last_read_and_none_where_there_was_no_step(values):
    config = GanConfig(structure=STRUCTURES["sample"], lane=LaneConfig(discriminator_steps=2))
    array, single = (LaneArray([config], values, dtype=torch.float64) for _ in range(2))
    steps = []
    for _ in range(6):
        train(single, 1)
        steps.append([loss[0] for loss in single.read_losses()])
    assert array.read_losses() == ([None], [None])
    assert [g_loss is None for _, g_loss in steps] == [True, False] * 3
    for first, last in ((0, 2), (2, 6)):
        train(array, last - first)
        d_losses, g_losses = zip(*steps[first:last], strict=True)
        (d_loss,), (g_loss,) = array.read_losses()
        assert d_loss == pytest.approx(np.mean(d_losses), rel=1e-12)
        assert g_loss == pytest.approx(np.mean(g_losses[1::2]), rel=1e-12)
    assert array.read_losses() == ([None], [None])


def test_lanes_of_two_structures_are_refused(values):
    lanes = [GanConfig(structure=STRUCTURES[name]) for name in ("sample", "moments")]
    with pytest.raises(InputError, match="one structure, got 2 in 2 lanes"):
        LaneArray(lanes, values)


def test_a_configuration_for_another_data_set_is_refused(values):
    with pytest.raises(InputError, match="'digits', got 'gaussian'"):
        LaneArray([GanConfig()], values)


@pytest.mark.parametrize("other", ["hinge", "moments"])
def test_a_state_of_another_structure_is_refused(values, other):
    mine, theirs = (LaneArray([GanConfig(structure=STRUCTURES[name])], values) for name in ("sample", other))
    with pytest.raises(InputError, match="'generator' does not fit"):
        mine.state.load(theirs.state.tensors())


def test_a_state_of_another_number_of_lanes_or_without_a_tensor_is_refused(values):
    configs = configs_of(STRUCTURES["sample"])
    array, shorter = LaneArray(configs, values), LaneArray(configs[:2], values)
    with pytest.raises(InputError, match="'generator' does not fit"):
        array.state.load(shorter.state.tensors())
    lacking = {name: tensor for name, tensor in array.state.tensors().items() if name != "average"}
    with pytest.raises(InputError, match="'average' does not fit"):
        array.state.load(lacking)
