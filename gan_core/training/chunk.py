"""A chunk: the lanes of an array whose arithmetic is one call a kernel.

How many lanes an array has and how many a kernel is called for are two numbers. A processor's core is fastest with as
many as its caches hold, a GPU with all of them. K lanes.
"""

from collections.abc import Callable, Hashable
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gan_core.config.arithmetic import Carried
from gan_core.config.gan import GanConfig
from gan_core.execution.programs import Program, Workplace
from gan_core.execution.trace import unchanged
from gan_core.game.step import (
    PASS_NUMBERS,
    PASSES,
    Game,
    Tensors,
    discriminator_gradients,
    generator_gradients,
    make_fakes,
)
from gan_core.lanes.axis import host_pairs, in_full_precision, lane_empty
from gan_core.native.library import NativeProgram
from gan_core.native.native_source import NativeSource
from gan_core.native.toolchain import NoCompiler, tell_replayed
from gan_core.networks.call import BATCH_NORM, Call, fill_mask
from gan_core.training.course import Course
from gan_core.training.draws import BLOCK_STEPS, Draws
from gan_core.training.native_block import NativeBlock
from gan_core.training.native_watching import NativeWatch
from gan_core.training.optim import Rows
from gan_core.training.record import StepRecord
from gan_core.training.watch import Watch

if TYPE_CHECKING:
    from gan_core.training.lane_array import LaneArray

OF_GENERATOR = ("fakes", "making")  # the passes that go through G


