"""Finds out by calling a person's module how it is called, what it returns, and how its lanes can be carried.

N rows of a batch, Z numbers of a latent.
"""

import inspect
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from gan_core.config.input_error import InputError
from gan_core.config.structure import StructureConfig
from gan_core.files.own_code import theirs
from gan_core.lanes.axis import plain_calls
from gan_core.lanes.streams import Stream
from gan_core.lanes.torch_internals import TorchDispatchMode
from gan_core.networks.call import Call
from gan_core.networks.own_calls import OwnCalls, own_randomness
from gan_core.networks.own_lanes import Form, OwnNetwork, Traits

LABEL_NAMES = ("y", "label", "labels", "c", "cls", "classes", "class_labels", "condition")
PROBED_ROWS = 4
LARGE = 30.0  # weights are multiplied by it to see whether what D returns leaves [0, 1], as logits do
CLOSE = 1e-10  # of the largest number, in float64, where vmap computes the same
UNTRACEABLE = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)


def takes_labels(module: nn.Module, classes: int) -> bool:
    """Whether a module's forward takes labels beside its first argument: a second one without a default, or with one
    that is named as labels are, where the data have classes.
    """
    second = list(inspect.signature(module.forward).parameters.values())[1:2]
    if not second or second[0].kind not in (second[0].POSITIONAL_ONLY, second[0].POSITIONAL_OR_KEYWORD):
        return False
    return second[0].default is second[0].empty or (classes > 0 and second[0].name in LABEL_NAMES)


def examined(
    name: str,
    module: nn.Module,
    make: Callable[[], nn.Module],
    structure: StructureConfig,
    result: tuple[int, ...],
    forms: list[tuple[int, ...]],
    classes: int,
) -> OwnNetwork:
    """A module as a network. name: of its class, for messages. result: the shape of a row that it is to return, (1,)
    for a logit; forms: shapes in which a row of its first argument may be given, the first preferred. Raises
    InputError where what it returns does not fit, and OwnCodeError for what it raises itself.
    """
    rows = _rows(math.prod(forms[0]), classes, min(PROBED_ROWS, structure.batch_size))
    with theirs(f"{name} cannot be called"):
        form, answer = _called_in_a_form(module, rows, [Form(math.prod(f), f, classes, result) for f in forms])
        _check_answer(name, answer, form, len(rows))
        network = OwnNetwork(module, make, form)
        last_sigmoid = _last_sigmoid(name, network, rows) if result == (1,) else None
        traits = _traits(network, rows, last_sigmoid)
        network = replace(network, traits=replace(traits, rowwise=_is_rowwise(module, form, rows, traits)))
    if not network.traits.traced:
        return network
    second = structure.penalty != "none" and result == (1,)
    vmapped = _vmap_is_right(network, rows, second=second)
    with plain_calls():
        plain = vmapped and _vmap_is_right(network, rows, second=second)
    return replace(network, traits=replace(network.traits, vmapped=vmapped, plain=plain))


def _rows(numbers: int, classes: int, count: int) -> Tensor:
    """What a module is shown: uniform in (-1, 1), with a one-hot class in turn at the end where it takes labels."""
    first = torch.rand(count, numbers, generator=torch.Generator().manual_seed(0)).mul_(2).sub_(1)
    if not classes:
        return first
    return torch.cat((first, F.one_hot(torch.arange(count) % classes, classes).to(first)), 1)


def _called(
    module: nn.Module,
    form: Form,
    rows: Tensor,
    calls: OwnCalls,
    *,
    training: bool = True,
    seed: int = 0,
    **changed: Any,
) -> tuple[Tensor, dict[str, Tensor]]:
    """What a pass returns, and its buffers afterwards; the module's own do not change. changed: other weights."""
    module.train(training)
    named = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    given = {name: tensor.detach().clone() for name, tensor in named.items()} | changed.get("weights", {})
    with own_randomness(seed), calls, torch.no_grad():
        return functional_call(module, given, form.arguments(rows)), given


def _called_in_a_form(module: nn.Module, rows: Tensor, forms: list[Form]) -> tuple[Form, Any]:
    """The first form that the module can be called in, and what it returns. Raises what the module raises in the first
    form where it raises in all.
    """
    error: Exception | None = None
    for form in forms:
        try:
            return form, _called(module, form, rows, OwnCalls())[0]
        except Exception as raised:  # a person's own code may raise anything
            error = error or raised
    assert error is not None
    raise error


def _check_answer(name: str, answer: Any, form: Form, count: int) -> None:
    """Raises InputError unless a module has returned finite numbers, as many as it is to return, on the CPU."""
    is_logit = form.result == (1,)
    wanted = "logits [N] or [N, 1]" if is_logit else f"samples [N, {', '.join(map(str, form.result))}]"
    if not isinstance(answer, Tensor):
        raise InputError(f"{name} must return {wanted}, got {type(answer).__name__}; return one tensor")
    shape, numbers = tuple(answer.shape), math.prod(form.result)
    fits = answer.numel() == count * numbers and shape[:1] in ((count,), ())
    if not fits or (not is_logit and shape[1:] not in (form.result, (numbers,))):
        came = ", ".join(["N" if shape[:1] == (count,) else str(shape[:1]), *map(str, shape[1:])])
        raise InputError(f"{name} must return {wanted}, got [{came}]; change its last layer, or the data set")
    if answer.device.type != "cpu":
        raise InputError(
            f"{name} must stay on the device of its input, got what lies on {answer.device}; leave out .to"
        )
    if not answer.is_floating_point():
        raise InputError(f"{name} must return {wanted} of floating-point numbers, got {answer.dtype}")
    if not bool(answer.isfinite().all()):
        raise InputError(
            f"{name} returns numbers that are not finite in its first forward; check how its weights begin"
        )


