"""One Trainer of a person's own, as a sweep calls it: with keyed random numbers, and with its errors as theirs."""

import inspect
import io
import math
import random
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gan_core.config.arguments import Plain
from gan_core.config.input_error import InputError, closest, shortened, shown
from gan_core.files.own_code import theirs
from gan_core.lanes.streams import Stream, stream

# Method -> the arguments with which it is called.
METHODS: Mapping[str, tuple[str, ...]] = {
    "train_to": ("images",),
    "state_dict": (),
    "load_state_dict": ("state",),
}
OPTIONAL: Mapping[str, tuple[str, ...]] = {"sample": ("count",)}
CALLS = ("__init__", "load_state_dict", "train_to", "state_dict", "sample")  # each draws from a stream of its own
LOSSES = ("d_loss", "g_loss")
LEAVES = (Tensor, torch.nn.Parameter, type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device)
MOST_LEVELS = 50  # of a state; pickle itself goes on for a few hundred
MOST_NUMBERS = 1000  # in a report: each is a column of the table
CHANNELS = (1, 3)

Samples = np.ndarray | list[str]


def check_trainer(made: Any, name: str) -> type:
    """Returns the class of a Trainer. name: how the person refers to it. Raises InputError where it is no class, lacks
    a method, or has one that cannot be called as a sweep calls it.
    """
    if not isinstance(made, type):
        raise InputError(f"{name} must be a class with {', '.join(METHODS)}, got {shown(made)}")
    missing = [method for method in METHODS if not callable(getattr(made, method, None))]
    if missing:
        near = closest(missing[0], dir(made))
        raise InputError(f"{name} has no method {missing[0]}(); {f'did you mean {near!r}?' if near else 'add it'}")
    _check_call(made, name, ("config", "device"))
    for method, arguments in {**METHODS, **OPTIONAL}.items():
        if hasattr(made, method):
            _check_call(getattr(made, method), f"{name}.{method}", ("self", *arguments))
    return made


def _check_call(called: Any, name: str, arguments: tuple[str, ...]) -> None:
    try:
        inspect.signature(called).bind(*arguments)
    except TypeError as error:
        given = ", ".join(argument for argument in arguments if argument != "self")
        raise InputError(f"{name} must be callable as {name}({given}): {error}") from error
    except ValueError:  # a signature that Python does not know; the call itself will tell
        return


class OwnTrainer:
    """A Trainer in training. images: the examples that it has seen.

    made: the class. name: how the person refers to it, for messages. config: hyperparameter -> value, by the names
    without `trainer.`, and `seed`. state: what `state` of another one returned, from which this one goes on, with the
    hyperparameters of its own.

    In every call, the global generators of torch, NumPy and Python begin from a seed that follows from `seed`, from the
    images seen, which are 0 for the constructor, and from what is called; afterwards they are as they were. Raises
    OwnCodeError for what the Trainer raises, InputError where it returns something else than it should, and what lack
    of memory raises.
    """

    def __init__(
        self,
        made: type,
        name: str,
        config: Mapping[str, Plain],
        device: torch.device,
        images: int = 0,
        state: Tensor | None = None,
    ) -> None:
        self.name, self.images = name, 0  # so that the constructor draws the same whenever it is called
        self._seed, self._device = int(config["seed"]), device
        with self._calling("__init__"):
            self._trainer: Any = made(dict(config), device)
        self.images = images
        if state is not None:
            loaded = torch.load(io.BytesIO(state.numpy().tobytes()), map_location="cpu", weights_only=True)
            with self._calling("load_state_dict"):
                self._trainer.load_state_dict(loaded)

    @contextmanager
    def _calling(self, call: str) -> Iterator[None]:
        with theirs(f"{self.name}.{call} failed"), keyed(self._seed, self.images, call, self._device):
            yield

    def train_to(self, images: int, scores: Sequence[str]) -> dict[str, float]:
        """Trains until `images` examples have been seen in all; returns the numbers of the report. scores: those that
        it must have.
        """
        with self._calling("train_to"):
            report = self._trainer.train_to(images)
        self.images = images
        return report_numbers(report, scores, f"the report of {self.name}.train_to")

    def state(self) -> Tensor:
        """The state as the bytes that torch.save writes of it, uint8. torch.load(weights_only=True) reads them."""
        where = f"{self.name}.state_dict()"
        with self._calling("state_dict"):
            found = self._trainer.state_dict()
        if found is None:
            raise InputError(f"{where} must return all that load_state_dict needs, got None")
        _refuse_unloadable(where, found)
        file = io.BytesIO()
        torch.save(found, file)
        return torch.frombuffer(bytearray(file.getvalue()), dtype=torch.uint8)

    def sample(self, count: int, seed: int | None = None) -> Samples | None:
        """Up to `count` samples: images float32 [n, C, H, W] in [-1, 1], or texts; None where the class draws none.
        seed: another than that of the configuration.
        """
        if not hasattr(self._trainer, "sample"):
            return None
        key = self._seed if seed is None else seed
        with (
            theirs(f"{self.name}.sample failed"),
            keyed(key, self.images, "sample", self._device),
            torch.no_grad(),
        ):
            found = self._trainer.sample(count)
        return _samples(found, count, f"{self.name}.sample()")


