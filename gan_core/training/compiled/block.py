"""A block of steps as one call of C: lane after lane, and for each lane step after step.

The numbers of a lane then stay in the cache of a core for a whole block, and there is no overhead between two steps.
"""

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from gan_core.game.step import StepPart
from gan_core.lanes.normals import SPANS, numbers_in_c
from gan_core.lanes.streams import Stream
from gan_core.native.compiler import header
from gan_core.native.library import Given, LaneMemory, native_function
from gan_core.native.native_source import NativeSource, text_of
from gan_core.native.toolchain import NoCompiler
from gan_core.training.chunk import Chunk
from gan_core.training.compiled.watching import Watched, memory_numbers, watched, watching_text
from gan_core.training.native_adam import NativeAdam, Optimizer
from gan_core.training.optim import Adam

OPTIMIZERS = ("generator", "discriminator")
POINTERS = (
    *("samples", "orders", "real", "latents", "generator_latents", "bank", "generator_banks"),
    *("draw", "seeds"),
    *("turns", "since_last", "lr_shares", "average", "weights", "average_weights"),
)
NUMBERS = (
    *("lanes", "first", "steps", "updates", "batch", "features", "bytes", "latent_numbers"),
    *("real_pitch", "latents_pitch", "generator_latents_pitch", "bank_pitch"),
    *("average_pitch", "weights_pitch", "averaged", "averages", "look_images"),
    *("fakes_purpose", "generator_purpose", "block_images"),
)


class Block(ctypes.Structure):
    """The arguments of a block; mirrors the structure in `block.h`, with which it is compared when C is loaded."""

    _fields_ = [  # noqa: RUF012
        ("given", ctypes.c_void_p * len(StepPart)),
        ("pitch", ctypes.c_void_p * len(StepPart)),
        ("memory", ctypes.c_void_p),
        *((name, ctypes.POINTER(Optimizer)) for name in OPTIMIZERS),
        ("watched", ctypes.POINTER(Watched)),
        *((name, ctypes.c_void_p) for name in POINTERS),
        *((name, ctypes.c_long) for name in NUMBERS),
        *((name, ctypes.c_float) for name in ("low", "width")),
    ]


