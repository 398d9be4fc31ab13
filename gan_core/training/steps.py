"""The ways of carrying out the steps of a chunk, behind one contract: `Steps`.

Eager steps, replayed steps, and steps captured as a CUDA graph differ only in how a function becomes a program, which
`ProgramMaker.build` decides, so they are one class: `CalledSteps`. Compiled programs are told with each call which
lanes take part, where the others are built for certain lanes; and where all that lanes are fed is drawn for whole
blocks of steps, a block is one call of C.
"""

from collections.abc import Callable, Hashable, Mapping
from typing import Protocol

import torch
from torch import Tensor

from gan_core.config.arithmetic import Carried
from gan_core.execution.programs import Program, ProgramMaker
from gan_core.game.step import StepPart
from gan_core.lanes.precision import host_pairs
from gan_core.native.library import NativeProgram
from gan_core.native.native_source import NativeSource
from gan_core.native.toolchain import NoCompiler, tell_replayed
from gan_core.training.chunk import Chunk
from gan_core.training.compiled.block import NativeBlock
from gan_core.training.compiled.watching import NativeWatch, is_compiled
from gan_core.training.step_functions import Active, StepFunctions
from gan_core.training.step_loop import StepLoop


class Steps(Protocol):
    """Carries out the steps of a chunk in one way."""

    @property
    def chunk(self) -> Chunk:
        """The lanes that are trained."""
        ...

    def prepare(self, step: int) -> bool:
        """Builds all that a step of this number needs in which all lanes update both networks; the state does not
        change. False where steps cannot be carried out in this way; the object is then of no further use.
        """
        ...

    def train(self, first: int, count: int) -> None:
        """Carries out `count` steps of D, the first of this number, and the updates of G that fall among them. They lie
        in one block of BLOCK_STEPS; after the last step of a block, how much the samples vary is measured.
        """
        ...


class CalledSteps:
    """Steps that are made of torch's calls: as they stand, replayed, or captured as a CUDA graph."""

    def __init__(self, chunk: Chunk, maker: ProgramMaker) -> None:
        self.chunk, self._maker = chunk, maker
        self._functions = StepFunctions(chunk)
        self._programs: dict[Hashable, Program] = {}
        self._moves_buffers = bool(chunk.generator.buffers or chunk.discriminator.buffers)
        self._loop = StepLoop(chunk, self._run, chunk.record)

    def prepare(self, step: int) -> bool:
        """As in `Steps`; always possible."""
        first, everybody = self.chunk.generator_first, (True,) * self.chunk.lanes
        if first:
            self._program(StepPart.GENERATOR_AND_FAKES, step, 0, everybody)
        else:
            self._program(StepPart.FAKES, step, 0, None)
        self._program(StepPart.DISCRIMINATOR, step, 0, None)
        if not first or any(config.lane.generator_steps > 1 for config in self.chunk.configs):
            self._program(StepPart.GENERATOR, step, 0, everybody)
        return True

    def train(self, first: int, count: int) -> None:
        """As in `Steps`."""
        self._loop.train(first, count)

    def _run(self, part: StepPart, step: int, update: int, active: Active) -> None:
        program = self._program(part, step, update, active)
        self._functions.begin(part, step, update)
        program()

    def _program(self, part: StepPart, step: int, update: int, active: Active) -> Program:
        """G is updated in the lanes up to the last one that takes part, and no kernel is called for those behind it.
        Which lanes' running moments move is part of a program.
        """
        behind = active[::-1].index(True) if active is not None and part is StepPart.GENERATOR else 0
        lanes = self.chunk.lanes - behind
        moving = active if self._moves_buffers else None
        key = (part, lanes, moving)
        if key not in self._programs:
            function, tensors, baked = self._functions.function(part, lanes, step, update, moving)
            norms = ((c.lane.batch_norm_eps, c.lane.batch_norm_momentum) for c in self.chunk.configs[:lanes])
            self._programs[key] = self._maker.build(function, tensors, (baked, *norms))
        return self._programs[key]


