"""A person's own module with a lane axis: the contract of `build.Network` for any `nn.Module`.

The module's weights lie in the rows of an array under the names that they have in its `state_dict`, and each lane's
pass is a call of the module as a function of them. On a GPU all lanes are one call, by `torch.vmap`, where a probe has
found that this gives each lane's own gradients (`own_traits`). Otherwise, and always on the CPU, the module is called
once for each lane: there a lane's bits then do not depend on the others, and it is not slower, because vmap makes of
the lanes' convolutions a grouped one.

L lanes, N rows of a batch, Z numbers of a latent, K classes.
"""

import math
import warnings
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from gan_core.files.own_code import theirs
from gan_core.lanes.axis import in_plain_calls, lanes_together
from gan_core.lanes.streams import Stream, stream
from gan_core.networks.call import Call
from gan_core.networks.convolutions import stacked
from gan_core.networks.layers import Shapes, Weights
from gan_core.networks.own_calls import OwnCalls, own_randomness
from gan_core.networks.own_lane_calls import in_vmap, to_one_lane


@dataclass(frozen=True)
class Form:
    """How a module is called and what it returns, for one row of a batch.

    numbers: of its first argument, which has this shape; classes: of the labels that are its second argument, 0 where
    it has none; result: the shape of a row of what a network returns: of a sample, or (1,) for a logit.
    """

    numbers: int
    shape: tuple[int, ...]
    classes: int
    result: tuple[int, ...]

    @property
    def is_logit(self) -> bool:
        """Whether it is D's."""
        return self.result == (1,)

    def arguments(self, x: Tensor, calls: OwnCalls | None = None) -> tuple[Tensor, ...]:
        """Rows [N, ...], where there are labels with a one-hot class at the end of each -> the module's arguments.
        calls: is told of the labels.
        """
        if not self.classes:
            return (x.reshape(len(x), *self.shape),)
        first, one_hot = x.split((self.numbers, self.classes), 1)
        labels = one_hot.argmax(1)
        if calls is not None:
            calls.labels = labels, one_hot
        return first.reshape(len(x), *self.shape), labels


@dataclass(frozen=True)
class Traits:
    """What was found out about a module by calling it (`own_traits`).

    vmapped: whether vmap over lanes gives each lane's own gradients. plain: whether it does so too with the calls that
    C has kernels for (`own_lane_calls`). traced: whether its calls do not depend on the values of tensors, so that they
    can be repeated. random: whether torch's, numpy's or Python's global generators are drawn from. dropouts: how many
    dropout layers drop in training; sampling_dropouts: while sampling, as `F.dropout(x)` does. last_sigmoid: the number
    of the sigmoid call that the module ends with, whose input is the logit; None where it ends otherwise. moved:
    buffers and parameters that a pass in training changes. spoils: whether the module writes into its first argument.
    rowwise: whether each row of a batch is treated by itself, so that two batches may be one.
    """

    vmapped: bool = False
    plain: bool = False
    traced: bool = True
    random: bool = False
    dropouts: int = 0
    sampling_dropouts: int = 0
    last_sigmoid: int | None = None
    moved: frozenset[str] = frozenset()
    spoils: bool = False
    rowwise: bool = False


