"""Finds out by calling a person's module how its lanes can be carried: what a trace of it repeats, what vmap computes.

L lanes, N rows of a batch.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gan_core.lanes.axis import plain_calls
from gan_core.lanes.streams import Stream
from gan_core.lanes.torch_internals import TorchDispatchMode, arguments_of
from gan_core.networks.call import Call
from gan_core.networks.layers import Weights
from gan_core.networks.own_calls import OwnCalls, own_randomness
from gan_core.networks.own_lanes import Form, OwnNetwork, Traits, call_with

CLOSE = 1e-10  # of the largest number, in float64, where vmap computes the same
CLOSE_FLOAT32 = 1e-5  # the same in float32
UNTRACEABLE = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)
Way = Callable[[Weights, Tensor, Call], Tensor]  # of a network to compute lanes: `lane_by_lane`, or `together`


def probed_rows(form: Form, count: int, seed: int = 0) -> Tensor:
    """What a module is shown, [N, ...]: uniform in (-1, 1), with one-hot classes in turn at the end where it takes
    labels.
    """
    first = torch.rand(count, form.numbers, generator=torch.Generator().manual_seed(seed)).mul_(2).sub_(1)
    if not form.classes:
        return first
    labels = torch.arange(seed, seed + count) % form.classes
    return torch.cat((first, F.one_hot(labels, form.classes).to(first)), 1)


def called(
    network: OwnNetwork,
    rows: Tensor,
    calls: OwnCalls,
    *,
    training: bool = True,
    seed: int = 0,
    weights: Mapping[str, Tensor] | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """What a pass of the module over rows [N, ...] returns, with its own weights or these, and what it has put in their
    place and that of its buffers. Its own do not change; the rows do, where it writes into them.
    """
    module = network.module.train(training)
    given = {name: tensor.detach().clone() for name, tensor in network.named().items()} | dict(weights or {})
    with own_randomness(seed), calls, torch.no_grad():
        return call_with(module, given, network.form.arguments(rows)), given


def lanes_of(network: OwnNetwork, *seeds: int) -> dict[str, Tensor]:
    """The initial weights and all buffers of lanes with these seeds, by name: [L, ...], float32."""
    network = replace(network, traits=Traits(moved=frozenset(network.named())))
    lanes = [network.keyed_initial(seed, Stream.GENERATOR_WEIGHTS) for seed in seeds]
    return {name: torch.stack([torch.from_numpy(lane[name]) for lane in lanes]).float() for name in lanes[0]}


def first_lane(lanes: Weights) -> dict[str, Tensor]:
    """The weights of one lane, [1, ...], of those of several."""
    return {name: tensor[:1] for name, tensor in lanes.items()}


def shown_rows(network: OwnNetwork, rows: Tensor) -> Tensor:
    """Rows as a network is shown them in training: D's samples have gradients, from which G learns; latents do not."""
    return rows.detach().clone().requires_grad_(network.form.is_logit)


def results(network: OwnNetwork, weights: Weights, rows: Tensor, call: Call, way: Way | None = None) -> list[Tensor]:
    """All that comes of a pass over rows [L, N, ...] in training: what the module returns, its gradients with respect
    to its input and weights, those of a gradient penalty too if it is differentiated twice, and its buffers
    afterwards. way: of the network; by default lane by lane. Raises what the module raises.
    """
    given = {name: tensor.detach().clone() for name, tensor in weights.items()}
    wanted = [given[name].requires_grad_() for name in network.shapes()]
    x = shown_rows(network, rows)
    wanted = [x, *wanted] if x.requires_grad else wanted
    # A module may write into what it is given, which autograd refuses for a leaf.
    answer = (way or network.lane_by_lane)(given, x * 1, call)
    places = torch.arange(answer[0, 0].numel()).to(rows) + 4 * rows.flatten(2)[:, :, :1]
    factors = places.cos().view(answer.shape)  # others for each number, because sums of normalised ones are constant
    first = torch.autograd.grad((answer * factors).sum(), wanted, create_graph=network.twice, materialize_grads=True)
    found = [answer, *first]
    if network.twice and first[0].requires_grad:
        penalty = (first[0].flatten(1).square().sum(1) * factors.flatten(1)[:, 0]).sum()
        found += torch.autograd.grad(penalty, wanted, allow_unused=True, materialize_grads=True)
    return [tensor.detach() for tensor in (*found, *(given[name] for name in network.buffers()))]


def same(one: list[Tensor], other: list[Tensor], close: float) -> bool:
    """Whether two results are equal, to this share of the largest number of all, because some gradients are but
    rounding.
    """
    largest = max(float(tensor.abs().max()) for tensor in one if tensor.numel())
    pairs = zip(one, other, strict=True)
    return all(torch.allclose(x, y, rtol=0.0, atol=close * largest, equal_nan=True) for x, y in pairs)


