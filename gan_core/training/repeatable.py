"""Whether a trace of a person's own modules, repeated on other numbers, computes what the modules do then.

A trace holds the calls of torch that were made. What a module computes otherwise, such as with NumPy in the backward
pass of a function of its own, is a constant in it.
"""

from functools import lru_cache

from torch import Tensor

from gan_core.execution.replay import Pool, Replay
from gan_core.execution.trace import trace
from gan_core.networks.build import Networks
from gan_core.networks.layers import Weights
from gan_core.networks.own_lanes import OwnNetwork
from gan_core.networks.own_traits import CLOSE_FLOAT32, call_of, lanes_of, probed_rows, results, same

WEIGHT, ROWS, FOUND = "weight.", "rows", "found."  # how tensors of a trace are named


@lru_cache(maxsize=64)
def repeats(networks: Networks) -> bool:
    """Whether traces of both networks repeat what they compute, their gradients included."""
    return all(_repeats(each) for each in (networks.generator, networks.discriminator) if isinstance(each, OwnNetwork))


def _repeats(network: OwnNetwork) -> bool:
    masks, lanes = dict[int, Tensor](), lanes_of(network, 0, 1)

    def function(tensors: dict[str, Tensor]) -> None:
        weights = {name.removeprefix(WEIGHT): t for name, t in tensors.items() if name.startswith(WEIGHT)}
        for place, tensor in enumerate(results(network, weights, tensors[ROWS], call_of(1, masks))):
            tensors.setdefault(f"{FOUND}{place}", tensor).copy_(tensor)

    tensors = _given(network, lanes, 0)
    function(tensors)  # which makes the tensors for what is found, and the masks of dropout
    try:
        replay = Replay(trace(function, tensors), tensors, Pool())
    except (RuntimeError, IndexError, TypeError, AttributeError):  # calls that no trace knows, which a step tells of
        return True
    for name, tensor in _given(network, lanes, 1).items():
        tensors[name].copy_(tensor)
    replay()
    names = [name for name in tensors if name.startswith(FOUND)]
    repeated = [tensors[name].clone() for name in names]
    function(tensors)
    return same([tensors[name] for name in names], repeated, CLOSE_FLOAT32)


def _given(network: OwnNetwork, lanes: Weights, lane: int) -> dict[str, Tensor]:
    """The weights and the rows of one lane."""
    weights = {f"{WEIGHT}{name}": tensor[lane : lane + 1].clone() for name, tensor in lanes.items()}
    return {**weights, ROWS: probed_rows(network.form, 2, lane)[None]}
