"""Finds out by calling a person's module how it is called and what it returns, and refuses what cannot be trained.

N rows of a batch, Z numbers of a latent.
"""

import inspect
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from gan_core.config.input_error import InputError
from gan_core.config.structure import StructureConfig
from gan_core.files.own_code import theirs
from gan_core.native.toolchain import tell
from gan_core.networks.layers import Weights
from gan_core.networks.own_calls import OwnCalls, own_randomness
from gan_core.networks.own_lanes import Form, OwnNetwork, Traits
from gan_core.networks.own_traits import (
    call_of,
    called,
    examined_traits,
    first_lane,
    lanes_of,
    probed_rows,
    results,
    same,
    shown_rows,
)

LABEL_NAMES = ("y", "label", "labels", "c", "cls", "classes", "class_labels", "condition")
PROBED_ROWS = 4
LARGE = 30.0  # weights are multiplied by it to see whether what D returns leaves [0, 1], as logits do
MOVED = 0.1  # how much weights are changed to see what depends on others
CLOSE = 1e-3  # of the largest number, where two modules with the same weights compute the same


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
    twice = structure.penalty != "none" and result == (1,)
    networks = [OwnNetwork(module, make, Form(math.prod(f), f, classes, result), twice=twice) for f in forms]
    rows = probed_rows(networks[0].form, min(PROBED_ROWS, structure.batch_size))
    with theirs(f"{name} cannot be called"):
        network, answer = _called_in_a_form(networks, rows)
        _check_answer(name, answer, network.form, rows)
    with theirs(f"the gradients of {name} cannot be computed"):
        lanes = lanes_of(network, 0, 1)
        _check_gradients(name, network, first_lane(lanes), rows)
        network = _standing_alone(name, network, first_lane(lanes), rows)
        _tell_of_range(name, network, answer, rows)
        last_sigmoid = _last_sigmoid(name, network, rows) if network.form.is_logit else None
        return examined_traits(network, lanes, rows, last_sigmoid)


def _called_in_a_form(networks: list[OwnNetwork], rows: Tensor) -> tuple[OwnNetwork, Any]:
    """The first of networks of several forms that can be called, with what it moves, and what it returns. Raises what
    the module raises in the first form where it raises in all.
    """
    error: Exception | None = None
    for network in networks:
        try:
            answer, given = called(network, rows.clone(), OwnCalls())
        except Exception as raised:  # a person's own code may raise anything
            error = error or raised
            continue
        moved = frozenset(name for name, tensor in network.named().items() if not given[name].equal(tensor))
        return replace(network, traits=Traits(moved=moved)), answer
    assert error is not None
    raise error


def _check_answer(name: str, answer: Any, form: Form, rows: Tensor) -> None:
    """Raises InputError unless a module has returned finite numbers, as many as it is to return, on the CPU
    and of the type of the rows.
    """
    is_logit, count = form.is_logit, len(rows)
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
    if answer.dtype != rows.dtype:
        raise InputError(
            f"{name} must return {wanted} of the type of its input, got {answer.dtype} for {rows.dtype}; take .half, "
            ".double and autocast out, or end in .to(its input)"
        )
    if not bool(answer.isfinite().all()):
        raise InputError(
            f"{name} returns numbers that are not finite in its first forward; check how its weights begin"
        )


def _check_gradients(name: str, network: OwnNetwork, initial: Weights, rows: Tensor) -> None:
    """Raises InputError where no gradient reaches the weights, or from a D its samples, from which G learns."""
    weights, is_logit = {name: tensor.clone() for name, tensor in initial.items()}, network.form.is_logit
    leaves = [weights[weight].requires_grad_() for weight in network.shapes()]
    x = shown_rows(network, rows[None])
    passes = 1 + is_logit  # a step of D has one for real samples and one for fakes
    answer = torch.stack([network.lane_by_lane(weights, x * 1, call_of(1)) for _ in range(passes)])
    found = []
    if answer.requires_grad:
        found = torch.autograd.grad(answer.sum(), [*leaves, *[x] * is_logit], allow_unused=True)
    if all(gradient is None for gradient in found[: len(leaves)]):
        raise InputError(
            f"{name} cannot be trained: what it returns has no gradient with respect to its weights, as after "
            ".detach() or under torch.no_grad(); take these out"
        )
    if is_logit and found[-1] is None:
        raise InputError(
            f"Generator cannot be trained: what {name} returns has no gradient with respect to its samples, as after "
            ".detach() or .data; take these out"
        )


def _standing_alone(name: str, network: OwnNetwork, initial: Weights, rows: Tensor) -> OwnNetwork:
    """The network with a module that has not been called. Raises InputError where this one computes something else from
    the same weights: then the module that was called has kept something from earlier calls, or has read weights that
    it was not given.
    """
    with own_randomness(0):
        fresh = replace(network, module=network.make())
    weights, source = dict(initial), torch.Generator().manual_seed(0)
    own = fresh.named()
    for weight in fresh.shapes():
        weights[weight] = weights[weight] + MOVED * torch.rand(weights[weight].shape, generator=source)
    for weight in (*fresh.shapes(), *fresh.buffers()):
        own[weight].data.copy_(weights[weight][0])
    with own_randomness(0):
        before = results(network, weights, rows[None], call_of(1))
    with own_randomness(0):
        after = results(fresh, weights, rows[None], call_of(1))
    if not same(before, after, CLOSE):
        raise InputError(
            f"{name} computes something else once it has been called: it keeps values in attributes, or reads weights "
            "from elsewhere than its parameters, as torch.utils.checkpoint does; keep values in buffers, and take "
            "checkpoints out"
        )
    return fresh


def _tell_of_range(name: str, network: OwnNetwork, answer: Tensor, rows: Tensor) -> None:
    """Warns where images [C, H, W] have no negative numbers, neither with initial weights nor with any others."""
    if len(network.form.result) != 3 or float(answer.min()) < 0:
        return
    source = torch.Generator().manual_seed(0)
    drawn = {n: torch.randn(p.shape, generator=source) for n, p in network.module.named_parameters()}
    if float(called(network, rows.clone(), OwnCalls(), weights=drawn)[0].min()) >= 0:
        tell(
            f"{name} returns no negative numbers, and samples are in [-1, 1]; end it in nn.Tanh, or in 2 * x - 1 after "
            "a sigmoid"
        )


def _last_sigmoid(name: str, network: OwnNetwork, rows: Tensor) -> int | None:
    """The number of the sigmoid call that a D ends with: without it D returns the logits of what it returns with it.
    Raises InputError where D seems to return probabilities that were made otherwise.
    """
    counted = OwnCalls()
    answer, _ = called(network, rows.clone(), counted)
    last = counted.sigmoids - 1
    if last >= 0:
        logits, _ = called(network, rows.clone(), OwnCalls(skipped_sigmoid=last))
        if torch.allclose(logits.sigmoid(), answer, rtol=1e-5, atol=1e-7):
            return last
    if 0 <= float(answer.min()) <= float(answer.max()) <= 1:
        large = {n: t.detach() * LARGE for n, t in network.module.named_parameters()}
        answer, _ = called(network, rows.clone(), OwnCalls(), weights=large)
        if 0 <= float(answer.min()) <= float(answer.max()) <= 1:
            raise InputError(
                f"{name} must return logits, or end in a sigmoid, got numbers in [0, 1] that are made otherwise; "
                "return the logits"
            )
    return None
