"""Layers written in torch.nn: the same map, and weights of the same numbers in the layout of torch.nn."""

import pytest
import torch
from torch import nn
from torch_twins import drawn, lane_weights

from gan_core.config.input_error import InputError
from gan_core.networks.build import Branches, Network
from gan_core.networks.call import Call
from gan_core.networks.layers import BatchNorm, Convolution, Linear
from gan_core.networks.plain_layers import BRANCHES, plain_network
from gan_core.networks.weightless_layers import (
    Dropout,
    Maxout,
    Reshape,
    elu,
    leaky_relu,
    relu,
    sigmoid,
    tanh,
)

NETWORKS = {
    "dense": (Linear(4, 6), elu, Dropout(), Linear(6, 3, bias=False), sigmoid),
    "normed": (Linear(4, 6), BatchNorm(6), leaky_relu(0.1)),
    "maps": (
        *(Linear(4, 8), Reshape((2, 2, 2)), BatchNorm(2), relu, Convolution(2, 3, 4, 2, 1, transposed=True)),
        *(Convolution(3, 5, 3, 1, 1, bias=True), tanh, Reshape((80,)), BatchNorm(80), Linear(80, 2)),
    ),
    "branches": (
        Branches((Network((Linear(1, 3), BatchNorm(3), relu)), Network((Linear(3, 2),))), (1, 3)),
        Linear(5, 2),
    ),
}


@pytest.mark.parametrize("layers", NETWORKS.values(), ids=list(NETWORKS))
@pytest.mark.parametrize("eps", [1e-5, 0.8])
def test_the_expression_makes_a_module_of_the_same_map(layers, eps):
    network = Network(layers)
    weights = lane_weights(network, lanes=1)
    text, state = plain_network(network, {name: tensor[0] for name, tensor in weights.items()}, eps)
    names = {"nn": nn, "torch": torch, "Tensor": torch.Tensor}
    exec(BRANCHES, names)
    module = eval(text, names).double().eval()
    module.load_state_dict(state)
    x = drawn(7, 4)
    ours = network(weights, x.unsqueeze(0), Call([eps]))[0]
    assert ours.std() > 0.01
    torch.testing.assert_close(module(x), ours, rtol=1e-12, atol=1e-12)


def test_a_layer_that_torch_nn_does_not_have_is_named():
    with pytest.raises(InputError, match="a Maxout layer cannot be written in torch.nn; add it to gan_core/networks/"):
        plain_network(Network((Linear(4, 6), Maxout(2))), lane_weights(Network((Linear(4, 6),)), 1), 1e-5)
