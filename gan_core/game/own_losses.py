"""A person's own game: two functions of the logits of one lane, mapped over lanes.

    class my_loss:                              # or a pair (discriminator, generator)
        def discriminator(real, fake): ...      # logits [R] of R decisions -> a number, descended by D
        def generator(fake): ...                # the same, descended by G;  or generator(fake, real)

A discriminator's third argument is the lane's label smoothing. Where the generator's function takes the real logits
too, D judges the real batch again in each update of G, with its weights of then; no other loss pays for that.

L lanes, R decisions.
"""

import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from gan_core.config.input_error import InputError, shown
from gan_core.config.own_names import is_reference, parse_reference
from gan_core.files.own_code import own_object, theirs
from gan_core.files.process_settings import settings_kept
from gan_core.game.losses import LOSSES, Loss
from gan_core.lanes.axis import lanes_together

KEY, ROLES = "structure.loss", ("discriminator", "generator")
OfLane = Callable[..., Tensor]  # of one lane's logits [R] -> a number


def loss_of(name: str) -> Loss:
    """The loss of a structure: one of LOSSES, or a person's own. Raises as `own_loss` does."""
    return own_loss(name) if is_reference(name) else LOSSES[name]  # pyright: ignore[reportArgumentType]


@lru_cache(maxsize=64)
@settings_kept()
def own_loss(reference: str) -> Loss:
    """The loss that a pinned reference names. Both functions are called once, with logits of two lanes.

    Raises InputError for what is no pair of functions, returns no finite number or none that depends on the logits, or
    has parameters of its own, and OwnCodeError for what they raise.
    """
    if not parse_reference(KEY, reference).name:
        raise InputError(f"{KEY} must say which loss of the file is meant, FILE.py:NAME, got {shown(reference)}")
    with theirs(f"{KEY} {shown(reference)} cannot be made"):
        functions = _functions(own_object(reference), reference)
    discriminator, generator = (functions[role] for role in ROLES)
    smoothed = _takes(discriminator, "discriminator", 2, "smoothing")
    sees_real = _takes(generator, "generator", 1, "real")
    what = f"of {KEY} {shown(reference)}"
    of_d, d_vmapped = _over_lanes(f"discriminator {what}", discriminator, 3 if smoothed else 2, descended=2)
    of_g, g_vmapped = _over_lanes(f"generator {what}", generator, 2 if sees_real else 1, descended=1)
    traced = d_vmapped and g_vmapped  # vmap refuses what looks at values or draws random numbers
    return Loss(lambda real, fake, smoothing: of_d(real, fake, smoothing), of_g, sees_real, traced)


def _functions(found: Any, reference: str) -> dict[str, OfLane]:
    """The functions of a class, an object or a pair, by role."""
    if isinstance(found, tuple | list) and len(found) == len(ROLES):
        functions = dict(zip(ROLES, found, strict=True))
    else:
        functions = {role: _method(found, role) for role in ROLES}
    if not all(map(callable, functions.values())):
        raise InputError(
            f"{KEY} {shown(reference)} must be a class with functions discriminator(real, fake) and generator(fake), "
            f"or a pair of them, got {shown(type(found).__name__)}"
        )
    return functions


def _method(found: Any, role: str) -> Any:
    """A function of a class, which may be written with `self` or without, or of an object."""
    method = getattr(found, role, None)
    takes_self = inspect.isfunction(method) and next(iter(inspect.signature(method).parameters), "") == "self"
    return getattr(found(), role) if takes_self and isinstance(found, type) else method


