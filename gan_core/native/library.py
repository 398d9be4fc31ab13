"""From C text to a function that this process can call."""

import ctypes
import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from gan_core.native.compiler import (
    DOUBLE,
    MULTIPLYING,
    PRODUCT,
    PRODUCT_ONTO,
    SINGLE,
    WINOGRAD,
    loaded_library,
    multiplying_text,
    over_lane_header,
    target,
)
from gan_core.native.isa import Isa
from gan_core.native.mirrored import Structure, check_layout
from gan_core.native.native_source import NativeSource, text_of

TYPES = {torch.float32: SINGLE, torch.float64: DOUBLE}
MEMORY_BYTES = 64  # the alignment of a lane's memory: a cache line, and no vector is longer


class LaneMemory:
    """Memory in which a lane is computed, shared by programs that never run at the same time; as large as the largest
    of them needs.
    """

    def __init__(self) -> None:
        self.pointer = ctypes.c_void_p()
        self._buffer: Tensor | None = None

    @property
    def bytes(self) -> int:
        return 0 if self._buffer is None else self._buffer.nbytes

    def reserve(self, size: int) -> None:
        """Makes at least so many bytes available from `pointer` on; earlier contents are lost."""
        if size + MEMORY_BYTES > self.bytes:
            self._buffer = torch.empty(size + MEMORY_BYTES, dtype=torch.uint8)
            self.pointer.value = -(-self._buffer.data_ptr() // MEMORY_BYTES) * MEMORY_BYTES


class Given:
    """The C arrays `pointers` and `pitches` of a source whose placeholders are these tensors."""

    def __init__(self, source: NativeSource, placeholders: Sequence[Tensor]) -> None:
        self._keeps = [placeholders[given] if isinstance(given, int) else given for given in source.given]
        self.pointers = (ctypes.c_void_p * len(self._keeps))(*(tensor.data_ptr() for tensor in self._keeps))
        self.pitches = (ctypes.c_long * len(self._keeps))(*(tensor.stride(0) for tensor in self._keeps))


LANES_IN_TURN = """
void program(long lanes, const unsigned char *goes, T *const *given, const long *pitch, T *memory) {
    for (long lane = 0; lane < lanes; lane++)
        if (goes[lane]) lane_of(lane, given, pitch, memory);
}
"""


class NativeProgram:
    """A source applied to these tensors, one lane after the other, as often as it is called."""

    def __init__(self, source: NativeSource, name: str, tensors: Sequence[Tensor], memory: LaneMemory) -> None:
        """name: of the source's function; tensors: its placeholders, in order. Raises NoCompiler."""
        lanes, like = len(tensors[0]), tensors[0]
        memory.reserve(source.numbers * like.element_size())
        self._given = Given(source, tensors)
        self._function = native_function(text_of([source]) + LANES_IN_TURN.replace("lane_of", name), like.dtype)
        self._memory = memory
        self._lanes = lanes

    def __call__(self, active: Sequence[bool] | None = None) -> None:
        """active: which lanes are computed; None: all of them."""
        goes = bytes(active or [True] * self._lanes)
        given = self._given.pointers, self._given.pitches
        self._function(ctypes.c_long(self._lanes), goes, *given, self._memory.pointer)


def native_function(text: str, dtype: torch.dtype, *mirrored: Structure) -> Any:
    """The function `program` of a text over `lane.h`, with T for numbers of this type. mirrored: structures that are
    also in the text, by their names. Raises NoCompiler, and WrongLayout where the text lays one of them out otherwise.
    """
    return _native_function(text, dtype, target(), *mirrored)


@cache
def _native_function(text: str, dtype: torch.dtype, isa: Isa, *mirrored: Structure) -> Any:
    whole = over_lane_header(text)
    library = _library(whole, dtype, isa)
    for structure in mirrored:
        check_layout(structure, whole, library)
    for name in MULTIPLYING:
        if re.search(rf"\b{name}\(", text):
            ctypes.c_void_p.in_dll(library, name).value = _multiplying(name, dtype, isa)
    return library.program


@cache
def _multiplying(name: str, dtype: torch.dtype, isa: Isa) -> int | None:
    text, flags = multiplying_text(name)
    library = _library(text, dtype, isa, *flags)
    if name in WINOGRAD.values():
        products, flags = multiplying_text(PRODUCT)
        address = ctypes.cast(getattr(_library(products, dtype, isa, *flags), PRODUCT_ONTO), ctypes.c_void_p)
        ctypes.c_void_p.in_dll(library, PRODUCT_ONTO).value = address.value
    return ctypes.cast(getattr(library, name), ctypes.c_void_p).value


@cache
def _library(text: str, dtype: torch.dtype, isa: Isa, *flags: str) -> ctypes.CDLL:
    """The library for this instruction set, which stays in the process and on disk."""
    assert isa == target()
    return loaded_library(TYPES[dtype] + text, *flags)