def examined_traits(network: OwnNetwork, lanes: Weights, rows: Tensor, last_sigmoid: int | None) -> OwnNetwork:
    """A network with all that can be found out about it by calling it with rows [N, ...] and the weights of two lanes.
    Raises what the module raises.
    """
    one = first_lane(lanes)
    network = replace(network, traits=_traits(network, one, rows, last_sigmoid))
    network = replace(network, traits=replace(network.traits, rowwise=_is_rowwise(network, one, rows)))
    if not network.traits.traced:
        return network
    vmapped = _vmap_is_right(network, lanes, rows)
    with plain_calls():
        plain = vmapped and _vmap_is_right(network, lanes, rows)
    return replace(network, traits=replace(network.traits, vmapped=vmapped, plain=plain))


class _Seen(TorchDispatchMode):
    """Notes calls whose results depend on values in a way that no trace repeats, and calls that draw numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.depends_on_values = self.random = False

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False, because nothing here is compiled by Dynamo."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        self.depends_on_values |= any(tag in func.tags for tag in UNTRACEABLE)
        self.random |= _draws(func, args, kwargs or {})
        return func(*args, **(kwargs or {}))


def _draws(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether a call draws from torch's global generator. Calls of attention do where they drop anything."""
    if torch.Tag.nondeterministic_seeded not in func.tags:
        return False
    known = arguments_of(func)
    given = {each.name: each.default_value for each in known if each.has_default_value()}
    given |= dict(zip((each.name for each in known), args, strict=False)) | dict(kwargs)
    return bool(given.get("dropout_p", True))


def _traits(network: OwnNetwork, weights: Weights, rows: Tensor, last_sigmoid: int | None) -> Traits:
    """What is seen in passes of one lane, and in the calculation of their gradients."""
    seen, calls = _Seen(), OwnCalls(lambda share, shape: torch.ones(shape))
    moved, spoils, dropouts = set[str](), False, list[int]()
    for training in (False, True):
        answers = []
        calls.dropouts = 0
        for seed in (0, 1):
            x = rows.clone()
            with seen:
                answer, given = called(network, x, calls, training=training, seed=seed)
            answers.append(answer)
            spoils |= not x.equal(rows)
            moved = {name for name, tensor in network.named().items() if not given[name].equal(tensor)}
        seen.random |= not answers[0].equal(answers[1])
        dropouts.append(calls.dropouts // 2)
    traits = Traits(
        random=seen.random,
        dropouts=dropouts[True],
        sampling_dropouts=dropouts[False],
        last_sigmoid=last_sigmoid,
        moved=frozenset(moved),
        spoils=spoils,
    )
    outside = OwnCalls()
    with seen, outside:
        results(replace(network, traits=traits), weights, rows[None], call_of(1))
    return replace(traits, traced=not (seen.random or seen.depends_on_values or calls.takes_out or outside.takes_out))


def call_of(lanes: int, masks: dict[int, Tensor] | None = None) -> Call:
    """A pass in training."""
    return Call([0.0] * lanes, training=True, seeds=range(lanes), masks={} if masks is None else masks)


def _is_rowwise(network: OwnNetwork, weights: Weights, rows: Tensor) -> bool:
    """Whether a D's pass over a batch in training is one over each of its rows, and so are its gradients: nothing is
    drawn, nothing moves, nothing is decided by values, and no row depends on another.
    """
    traits = network.traits
    if not network.form.is_logit or not traits.traced or traits.dropouts or traits.moved or len(rows) < 2:
        return False
    network = replace(network, twice=False)  # penalties are on batches that are not joined
    parts = rows, *rows.split(len(rows) // 2)
    whole, *halves = (results(network, weights, part[None], call_of(1)) for part in parts)
    weighted = 2 + len(network.shapes())
    joined = [torch.cat(each, 1) for each in zip(*(half[:2] for half in halves), strict=True)]  # what each row has
    summed = [torch.stack(each).sum(0) for each in zip(*(half[2:weighted] for half in halves), strict=True)]
    return same(whole[:weighted], [*joined, *summed], CLOSE_FLOAT32)


def _vmap_is_right(network: OwnNetwork, lanes: Weights, rows: Tensor) -> bool:
    """Whether vmap over two lanes gives what each lane gives by itself, in float64."""
    weights = {name: tensor.double() for name, tensor in lanes.items()}
    rows, masks = torch.stack((rows, rows.flip(0))).double(), dict[int, Tensor]()
    try:
        with warnings.catch_warnings(action="ignore"):  # of vmap, where it has no rule for a call
            alone, together = (
                results(network, weights, rows, call_of(2, masks), way)
                for way in (network.lane_by_lane, network.together)
            )
    except Exception:  # a person's own code, and vmap within it, may raise anything
        return False
    return same(alone, together, CLOSE)
