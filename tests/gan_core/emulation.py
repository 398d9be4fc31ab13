"""Kernels of ARM's NEON on a machine that is none: cross-compiled, and run under an emulator (`emulated.c`)."""

import re
import shutil
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from native_cases import Function, Tensors, source

from gan_core.native.compiler import (
    DOUBLE,
    FLAGS,
    MULTIPLYING,
    PRODUCT,
    PRODUCT_ONTO,
    SINGLE,
    WINOGRAD,
    multiplying_text,
    over_lane_header,
)
from gan_core.native.isa import ISAS
from gan_core.native.library import LANES_IN_TURN
from gan_core.native.native_source import text_of

COMPILER, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64"
ROOT = "/usr/aarch64-linux-gnu"  # where Debian keeps that processor's libraries
NEON = ISAS["neon"]


def can_emulate() -> bool:
    return all(map(shutil.which, (COMPILER, EMULATOR)))


class Emulator:
    """Compiles texts for NEON, once each, and calls what is in them."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._made = folder, dict[tuple[str, ...], Path]()
        self._program = folder / "emulated"
        _compile(["-O1", "-o", str(self._program), str(Path(__file__).with_name("emulated.c")), "-ldl"])

    def library(self, text: str, *flags: str) -> Path:
        """Of a text that begins with SINGLE or DOUBLE."""
        text = NEON.text() + text
        if (text, *flags) not in self._made:
            made = self._folder / f"{len(self._made)}.so"
            made.with_suffix(".c").write_text(text)
            _compile([*FLAGS, *NEON.flags, *flags, "-o", str(made), str(made.with_suffix(".c")), "-lm"])
            self._made[text, *flags] = made
        return self._made[text, *flags]

    def call(
        self,
        library: Path,
        function: str,
        buffers: Sequence[np.ndarray],
        pointers: Sequence[tuple[int, int, int]],
        arguments: Sequence[tuple[bool, int]],
        floats: tuple[float, float] = (0.0, 0.0),
        linked: Sequence[tuple[Path, str, Path]] = (),
    ) -> list[np.ndarray]:
        """The buffers after the call. pointers: buffer, byte, and the buffer that is pointed to; arguments: whether it
        is a buffer, and which, or a number; linked: a library, the name of its variable, and where the function is.
        """
        given = [struct.pack("<q", len(buffers))]
        given += [part for buffer in buffers for part in (struct.pack("<q", buffer.nbytes), buffer.tobytes())]
        given += [struct.pack("<q", len(pointers)), *(struct.pack("<3q", *pointer) for pointer in pointers)]
        given += [struct.pack("<q", len(arguments)), *(struct.pack("<2q", *argument) for argument in arguments)]
        given += [struct.pack("<2f", *floats)]
        names = [str(word) for words in linked for word in words]
        command = [EMULATOR, "-L", ROOT, str(self._program), str(library), function, *names]
        done = subprocess.run(command, input=b"".join(given), capture_output=True, check=True, timeout=120)
        parts, place = [], 0
        for buffer in buffers:
            part = np.frombuffer(done.stdout, buffer.dtype, buffer.size, place).reshape(buffer.shape)
            parts.append(part.copy())
            place += buffer.nbytes
        return parts

    def ran(self, function: Function, tensors: Tensors) -> Tensors:
        """The tensors after the function, as `native_cases.ran` has them."""
        mine = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
        made, like = source(function, mine), next(iter(mine.values()))
        kind = SINGLE if like.dtype == torch.float32 else DOUBLE
        text = text_of([made]) + LANES_IN_TURN.replace("lane_of", "tested")
        values = list(mine.values())
        given = [values[one] if isinstance(one, int) else one.contiguous() for one in made.given]
        memory = np.zeros(made.numbers, like.numpy().dtype)
        pitches = np.array([one.stride(0) for one in given], np.int64)
        beside = [np.ones(len(like), np.uint8), np.zeros(len(given), np.int64), pitches, memory]
        buffers, first = [*beside, *(one.numpy() for one in given)], len(beside)
        library = self.library(kind + over_lane_header(text))
        done = self.call(
            library,
            "program",
            buffers,
            [(1, 8 * i, first + i) for i in range(len(given))],
            [(False, len(like)), *((True, i) for i in range(len(beside)))],
            linked=self._linked(library, text, kind),
        )
        for one, result in zip(given, done[first:], strict=True):
            one.copy_(torch.from_numpy(result))
        return mine

    def _linked(self, library: Path, text: str, kind: str) -> list[tuple[Path, str, Path]]:
        """What a program's variables are set to, for those of MULTIPLYING that it calls."""
        linked: list[tuple[Path, str, Path]] = []
        for name in MULTIPLYING:
            if re.search(rf"\b{name}\(", text):
                linked.append((library, name, self._multiplying(name, kind)))
                if name in WINOGRAD.values():
                    linked.append((linked[-1][2], PRODUCT_ONTO, self._multiplying(PRODUCT, kind)))
        return linked

    def _multiplying(self, name: str, kind: str) -> Path:
        text, flags = multiplying_text(name)
        return self.library(kind + text, *flags)


def _compile(arguments: Sequence[str]) -> None:
    done = subprocess.run([COMPILER, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