class CompiledSteps:
    """Steps whose parts are programs in C that are called one after the other."""

    def __init__(self, chunk: Chunk, maker: ProgramMaker) -> None:
        self.chunk, self._maker = chunk, maker
        self._functions = StepFunctions(chunk)
        self._programs: dict[StepPart, NativeProgram] = {}

    def prepare(self, step: int) -> bool:
        """As in `Steps`. False where a part is not known in C, or no compiler works."""
        return _compiled(self._functions, self._maker, step, self._take)

    def train(self, first: int, count: int) -> None:
        """As in `Steps`."""
        self._loop.train(first, count)

    def _take(self, sources: Mapping[StepPart, NativeSource]) -> None:
        chunk, memory = self.chunk, self._maker.lane_memory
        self._loop = StepLoop(chunk, self._run, NativeWatch(chunk.watch, chunk.tensors, chunk.game, memory))
        for part, source in sources.items():
            tensors = self._functions.tensors(part, chunk.lanes)
            self._programs[part] = NativeProgram(source, part.value, list(tensors.values()), memory)

    def _run(self, part: StepPart, step: int, update: int, active: Active) -> None:
        self._functions.begin(part, step, update)
        self._programs[part](active)
        if part is StepPart.GENERATOR_AND_FAKES and active is not None and not all(active):
            self._run(StepPart.FAKES, step, update, tuple(not goes for goes in active))


class CompiledBlocks:
    """Steps of which a whole block is one call of C: for lanes that are fed for a block at once (`Draws.in_blocks`)."""

    def __init__(self, chunk: Chunk, maker: ProgramMaker) -> None:
        self.chunk, self._maker = chunk, maker

    def prepare(self, step: int) -> bool:
        """As in `Steps`. False where a part is not known in C, or no compiler works."""
        return _compiled(StepFunctions(self.chunk), self._maker, step, self._take)

    def train(self, first: int, count: int) -> None:
        """As in `Steps`."""
        course, steps = self.chunk.course, range(first, first + count)
        weights = shares = None
        if self.chunk.average is not None:
            weights = torch.tensor(list(map(course.average_weights, steps)), dtype=self.chunk.average.dtype)
        if course.rates_fall:
            shares = torch.tensor(list(map(course.lr_shares, steps)), dtype=torch.float64)
        updates, look_images = list(map(course.updates, steps)), self.chunk.look_images(first + count)
        self.block.run(first, updates, course.since_last_images, weights, shares, look_images)

    def _take(self, sources: Mapping[StepPart, NativeSource]) -> None:
        self.block = NativeBlock(sources, self.chunk, self._maker.lane_memory)


def prepare_steps(
    chunk_of: Callable[[int, int], Chunk], lanes: int, maker: ProgramMaker, like: Tensor, step: int
) -> tuple[list[Steps], Carried]:
    """The steps of an array, chunk by chunk, ready for the step of this number, and how they are carried out. That is
    one way for all chunks: where one cannot be compiled, all are replayed. chunk_of: makes the chunk of the lanes from
    a first one up to another.
    """
    if maker.execution == "compiled" and like.device.type == "cpu":
        if steps := _prepared(compiled_steps, chunk_of, lanes, maker, step):
            return steps, "compiled"
        maker.execution = "replayed"
    return _prepared(CalledSteps, chunk_of, lanes, maker, step), maker.uncompiled(like)


def _prepared(
    way: Callable[[Chunk, ProgramMaker], Steps],
    chunk_of: Callable[[int, int], Chunk],
    lanes: int,
    maker: ProgramMaker,
    step: int,
) -> list[Steps]:
    """The steps of every chunk in this way; none where one chunk cannot be carried out so."""
    made, start = list[Steps](), 0
    for size in maker.pace.parts(lanes):
        made.append(way(chunk_of(start, start + size), maker))
        if not made[-1].prepare(step):
            return []
        start += size
    return made


def compiled_steps(chunk: Chunk, maker: ProgramMaker) -> Steps:
    """The steps of a chunk in C: by blocks where lanes are fed for whole blocks, else one after the other."""
    return (CompiledBlocks if chunk.draws.in_blocks else CompiledSteps)(chunk, maker)


def _compiled(
    functions: StepFunctions,
    maker: ProgramMaker,
    step: int,
    take: Callable[[Mapping[StepPart, NativeSource]], None],
) -> bool:
    """Compiles Adam and each part of a step from a trace of one lane, and passes the sources to `take`. Returns False
    if products are not multiplied in C in this precision, the loss or a part is not known in C, or no compiler works.
    """
    chunk = functions.chunk
    if (chunk.precision == "bfloat16" and not host_pairs()) or not is_compiled(chunk.game):
        return False
    parts = [part for part in StepPart if chunk.generator_first or part is not StepPart.GENERATOR_AND_FAKES]
    sources: dict[StepPart, NativeSource] = {}
    try:
        for part in parts:
            source = maker.source(*functions.function(part, 1, step, 0, None), part.value, chunk.precision)
            if source is None:
                return False
            sources[part] = source
        chunk.generator_adam.compile()
        chunk.discriminator_adam.compile()
        take(sources)
    except NoCompiler as error:
        tell_replayed(error)
        maker.lost_compiler = True
        return False
    return True