def _takes(function: OfLane, role: str, least: int, further: str) -> bool:
    """Whether a function takes one argument more than `least`: it has no default, or this name. Raises InputError where
    it takes another number.
    """
    with theirs(f"the arguments of {KEY} cannot be read"):
        parameters = inspect.signature(function).parameters
    needed = [p for p in parameters.values() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    takes = len(needed) == least + 1 or further in list(parameters)[least : least + 1]
    if not least <= len(needed) + (takes and len(needed) == least) <= least + 1:
        allowed = "real, fake" if role == "discriminator" else "fake"
        raise InputError(
            f"{role} of {KEY} must take ({allowed}) or ({allowed}, {further}), got ({', '.join(parameters)})"
        )
    return takes


def _over_lanes(what: str, function: OfLane, count: int, descended: int) -> tuple[Callable[..., Tensor], bool]:
    """A function of `count` tensors [L, R] -> [L], of the first of those that it is given, and whether vmap gives the
    same as a loop. On the CPU it calls the lane's function once for each, so that a lane's bits do not depend on
    others; on a GPU, and where it is traced to be compiled, once for all by vmap if that gives the same. descended: how
    many of the first are logits with respect to which there is a gradient.
    """

    def looped(*given: Tensor) -> Tensor:
        lanes = zip(*(tensor.unbind(0) for tensor in given[:count]), strict=True)
        return torch.stack([function(*lane) for lane in lanes])

    def together(*given: Tensor) -> Tensor:
        return torch.vmap(function)(*given[:count])

    source = torch.Generator().manual_seed(0)
    given = [torch.randn(2, 5, generator=source, dtype=torch.float64) for _ in range(min(count, 2))]
    given += [torch.tensor([0.0, 0.1], dtype=torch.float64)] * (count - len(given))
    with theirs(f"{what} cannot be computed"):
        _check_number(what, function, [tensor[0] for tensor in given], descended)
        for tensor in given[:descended]:
            tensor.requires_grad_()
        try:
            vmapped = _same(looped(*given), together(*given), given[:descended])
        except Exception:  # what vmap has no rule for; a person's own code may raise anything
            vmapped = False

    def over_lanes(*given: Tensor) -> Tensor:
        with theirs(f"{what} cannot be computed"):
            return (together if vmapped and lanes_together(given[0]) else looped)(*given)

    return over_lanes, vmapped


def _check_number(what: str, function: OfLane, given: list[Tensor], descended: int) -> None:
    """Raises InputError unless a function makes a finite number of these, with finite gradients with respect to the
    first of them and to nothing else.
    """
    one = function(*given)
    if not isinstance(one, Tensor) or one.shape != ():
        came = f"a tensor of shape {list(one.shape)}" if isinstance(one, Tensor) else type(one).__name__
        raise InputError(f"{what} must return one number, such as a mean over the decisions, got {came}")
    if one.requires_grad:
        raise InputError(
            f"{what} must depend on the logits alone, got parameters of its own that require gradients, which nothing "
            "would train; take numbers, or .requires_grad_(False)"
        )
    logits = [tensor.clone().requires_grad_() for tensor in given[:descended]]
    one = function(*logits, *given[descended:])
    found = torch.autograd.grad(one, logits, allow_unused=True) if one.requires_grad else ()
    if all(gradient is None for gradient in found):
        wanted = "the logits of fakes" if descended == 1 else "the logits"
        raise InputError(f"{what} must depend on {wanted}, got a number without a gradient; do not detach them")
    if not all(bool(tensor.isfinite().all()) for tensor in (one, *found) if tensor is not None):
        first, second, *_ = given[0].tolist()
        raise InputError(
            f"{what} must be finite, and its gradients too, got {one.item():g} for logits such as {first:.1f} and "
            f"{second:.1f}; log D is F.logsigmoid(x), and log(1 - D) is F.logsigmoid(-x)"
        )


def _same(one: Tensor, other: Tensor, logits: list[Tensor]) -> bool:
    """Whether two losses [L] of the same logits are equal, and their gradients."""
    pairs = zip(
        [one, *torch.autograd.grad(one.sum(), logits, materialize_grads=True)],
        [other, *torch.autograd.grad(other.sum(), logits, materialize_grads=True)],
        strict=True,
    )
    return all(torch.allclose(x, y, rtol=1e-12, atol=1e-14) for x, y in pairs)