@dataclass(frozen=True, eq=False)
class OwnNetwork:
    """A module as a network of an array. `module` gives names, shapes and the forward; its own weights are not used.

    make: makes a module from torch's global generator. constants: its constant buffers, by the device. twice: whether
    gradients of its gradients are taken, for which attention is computed by its formula, in calls that have them.
    """

    module: nn.Module
    make: Callable[[], nn.Module]
    form: Form
    traits: Traits = Traits()
    constants: dict[torch.device, dict[str, Tensor]] = field(default_factory=dict)
    twice: bool = False

    def named(self) -> dict[str, Tensor]:
        """The module's own parameters and buffers."""
        return {**dict(self.module.named_parameters()), **dict(self.module.named_buffers())}

    def shapes(self) -> Shapes:
        """Parameter name -> its shape in one lane, for the parameters that are trained."""
        return {name: tuple(p.shape) for name, p in self.module.named_parameters() if p.requires_grad}

    def buffers(self) -> Shapes:
        """The same for what a checkpoint must hold beside: the module's buffers, and parameters that are not trained.
        Buffers that are constant, and in no `state_dict`, stay in the module.
        """
        fixed = {name: tuple(p.shape) for name, p in self.module.named_parameters() if not p.requires_grad}
        kept = self.module.state_dict().keys() | self.traits.moved
        return fixed | {name: tuple(b.shape) for name, b in self.module.named_buffers() if name in kept}

    def parameter_count(self) -> int:
        """The number of trained numbers in one lane."""
        return sum(math.prod(shape) for shape in self.shapes().values())

    def initial(self, source: np.random.Generator) -> dict[str, np.ndarray]:
        """One lane's initial weights: those of a module that is made from a seed drawn from source."""
        with own_randomness(int(source.integers(2**63))):
            made = self.make()
        tensors = {**dict(made.named_parameters()), **dict(made.named_buffers())}
        return {name: tensors[name].detach().double().numpy() for name in (*self.shapes(), *self.buffers())}

    def keyed_initial(self, seed: int, purpose: Stream) -> dict[str, np.ndarray]:
        """One lane's initial weights: a pure function of (seed, purpose)."""
        return self.initial(stream(seed, purpose))

    def __call__(self, weights: Weights, x: Tensor, call: Call) -> Tensor:
        """Maps x [L, N, ...] -> [L, N, ...] in each lane."""
        self.module.train(call.training)
        call.own_calls += 1
        together = self.traits.plain if in_plain_calls() else self.traits.vmapped and lanes_together(x)
        compute = self.together if together else self.lane_by_lane
        return compute(weights, x, call)

    def lane_by_lane(self, weights: Weights, x: Tensor, call: Call) -> Tensor:
        """Calls the module once for each lane."""
        answers, passed = [], call.dropouts_passed
        apply = to_one_lane if x.device.type == "cpu" else None
        for lane in range(len(x)):
            call.dropouts_passed = passed
            given = {name: _lane(weights[name], lane) for name in self.shapes()}
            given |= {name: self._given(weights[name], name, lane, call) for name in self.buffers()}

            def mask_of(share: float, shape: tuple[int, ...], lane: int = lane) -> Tensor:
                return _lane(call.mask(x, share, shape), lane)

            calls = OwnCalls(mask_of, self.traits.last_sigmoid, apply=apply)
            answers.append(self._called(given, _lane(x, lane), calls, self._seed(call, lane)))
            self._take_back(weights, given, lane, call)
        return stacked(answers)

    def together(self, weights: Weights, x: Tensor, call: Call) -> Tensor:
        """Calls the module once for all lanes."""
        own = {name: weights[name] for name in self.shapes()}
        buffers = {name: self._typed(weights[name].data, name) for name in self.buffers()}
        buffers = {name: b.clone() if name in self.traits.moved else b for name, b in buffers.items()}
        dropouts = self.traits.dropouts if call.training else self.traits.sampling_dropouts
        places = range(call.dropouts_passed + 1, call.dropouts_passed + 1 + dropouts)
        if any(place not in call.masks for place in places):
            return self.lane_by_lane(weights, x, call)  # which finds out how large masks are
        masks = {place: call.masks[place] for place in places}
        last_sigmoid, apply = self.traits.last_sigmoid, in_vmap if in_plain_calls() else None

        def one(
            own: dict[str, Tensor], buffers: dict[str, Tensor], row: Tensor, masks: dict[int, Tensor]
        ) -> tuple[Tensor, dict[str, Tensor]]:
            remaining = iter(masks.values())
            calls = OwnCalls(lambda share, shape: next(remaining), last_sigmoid, apply=apply)
            given = {**own, **buffers}
            answer = self._called(given, row, calls, None)
            return answer, {name: given[name] for name in self.traits.moved}

        with warnings.catch_warnings():  # a call that vmap has no rule for is computed lane by lane, as said elsewhere
            warnings.filterwarnings("ignore", message="There is a performance drop")
            answers, moved = torch.vmap(one)(own, buffers, x, masks)
        call.dropouts_passed += len(places)
        for name, value in moved.items():
            call.move(weights[name], value)
        return answers

    def _called(self, named: dict[str, Tensor], x: Tensor, calls: OwnCalls, seed: int | None) -> Tensor:
        """One lane's pass. named: its weights and buffers, and afterwards what the module has put in their place."""
        given = {**named, **self._constants(x.device)}
        x = x.clone() if self.traits.spoils else x
        arguments = self.form.arguments(x, calls)
        with ExitStack() as within:
            within.enter_context(calls)
            if self.twice:
                within.enter_context(sdpa_kernel(SDPBackend.MATH))
            if x.device.type != "cpu":
                within.enter_context(x.device)  # where the module's own new tensors are made
            if seed is not None:
                within.enter_context(own_randomness(seed, x.device))
            within.enter_context(theirs(f"{type(self.module).__name__} cannot be called"))
            answer = call_with(self.module, given, arguments)
        named.update({name: given[name] for name in named})
        return answer.reshape(len(x), *self.form.result)

    def _seed(self, call: Call, lane: int) -> int | None:
        """What the global generators begin from in a lane's pass; None where it does not draw from them."""
        if not self.traits.random:
            return None
        seed = call.seeds[lane] if call.seeds else 0
        return int(stream(seed, Stream.OWN_RANDOMNESS, *call.seen, call.own_calls).integers(2**63))

    def _constants(self, device: torch.device) -> dict[str, Tensor]:
        """The buffers that stay in the module. They are copied once, because nothing may be copied to a GPU during a
        capture.
        """
        if device not in self.constants:
            kept = self.buffers()
            copied = {name: b.to(device) for name, b in self.module.named_buffers() if name not in kept}
            self.constants[device] = copied
        return self.constants[device]

    def _typed(self, buffer: Tensor, name: str) -> Tensor:
        """A buffer in the module's own type, where that is not a floating-point one; rows hold numbers of one type."""
        dtype = self.named()[name].dtype
        return buffer if dtype.is_floating_point else buffer.round().to(dtype)

    def _given(self, buffer: Tensor, name: str, lane: int, call: Call) -> Tensor:
        """What the module is given in a lane for a buffer: its place in the rows, which the module may change, or a
        copy where it must not. `data` hides changes from autograd, as in `Call.move`.
        """
        place = self._typed(_lane(buffer.data, lane), name)
        return place.clone() if name in self.traits.moved and not call.moves(lane) else place

    def _take_back(self, weights: Weights, given: Mapping[str, Tensor], lane: int, call: Call) -> None:
        """Writes what the module has put in place of what it moves, where that is not its place."""
        for name in self.traits.moved & given.keys():
            place = _lane(weights[name].data, lane)
            if call.moves(lane) and given[name].data_ptr() != place.data_ptr():
                place.copy_(given[name].detach())


def call_with(module: nn.Module, given: dict[str, Tensor], arguments: tuple[Tensor, ...]) -> Any:
    """What a module returns with these weights and buffers, each under the first of its names. `given` holds afterwards
    what the module has put in their place. (Where a module has two names, `functional_call` finds its weights twice and
    does not put back the module's own.)
    """
    first: dict[int, str] = {}
    placed: dict[str, Tensor] = {}
    for place, part in module.named_modules():
        for held in (part.named_parameters, part.named_buffers):
            for name, tensor in held(place, recurse=False, remove_duplicate=False):
                placed[name] = given[first.setdefault(id(tensor), name)]
    answer = functional_call(module, placed, arguments, tie_weights=False)
    given.update({name: placed[name] for name in given})
    return answer


def _lane(tensor: Tensor, lane: int) -> Tensor:
    """One lane of [L, ...]. That of a single lane is a view in the backward pass too, where it costs no call."""
    return tensor.squeeze(0) if len(tensor) == 1 else tensor[lane]