class NativeBlock:
    """The steps of the K lanes of a chunk in C, which also draws latents, watches, and runs Adam and the averages."""

    def __init__(self, sources: Mapping[StepPart, NativeSource], chunk: Chunk, memory: LaneMemory) -> None:
        """sources: of all parts of a step, GENERATOR_AND_FAKES only where G is updated first. Raises NoCompiler."""
        like, placeholders = chunk.tensors["both"], list(chunk.tensors.values())
        self._chunk, self._draws, self._memory = chunk, chunk.draws, memory
        numbers = max(memory_numbers(chunk.tensors), *(source.numbers for source in sources.values()))
        memory.reserve(numbers * like.element_size())
        order = "#define GENERATOR_FIRST\n" if chunk.generator_first else ""
        text = text_of(sources.values()) + watching_text(chunk.game) + order + header("block.h")
        self._function = native_function(text, like.dtype, Block, Optimizer, Watched)
        self._watched = watched(chunk.watch, chunk.tensors, chunk.game)
        self._optimizers = [_optimizer(adam) for adam in (chunk.generator_adam, chunk.discriminator_adam)]
        self._given = [Given(source, placeholders) for source in sources.values()]
        networks = chunk.draws.networks
        self._draws_latents = networks.choices == networks.continuous == 0  # codes are drawn by numpy
        self._fixed = self._fixed_values()

    def _fixed_values(self) -> dict[str, Any]:
        """The arguments that are the same for every block."""
        draws, inputs = self._draws, self._draws.tensors
        samples = draws.samples
        values: dict[str, Any] = {
            "given": (ctypes.c_void_p * len(StepPart))(*(ctypes.addressof(x.pointers) for x in self._given)),
            "pitch": (ctypes.c_void_p * len(StepPart))(*(ctypes.addressof(x.pitches) for x in self._given)),
            **{name: ctypes.pointer(x) for name, x in zip(OPTIMIZERS, self._optimizers, strict=True)},
            **{"samples": samples.rows.data_ptr(), "bytes": samples.are_bytes, "features": samples.rows.shape[1]},
            **{"lanes": len(inputs["real"]), "batch": inputs["real"].shape[1]},
            **{"latent_numbers": inputs["latents"].shape[2], "updates": draws.turns_of_a_step},
            "watched": ctypes.pointer(self._watched),
        }
        for name in ("real", "latents", "generator_latents"):
            values |= {name: inputs[name].data_ptr(), f"{name}_pitch": inputs[name].stride(0)}
        values |= self._latents_in_c() if self._draws_latents else self._latents_in_banks()
        if (average := self._chunk.average) is not None:
            rows = self._chunk.generator
            values |= {"average": average.data_ptr(), "average_pitch": average.stride(0), "averaged": average.shape[2]}
            values["averages"] = average.shape[1]
            values |= {"weights": rows.flat.data_ptr(), "weights_pitch": rows.flat.stride(0)}
        return values

    def _latents_in_banks(self) -> dict[str, Any]:
        self._banks = _pointers(self._draws.generator_banks)
        bank, banks = self._draws.bank, ctypes.addressof(self._banks)
        return {"bank": bank.data_ptr(), "bank_pitch": bank.stride(0), "generator_banks": banks}

    def _latents_in_c(self) -> dict[str, Any]:
        seeds, draw = [config.seed for config in self._draws.configs], numbers_in_c()
        if draw is None:
            raise NoCompiler("numbers are not drawn in C")
        self._seeds = (ctypes.c_uint64 * len(seeds))(*seeds)
        low, width = SPANS[self._draws.structure.latent_distribution]
        return {
            **{"draw": ctypes.cast(draw, ctypes.c_void_p), "seeds": ctypes.addressof(self._seeds)},
            **{"fakes_purpose": self._draws.of_fakes, "generator_purpose": Stream.GENERATOR_LATENTS},
            **{"low": low, "width": width},
        }

    def run(
        self,
        first: int,
        updates: Sequence[Sequence[tuple[bool, ...]]],
        since_last: Sequence[int],
        average_weights: Tensor | None,
        lr_shares: Tensor | None,
        look_images: int,
    ) -> None:
        """Carries out steps of one block from the number `first` on. updates: for each step and each update of G in it,
        the lanes that take part; since_last: images shown to D from one turn of a lane's G to the next [K];
        average_weights: how much weights count in the moving averages [steps, K, A], None where there are none;
        lr_shares: factors of the learning rates, float64 [steps, K], None where all are 1; look_images: images since
        the last look at how much samples vary, if there is another at the end, else 0.
        """
        place = self._draws.begin_block(first, banks=not self._draws_latents)
        orders = [self._draws.indices[config.data_seed] for config in self._draws.configs]
        most, lanes = self._fixed["updates"], self._fixed["lanes"]
        nobody = [bytes(lanes)] * most
        active = b"".join(part for of_step in updates for part in [*map(bytes, of_step), *nobody[len(of_step) :]])
        turns = ctypes.create_string_buffer(active)
        pointers, images = _pointers(orders), (ctypes.c_long * lanes)(*since_last)
        block = Block(
            **self._fixed,
            memory=self._memory.pointer,
            orders=ctypes.addressof(pointers),
            turns=ctypes.addressof(turns),
            since_last=ctypes.addressof(images),
            average_weights=None if average_weights is None else average_weights.data_ptr(),
            lr_shares=None if lr_shares is None else lr_shares.data_ptr(),
            first=place,
            steps=len(updates),
            look_images=look_images,
            block_images=(first - place) * self._fixed["batch"],
        )
        self._watched.memory = self._memory.pointer
        self._function(ctypes.byref(block))


def _optimizer(adam: Adam) -> Optimizer:
    if adam.native is None:
        adam.compile()
    native: NativeAdam | None = adam.native
    assert native is not None
    return native.optimizer


def _pointers(tensors: Sequence[Tensor]) -> "ctypes.Array[ctypes.c_void_p]":
    return (ctypes.c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))