def _last_sigmoid(name: str, network: OwnNetwork, rows: Tensor) -> int | None:
    """The number of the sigmoid call that a D ends with: without it D returns the logits of what it returns with it.
    Raises InputError where D seems to return probabilities that were made otherwise.
    """
    module, form, counted = network.module, network.form, OwnCalls()
    answer, given = _called(module, form, rows, counted)
    last = counted.sigmoids - 1
    if last >= 0:
        logits, _ = _called(module, form, rows, OwnCalls(skipped_sigmoid=last))
        if torch.allclose(logits.sigmoid(), answer, rtol=1e-5, atol=1e-7):
            return last
    if 0 <= float(answer.min()) <= float(answer.max()) <= 1:
        large = {n: t * LARGE for n, t in module.named_parameters()}
        answer, _ = _called(module, form, rows, OwnCalls(), weights=large)
        if 0 <= float(answer.min()) <= float(answer.max()) <= 1:
            raise InputError(
                f"{name} must return logits, or end in a sigmoid, got numbers in [0, 1] that are made otherwise; "
                "return the logits"
            )
    return None


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
        self.random |= torch.Tag.nondeterministic_seeded in func.tags
        return func(*args, **(kwargs or {}))


def _traits(network: OwnNetwork, rows: Tensor, last_sigmoid: int | None) -> Traits:
    """All that can be seen in passes of one lane."""
    seen, calls = _Seen(), OwnCalls(lambda share, shape: torch.ones(shape))
    moved, spoils = set[str](), False
    for training in (False, True):
        answers = []
        for seed in (0, 1):
            x = rows.clone()
            with seen:
                answer, given = _called(network.module, network.form, x, calls, training=training, seed=seed)
            answers.append(answer)
            spoils |= not x.equal(rows)
            moved = {name for name, buffer in network.module.named_buffers() if not given[name].equal(buffer)}
        seen.random |= not answers[0].equal(answers[1])
    return Traits(
        traced=not (seen.random or seen.depends_on_values or calls.takes_out),
        random=seen.random,
        dropouts=calls.dropouts // 2,
        last_sigmoid=last_sigmoid,
        moved=frozenset(moved),
        spoils=spoils,
    )


def _is_rowwise(module: nn.Module, form: Form, rows: Tensor, traits: Traits) -> bool:
    """Whether a pass over a batch in training is one over each of its rows: nothing is drawn, no buffer moves, and no
    row depends on another.
    """
    if traits.random or traits.dropouts or traits.moved or len(rows) < 2:
        return False
    whole, *parts = (_called(module, form, part, OwnCalls())[0] for part in (rows, *rows.split(len(rows) // 2)))
    return torch.allclose(whole, torch.cat(parts), rtol=1e-5, atol=1e-6 * float(whole.abs().max()))


def _vmap_is_right(network: OwnNetwork, rows: Tensor, *, second: bool) -> bool:
    """Whether vmap over two lanes gives what each lane gives by itself, in float64 and in training: what the module
    returns, its gradients, its buffers afterwards, and with `second` also the gradients of a gradient penalty.
    """
    lanes = [network.keyed_initial(seed, Stream.GENERATOR_WEIGHTS) for seed in (0, 1)]
    rows = torch.stack((rows, rows.flip(0))).double()
    masks: dict[int, Tensor] = {}
    results = []
    for way in (network.lane_by_lane, network.together):
        weights = {name: torch.stack([torch.from_numpy(lane[name]) for lane in lanes]).double() for name in lanes[0]}
        leaves = {name: weights[name].requires_grad_() for name in network.shapes()}
        x = rows.clone().requires_grad_()
        call = Call([0.0, 0.0], training=True, seeds=(0, 1), masks=masks)
        try:
            with warnings.catch_warnings(action="ignore"):  # of vmap, where it has no rule for a call
                answer = way({**weights, **leaves}, x, call)
                results.append(
                    _derived(answer, x, leaves, second=second) + [weights[n].data for n in network.buffers()]
                )
        except Exception:  # a person's own code, and vmap within it, may raise anything
            return False
    largest = max(float(tensor.abs().max()) for tensor in results[0] if tensor.numel())
    pairs = zip(*results, strict=True)  # of the largest number of all, because some gradients are but rounding
    return all(torch.allclose(one, other, rtol=0.0, atol=CLOSE * largest) for one, other in pairs)


def _derived(answer: Tensor, x: Tensor, leaves: dict[str, Tensor], *, second: bool) -> list[Tensor]:
    """An answer with its gradients, and with those of a penalty on its gradient with respect to x."""
    factors = torch.arange(1.0, answer.numel() + 1, dtype=answer.dtype).view(answer.shape).cos()
    wanted = [x, *leaves.values()]
    first = torch.autograd.grad((answer * factors).sum(), wanted, create_graph=second, materialize_grads=True)
    found = [answer, *first]
    if second and first[0].requires_grad:
        penalty = (first[0].flatten(1).square().sum(1) * factors.flatten()[:2]).sum()
        found += torch.autograd.grad(penalty, wanted, allow_unused=True, materialize_grads=True)
    return [tensor.detach() for tensor in found]