class Chunk:
    """Lanes start to stop of an array: views of its state, what they are fed, and the programs of their step."""

    def __init__(self, array: "LaneArray", start: int, stop: int) -> None:
        state = array.state
        self.configs: list[GanConfig] = array.configs[start:stop]
        self.game: Game = array.game
        self.workplace: Workplace = array.workplace
        self.generator, self.discriminator = (r.part(start, stop) for r in (state.generator, state.discriminator))
        self._generator_adam = state.generator_adam.part(start, stop, self.generator)
        self._discriminator_adam = state.discriminator_adam.part(start, stop, self.discriminator)
        self._average = state.average[start:stop]
        self._averages = array.averages  # not of these lanes alone: all are scored by their averages then
        self._course = Course(self.configs, array.half_lives_images[start:stop], array.budget_images)
        self._average_weights: tuple[list[list[float]], Tensor] = ([], state.average.new_empty(0))
        self.watch = Watch(state.watch.sums[start:stop], state.watch.health)
        updates = BLOCK_STEPS * max(config.lane.generator_steps for config in self.configs)
        self.draws = Draws(self.configs, array.networks, array.samples, state.generator.flat[:0])
        record = StepRecord(self.watch, self.game, self.draws.tensors, BLOCK_STEPS, updates)
        self._watching: StepRecord | NativeWatch = record  # of single steps
        self.tensors: Tensors = {
            **self.draws.tensors,
            **_named("generator", self.generator),
            **_named("discriminator", self.discriminator),
            **record.tensors(),
        }
        self._nothing = [0] * self.lanes
        self._masks: dict[str, dict[int, Tensor]] = {name: {} for name in PASSES}
        self._programs: dict[Hashable, Program] = {}
        self._moves_buffers = bool(self.generator.buffers or self.discriminator.buffers)
        self._compiled = False
        self._block: NativeBlock | None = None

    @property
    def lanes(self) -> int:
        """K."""
        return len(self.configs)

    @property
    def execution(self) -> Carried:
        """How its steps are carried out, as is known once they are prepared: what is asked for may not be possible."""
        return "compiled" if self._compiled else self.workplace.uncompiled(self.generator.flat)

    @property
    def updates_per_step(self) -> float:
        """Of D and G in all lanes, on average: what lanes of different k have to do."""
        return sum(1 + c.lane.generator_steps / c.lane.discriminator_steps for c in self.configs)

    def prepare(self, step: int) -> None:
        """Builds the programs of a step in which all lanes update both networks; no state changes."""
        first = self.game.structure.update_order == "generator_first"
        everybody = (True,) * self.lanes
        if self.workplace.execution == "compiled" and self.generator.flat.device.type == "cpu":
            self._compiled = self._compile(step)
            if self._compiled:
                return
            self.workplace.execution = "replayed"
        self._program("generator and fakes" if first else "fakes", step, 0, everybody if first else None)
        self._program("discriminator", step, 0, None)
        if not first or any(config.lane.generator_steps > 1 for config in self.configs):
            self._program("generator", step, 0, everybody)

    def train(self, first: int, count: int) -> None:
        """Count D steps, the first of this number, and the turns of G that fall among them; after the last of a whole
        block a look at how much the samples vary.
        """
        whole = (first + count) % BLOCK_STEPS == 0
        look_images = BLOCK_STEPS * self.game.structure.batch_size if whole else 0
        if self._block is not None:
            course, steps = self._course, range(first, first + count)
            weights = shares = None
            if self._averages:
                weights = torch.tensor(list(map(course.average_weights, steps)), dtype=self._average.dtype)
            if course.rates_fall:
                shares = torch.tensor(list(map(course.lr_shares, steps)), dtype=torch.float64)
            updates = list(map(course.updates, steps))
            self._block.run(first, updates, course.since_last_images, weights, shares, look_images)
            return
        for step in range(first, first + count):
            self._step(step)
        self._watching.settle()
        if look_images:
            self._watching.look(look_images)

    def _compile(self, step: int) -> bool:
        """Everything in C, of which one lane tells all; or nothing, where a program of the step is not known there, in
        this precision, or no compiler works, or no kernels are written for the processor: whether it was done.
        """
        if not (in_full_precision() or host_pairs()):
            return False
        first = self.game.structure.update_order == "generator_first"
        names = ["fakes", "discriminator", "generator", *(["generator and fakes"] if first else [])]
        sources: dict[str, NativeSource] = {}
        try:
            for name in names:
                called = name.replace(" ", "_")
                source = self.workplace.source(*self._function(name, 1, step, 0, None), called)
                if source is None:
                    return False
                sources[called] = source
            self._take(sources, dict(zip(names, sources, strict=True)))
        except NoCompiler as error:
            tell_replayed(error)
            self.workplace.lost_compiler = True
            self._generator_adam.native = self._discriminator_adam.native = None
            return False
        return True

    def _take(self, sources: dict[str, NativeSource], called: dict[str, str]) -> None:
        """From now on steps are these programs. called: their functions, by the programs' names. Raises NoCompiler."""
        adams, memory = (self._generator_adam, self._discriminator_adam), self.workplace.lane_memory
        averaged = (self._average, self.generator) if self._averages else None
        for adam in adams:
            adam.compile()
        if self.draws.in_blocks:
            self._block = NativeBlock(sources, self.tensors, self.draws, self.watch, self.game, adams, averaged, memory)
            return
        watching, programs = NativeWatch(self.watch, self.tensors, self.game, memory), dict[Hashable, Program]()
        for name, function in called.items():
            given = list(self._given(name, self.lanes).values())
            programs[name, self.lanes, None] = NativeProgram(sources[function], function, given, memory)
        self._watching, self._programs = watching, programs

    def _step(self, step: int) -> None:
        self.draws.begin_step(step)
        if self._course.rates_fall:
            shares = self._course.lr_shares(step)
            self._generator_adam.set_lr_shares(shares)
            self._discriminator_adam.set_lr_shares(shares)
        if self.game.structure.update_order == "generator_first":
            self._update_generator(step)
        else:
            self._run("fakes", step)
        self._run("discriminator", step)
        self._watching.discriminator()
        self._discriminator_adam.step()
        if self.game.structure.update_order == "discriminator_first":
            self._update_generator(step)
        if self._averages:
            weights = self._course.average_weights(step)
            if weights != self._average_weights[0]:
                columns = torch.tensor(weights, dtype=self._average.dtype, device=self._average.device)
                self._average_weights = (weights, columns.unsqueeze(2))
            self._average.lerp_(self.generator.flat.unsqueeze(1), self._average_weights[1])

    def _update_generator(self, step: int) -> None:
        """G's updates in the lanes whose turn it is, each on fresh latents."""
        first, updates = self.game.structure.update_order == "generator_first", self._course.updates(step)
        if first and not updates:
            self._run("fakes", step)
        for j, active in enumerate(updates):
            self.draws.begin_turn(step, j)
            self._run("generator and fakes" if first and j == 0 else "generator", step, j, active)
            self._watching.generator(active, self._course.since_last_images if j == 0 else self._nothing)
            self._generator_adam.step(active)

    def _run(self, name: str, step: int, j: int = 0, active: tuple[bool, ...] | None = None) -> None:
        """Runs a program of the step, on fresh masks."""
        program = self._program(name, step, j, active)
        images_seen = step * self.game.structure.batch_size
        for pass_name in _passes(name, self.game):
            for place, mask in self._masks[pass_name].items():
                seen = (images_seen, _number(pass_name, j))
                fill_mask(mask, self._dropout(pass_name), [c.seed for c in self.configs], seen, place)
        if not isinstance(program, NativeProgram):
            program()
            return
        program(active)
        if name == "generator and fakes" and active is not None and not all(active):
            others = tuple(not goes for goes in active)
            self._run("fakes", step, j, others)

    def _program(self, name: str, step: int, j: int, active: tuple[bool, ...] | None) -> Program:
        """G is updated in the lanes up to the last one that takes part, and no kernel is called for those behind it; in
        C, in the lanes that take part alone. Which lanes' buffers are moved is part of a program that is not in C.
        """
        behind = active[::-1].index(True) if active is not None and name == "generator" and not self._compiled else 0
        lanes = self.lanes - behind
        key = (name, lanes, active if self._moves_buffers and not self._compiled else None)
        if key not in self._programs:
            self._programs[key] = self._build(name, lanes, step, j, key[2])
        return self._programs[key]

    def _build(self, name: str, lanes: int, step: int, j: int, active: tuple[bool, ...] | None) -> Program:
        """A program of the first lanes."""
        function, given, baked = self._function(name, lanes, step, j, active)
        norms = ((config.lane.batch_norm_eps, config.lane.batch_norm_momentum) for config in self.configs[:lanes])
        return self.workplace.build(function, given, (baked, *norms))

    def _function(
        self, name: str, lanes: int, step: int, j: int, active: tuple[bool, ...] | None
    ) -> tuple[Callable[[Tensors], None], Tensors, Hashable]:
        """A program of the first lanes as a function, the tensors it is of, and all else that it depends on beside
        what layers take as numbers and not as tensors.
        """
        seen = (step * self.game.structure.batch_size, j)

        def function(tensors: Tensors) -> None:
            self._carry_out(name, tensors, partial(self._call, tensors, seen, active, name))

        dropped = tuple(any(self._dropout(pass_name)) for pass_name in _passes(name, self.game))
        if any(dropped):
            self._find_masks(name, seen)
        return function, self._given(name, lanes), (lanes, name, active, dropped)

    def _carry_out(self, name: str, tensors: Tensors, call_of: Callable[[str], Call]) -> None:
        if name == "fakes":
            make_fakes(self.game, call_of, tensors)
        elif name == "discriminator":
            discriminator_gradients(self.game, call_of, tensors)
        else:
            generator_gradients(self.game, call_of, tensors, keep_fakes=name == "generator and fakes")

    def _find_masks(self, name: str, seen: tuple[int, int]) -> None:
        """Memory for the masks that dropout needs in a program; how many and how large, its first lane tells."""
        first, calls = {of: tensor[:1] for of, tensor in self.tensors.items()}, dict[str, Call]()

        def kept(pass_name: str) -> Call:
            calls[pass_name] = self._call(first, seen, None, name, pass_name)
            return calls[pass_name]

        with unchanged(first):
            self._carry_out(name, first, kept)
        for pass_name, call in calls.items():
            for place, mask in call.masks.items():
                self._masks[pass_name].setdefault(place, lane_empty(self.lanes, mask.shape[1:], mask))

    def _given(self, name: str, lanes: int) -> Tensors:
        """What a program of the first lanes may read and write."""
        of = {part: self._masks[part].items() for part in _passes(name, self.game)}
        masks = {f"mask.{part}.{place}": mask for part, found in of.items() for place, mask in found}
        return {name: tensor[:lanes] for name, tensor in {**self.tensors, **masks}.items()}

    def _call(
        self, tensors: Tensors, seen: tuple[int, int], active: tuple[bool, ...] | None, program: str, pass_name: str
    ) -> Call:
        """A fresh pass. Which lanes' buffers it moves: in G's update the active ones, in a penalty's none."""
        everybody = program in ("fakes", "discriminator") or (
            program == "generator and fakes" and pass_name == "making"
        )
        lanes = len(tensors["both"])
        lane = [config.lane for config in self.configs[:lanes]]
        dropout = self._dropout(pass_name)
        moving = [False] * len(lane) if pass_name == "penalty" else None if everybody else active
        names = {place: f"mask.{pass_name}.{place}" for place in self._masks[pass_name]}
        masks = {place: tensors[mask] for place, mask in names.items() if mask in tensors}
        return Call(
            [x.batch_norm_eps for x in lane],
            [x.batch_norm_momentum for x in lane],
            dropout if lanes == len(dropout) else [max(dropout)] * lanes,  # a mask where any lane has one
            training=True,
            active=moving,
            seeds=[config.seed for config in self.configs[:lanes]],
            seen=(seen[0], _number(pass_name, seen[1])),
            masks=masks,
            columns={name: tensors[name] for name in BATCH_NORM if name in tensors},
        )

    def _dropout(self, pass_name: str) -> list[float]:
        lane = [config.lane for config in self.configs]
        return [x.generator_dropout if pass_name in OF_GENERATOR else x.discriminator_dropout for x in lane]


def _named(role: str, rows: Rows) -> Tensors:
    return {
        **{f"{role}.{name}": view for name, view in rows.views.items()},
        **{f"{role}_gradient.{name}": view for name, view in rows.gradients.items()},
        f"{role}_gradient": rows.grad,
    }


def _passes(program: str, game: Game) -> tuple[str, ...]:
    """The passes through the networks that a program makes."""
    if program == "fakes":
        return ("making",) if game.structure.update_order == "generator_first" else ("fakes",)
    return ("judging", "penalty") if program == "discriminator" else ("making", "judged")


def _number(pass_name: str, j: int) -> int:
    """How a pass is numbered in its step."""
    of_update = pass_name in ("making", "judged")
    return PASSES[pass_name] + (PASS_NUMBERS * (j + 1) if of_update else 0)
