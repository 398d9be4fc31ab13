"""Layers and networks: published sizes, torch.nn's initial weights, and what a discriminator is shown."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
import torch.nn.functional as F
from torch import Tensor

from gan_core.config import StructureConfig
from gan_core.lanes import Stream, stream
from gan_core.layers import Linear, Reshape, elu, leaky_relu, relu, sigmoid, tanh
from gan_core.networks import Network, build_networks, flatten_samples, minibatch_view, moments_view

MNIST, DIGITS, VALUE = (1, 28, 28), (1, 8, 8), (1,)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def gaussian_structure(discriminator_input: str = "minibatch", **others) -> StructureConfig:
    values = {"generator_width": 5, "discriminator_width": 10, "latent_size": 1, "batch_size": 500, **others}
    return StructureConfig(
        architecture="gaussian",
        dataset="gaussian",
        discriminator_input=discriminator_input,  # pyright: ignore[reportArgumentType]
        **values,
    )


def initial_parameters(network: Network, seeds: list[int], purpose: Stream) -> dict[str, Tensor]:
    lanes = [network.initial(seed, purpose) for seed in seeds]
    return {name: torch.from_numpy(np.stack([lane[name] for lane in lanes])) for name in lanes[0]}


@pytest.mark.parametrize(
    ("structure", "sample_shape", "generator", "discriminator"),
    [
        # 100-256-256-784 and 784-256-256-1: 101*256 + 257*256 + 257*784 and 785*256 + 257*256 + 257.
        (StructureConfig(), MNIST, 293_136, 267_009),
        (StructureConfig(), DIGITS, 25_856 + 65_792 + 257 * 64, 65 * 256 + 65_792 + 257),
        # N. Nag's script: G 1-5-5-1; D on 500 values and their 500 squared deviations, 1000-10-10-1.
        (gaussian_structure(), VALUE, 2 * 5 + 6 * 5 + 6, 1001 * 10 + 11 * 10 + 11),
        (gaussian_structure("moments"), VALUE, 46, 5 * 10 + 11 * 10 + 11),
        (gaussian_structure("sample", latent_size=3), VALUE, 4 * 5 + 6 * 5 + 6, 2 * 10 + 11 * 10 + 11),
    ],
)
def test_networks_have_the_published_number_of_parameters(structure, sample_shape, generator, discriminator):
    networks = build_networks(structure, sample_shape)
    assert networks.generator.parameter_count() == generator
    assert networks.discriminator.parameter_count() == discriminator


@pytest.mark.parametrize(
    ("structure", "sample_shape", "decisions"),
    [
        (StructureConfig(latent_size=7, generator_width=5, batch_size=13), DIGITS, 13),
        (gaussian_structure("sample", latent_size=7, batch_size=13), VALUE, 13),
        (gaussian_structure("minibatch", latent_size=7, batch_size=13), VALUE, 1),
        (gaussian_structure("moments", latent_size=7, batch_size=13), VALUE, 1),
    ],
)
def test_a_generator_answers_samples_and_a_discriminator_one_logit_a_decision(structure, sample_shape, decisions):
    networks = build_networks(structure, sample_shape)
    weights = initial_parameters(networks.generator, [0, 1], Stream.GENERATOR_WEIGHTS)
    samples = networks.generator(weights, drawn(2, 13, 7))
    weights = initial_parameters(networks.discriminator, [0, 1], Stream.DISCRIMINATOR_WEIGHTS)
    assert samples.shape == (2, 13, *sample_shape)
    assert networks.discriminator(weights, networks.view(samples)).shape == (2, decisions, 1)


def test_generated_images_lie_between_minus_1_and_1():
    networks = build_networks(StructureConfig(latent_size=7), DIGITS)
    weights = initial_parameters(networks.generator, [0], Stream.GENERATOR_WEIGHTS)
    extremes = networks.generator({name: 1000 * tensor for name, tensor in weights.items()}, drawn(1, 50, 7))
    assert extremes.abs().max() == 1


@pytest.mark.parametrize("inputs", [1, 7, 256])
def test_initial_linear_weights_are_distributed_as_those_of_torch_nn_linear(inputs):
    made = Linear(inputs, 4000).initial(stream(5, Stream.GENERATOR_WEIGHTS))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = torch.nn.Linear(inputs, 4000)
    bound = 1 / math.sqrt(inputs)
    levels = np.linspace(0, 1, 21)
    for name, other in (("weight", theirs.weight), ("bias", theirs.bias)):
        mine, other = made[name].ravel(), other.detach().numpy().ravel()
        assert 0.99 * bound < np.abs(mine).max() <= bound
        assert abs(mine.mean()) < 5 * bound / math.sqrt(3 * mine.size)
        tolerance = 5 * bound * math.sqrt(2 / mine.size)  # five deviations of the difference of two medians
        np.testing.assert_allclose(np.quantile(mine, levels), np.quantile(other, levels), atol=tolerance)


@pytest.mark.parametrize(
    ("layer", "reference"),
    [
        (relu, F.relu),
        (elu, F.elu),
        (sigmoid, torch.sigmoid),
        (tanh, torch.tanh),
        (leaky_relu(0.2), lambda x: torch.maximum(x, 0.2 * x)),
        (Reshape((1, 7)), lambda x: x.unsqueeze(2)),
    ],
    ids=["relu", "elu", "sigmoid", "tanh", "leaky_relu", "reshape"],
)
def test_a_layer_without_parameters_is_its_torch_function(layer, reference):
    x = drawn(3, 13, 7)
    assert layer.shapes() == {}
    assert layer.initial(stream(0, Stream.GENERATOR_WEIGHTS)) == {}
    np.testing.assert_allclose(layer({}, x).numpy(), reference(x).numpy(), rtol=1e-14)


@pytest.mark.parametrize(("inputs", "outputs"), [(7, 50), (1, 3), (50, 1)])
def test_linear_is_torch_linear_in_every_lane(inputs, outputs):
    layer, x = Linear(inputs, outputs), drawn(3, 13, inputs)
    weights = {name: drawn(3, *shape, seed=1) for name, shape in layer.shapes().items()}
    made = layer(weights, x)
    assert not torch.equal(made[0], made[1])
    for i in range(3):
        expected = F.linear(x[i], weights["weight"][i].T, weights["bias"][i])
        np.testing.assert_allclose(made[i].numpy(), expected.numpy(), rtol=1e-11, atol=1e-13)


def test_a_networks_parameters_are_named_by_the_place_of_their_layer():
    network = Network((Linear(3, 5), relu, Linear(5, 2)))
    assert network.shapes() == {"0.weight": (3, 5), "0.bias": (5,), "2.weight": (5, 2), "2.bias": (2,)}


def test_initial_weights_differ_by_seed_by_network_and_by_layer_and_repeat():
    network = Network((Linear(4, 4), Linear(4, 4)))
    keys = [(seed, purpose) for seed in (0, 1) for purpose in (Stream.GENERATOR_WEIGHTS, Stream.DISCRIMINATOR_WEIGHTS)]
    made = [network.initial(*key) for key in keys]
    again = [network.initial(*key) for key in keys]
    tensors = [value for lane in made for value in lane.values()]
    assert len({tensor.tobytes() for tensor in tensors}) == len(tensors)
    assert [tensor.tobytes() for lane in again for tensor in lane.values()] == [tensor.tobytes() for tensor in tensors]


def test_each_sample_is_seen_as_a_row():
    samples = drawn(2, 3, 1, 8, 8)
    assert torch.equal(flatten_samples(samples), samples.reshape(2, 3, 64))


@pytest.mark.parametrize("batch", [2, 13, 100])
def test_the_minibatch_view_is_the_values_and_their_squared_deviations(batch):
    samples = drawn(3, batch, 1) * 2 + 4
    seen = minibatch_view(samples)
    assert seen.shape == (3, 1, 2 * batch)
    for lane, values in zip(seen.numpy(), samples.numpy()[:, :, 0], strict=True):
        np.testing.assert_array_equal(lane[0, :batch], values)
        np.testing.assert_allclose(lane[0, batch:], (values - values.mean()) ** 2, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("batch", [4, 13, 100])
def test_the_moments_view_is_mean_deviation_skewness_and_excess_kurtosis(batch):
    samples = torch.exp(drawn(3, batch, 1)) + 4
    seen = moments_view(samples)
    assert seen.shape == (3, 1, 4)
    for lane, values in zip(seen.numpy()[:, 0], samples.numpy()[:, :, 0], strict=True):
        expected = values.mean(), values.std(), scipy.stats.skew(values), scipy.stats.kurtosis(values)
        np.testing.assert_allclose(lane, expected, rtol=1e-8)


def test_a_collapsed_minibatch_has_finite_moments_with_a_finite_gradient():
    samples = torch.full((1, 13, 1), 4.0, dtype=torch.float64).requires_grad_()
    seen = moments_view(samples)
    seen.sum().backward()
    np.testing.assert_allclose(seen.detach().numpy()[0, 0], [4, 0, 0, -3], atol=1e-5)
    assert samples.grad is not None
    assert bool(samples.grad.isfinite().all())