@contextmanager
def keyed(seed: int, images: int, call: str, device: torch.device) -> Iterator[None]:
    """Within this context the global generators of torch, NumPy and Python begin from a seed of these; afterwards they
    are as they were. call: one of CALLS.
    """
    key = int(stream(seed, Stream.OWN_TRAINER, images, CALLS.index(call)).integers(2**63))
    on_gpu = [device] if device.type == "cuda" else []
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=on_gpu):
        torch.manual_seed(key)
        random.seed(key)
        np.random.seed(key % 2**32)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


def report_numbers(report: Any, scores: Sequence[str], where: str) -> dict[str, float]:
    """A report as numbers by name, with all these scores. Raises InputError where it is no such mapping."""
    if not isinstance(report, Mapping):
        raise InputError(f"{where} must map names to numbers, {scores[0]!r} among them, got {shown(report)}")
    if len(report) > MOST_NUMBERS:
        raise InputError(f"{where} may have {MOST_NUMBERS:,} numbers, got {len(report):,}")
    found = {}
    for name, value in report.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise InputError(f"a name in {where} must be a word of letters, digits and _, got {shown(name)}")
        found[name] = _number(value, f"{name!r} in {where}")
    for score in scores:
        if score not in found:
            has = ", ".join(found) or "nothing"
            raise InputError(f"{where} has no {score!r}, which is an objective of the sweep; it has {has}")
    return found


def _number(value: Any, where: str) -> float:
    """A number of Python, NumPy or torch, such as a loss that is a tensor of one element."""
    if isinstance(value, Tensor | np.ndarray | np.generic) and math.prod(value.shape) == 1:
        value = value.item()
    if isinstance(value, int | float):
        return float(value)
    raise InputError(f"{where} must be a number, got {shown(value)}")


def _refuse_unloadable(where: str, value: Any, levels: int = MOST_LEVELS) -> None:
    """Raises InputError, with the key, for the first part of a state that torch.load(weights_only=True) cannot read."""
    if type(value) in LEAVES:
        return
    if not levels:
        raise InputError(f"{shortened(where, 60)} is nested in more than {MOST_LEVELS} levels, or holds itself")
    if type(value) in (dict, OrderedDict):
        for key, inner in value.items():
            _refuse_unloadable(f"the key of {where}", key, levels - 1)
            _refuse_unloadable(f"{where}[{shortened(repr(key))}]", inner, levels - 1)
    elif type(value) in (list, tuple):
        for place, inner in enumerate(value):
            _refuse_unloadable(f"{where}[{place}]", inner, levels - 1)
    elif not _is_loadable(value):
        raise InputError(
            f"{shortened(where)} is of type {type(value).__module__}.{type(value).__qualname__}, which "
            "torch.load(weights_only=True) does not read; keep tensors, numbers and texts, and lists and dicts of them"
        )


def _is_loadable(value: Any) -> bool:
    file = io.BytesIO()
    try:
        torch.save(value, file)
        file.seek(0)
        torch.load(file, weights_only=True)
    except Exception:  # pickling an object of a person's own may raise anything
        return False
    return True


def _samples(found: Any, count: int, where: str) -> Samples:
    if isinstance(found, list | tuple) and found and all(isinstance(one, str) for one in found):
        return list(found[:count])
    got = shown(found)
    if isinstance(found, Tensor | np.ndarray):
        if isinstance(found, Tensor):
            found = (found if found.dtype == torch.uint8 else found.float()).detach().cpu().numpy()
        images = found / 127.5 - 1 if found.dtype == np.uint8 else found
        if images.ndim == 4 and images.shape[1] in CHANNELS and images.size and images.dtype.kind in "fiu":
            return images[:count].astype(np.float32)
        got = f"{images.dtype} of shape {list(images.shape)}"
    raise InputError(
        f"{where} must be images [n, C, H, W] in [-1, 1] or uint8, with C 1 or 3, or a list of texts, got {got}"
    )
