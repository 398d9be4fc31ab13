"""A chunk: the lanes of an array whose arithmetic is one call a kernel.

How many lanes an array has and how many a kernel is called for are two numbers. A processor's core is fastest with as
many as its caches hold, a GPU with all of them. K lanes.
"""

from collections.abc import Callable, Hashable
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gan_core.call import Call, fill_mask
from gan_core.config import GanConfig
from gan_core.draws import BLOCK_STEPS, Draws, average_weight, takes_turn
from gan_core.lanes import column
from gan_core.native.block import NativeBlock
from gan_core.optim import Rows
from gan_core.programs import Program, Workplace
from gan_core.record import StepRecord
from gan_core.step import (
    PASS_NUMBERS,
    PASSES,
    Game,
    Tensors,
    discriminator_gradients,
    generator_gradients,
    make_fakes,
)
from gan_core.trace import unchanged
from gan_core.watch import Watch

if TYPE_CHECKING:
    from gan_core.training import LaneArray

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
        self._average_weights: tuple[list[float], Tensor] = ([], state.average.new_empty(0))
        self.watch = Watch(state.watch.sums[start:stop], state.watch.health)
        updates = BLOCK_STEPS * max(config.lane.generator_steps for config in self.configs)
        self._record = StepRecord(self.lanes, self.game.decisions, BLOCK_STEPS, updates, state.generator.flat[:0])
        self.draws = Draws(self.configs, array.networks, array.samples, state.generator.flat[:0])
        self.tensors: Tensors = {
            **self.draws.tensors,
            **_named("generator", self.generator),
            **_named("discriminator", self.discriminator),
            **self._record.tensors(),
        }
        batch = self.game.structure.batch_size
        periods = [config.lane.discriminator_steps for config in self.configs]
        places = [next(s for s in range(p) if takes_turn(c, s)) for p, c in zip(periods, self.configs, strict=True)]
        self._turns = list(zip(periods, places, strict=True))  # G's turns, in D steps
        self._since_last, self._nothing = [batch * period for period in periods], [0] * self.lanes
        self._patterns: dict[tuple[bool, ...], list[tuple[bool, ...]]] = {}
        self._masks: dict[str, dict[int, Tensor]] = {name: {} for name in PASSES}
        self._columns: dict[int, dict[str, Tensor]] = {}
        self._programs: dict[Hashable, Program] = {}
        # Which lanes' buffers move is part of a program: compiled or not would depend on the neighbours.
        buffers = self.generator.buffers or self.discriminator.buffers
        self._compiles = not buffers and self.workplace.compiles(state.generator.flat)
        self._block: NativeBlock | None = None
        if self._compiles:
            with self.workplace.without_compiler():
                self._generator_adam.compile()
                self._discriminator_adam.compile()
            self._compiles = self.workplace.compiles(state.generator.flat)

    @property
    def lanes(self) -> int:
        """K."""
        return len(self.configs)

    @property
    def updates_per_step(self) -> float:
        """Of D and G in all lanes, on average: what lanes of different k have to do."""
        return sum(1 + c.lane.generator_steps / c.lane.discriminator_steps for c in self.configs)

    def prepare(self, step: int) -> None:
        """Builds the programs of a step in which all lanes update both networks; no state changes."""
        first = self.game.structure.update_order == "generator_first"
        everybody = (True,) * self.lanes
        if self._compiles and self.draws.in_blocks:
            self._block = self._compiled_block(step)
            if self._block is not None:
                return
        self._program("generator and fakes" if first else "fakes", step, 0, everybody if first else None)
        self._program("discriminator", step, 0, None)
        if not first or any(config.lane.generator_steps > 1 for config in self.configs):
            self._program("generator", step, 0, everybody)

    def train(self, first: int, count: int) -> None:
        """Count D steps, the first of this number, and the turns of G that fall among them."""
        if self._block is not None:
            updates = [self._updates(step) for step in range(first, first + count)]
            weights = None
            if self._averages:
                columns = [self._weights_of_average(step + 1) for step in range(first, first + count)]
                weights = torch.cat(columns, 1).mT.contiguous()
            self._block.run(first, updates, (self._since_last, self._nothing), weights)
        else:
            for step in range(first, first + count):
                self._step(step)
        self._record.settle(self.watch, self.game.loss, self.tensors["smoothing"], self.game.scale)

    def look(self, images: int) -> None:
        """Takes note of how much the last step's samples vary; images: shown to D since the last look."""
        self.watch.see_samples(self.tensors["real"], self.tensors["fake"], images)

    def _compiled_block(self, step: int) -> NativeBlock | None:
        """None where a program of the step is not known in C."""
        first = self.game.structure.update_order == "generator_first"
        sources, tensors = {}, self.tensors
        for name in ("fakes", "discriminator", "generator", *(("generator and fakes",) if first else ())):
            called = name.replace(" ", "_")
            sources[called] = self.workplace.source(*self._function(name, self.lanes, step, 0, None), called)
        if None in sources.values():
            return None
        averaged = (self._average, self.generator) if self._averages else None
        adams = self._generator_adam, self._discriminator_adam
        memory = self.workplace.lane_memory
        with self.workplace.without_compiler():
            return NativeBlock(sources, tensors, self.draws, self._record, adams, averaged, memory)
        return None

    def _step(self, step: int) -> None:
        self.draws.begin_step(step)
        if self.game.structure.update_order == "generator_first":
            self._update_generator(step)
        else:
            self._run("fakes", step)
        self._run("discriminator", step)
        self._record.keep_discriminator()
        self._discriminator_adam.step()
        if self.game.structure.update_order == "discriminator_first":
            self._update_generator(step)
        if self._averages:
            self._average.lerp_(self.generator.flat, self._weights_of_average(step + 1))

    def _update_generator(self, step: int) -> None:
        """G's updates in the lanes whose turn it is, each on fresh latents."""
        first, updates = self.game.structure.update_order == "generator_first", self._updates(step)
        if first and not updates:
            self._run("fakes", step)
        for j, active in enumerate(updates):
            self.draws.begin_turn(step, j)
            self._run("generator and fakes" if first and j == 0 else "generator", step, j, active)
            self._record.keep_generator(active, self._since_last if j == 0 else self._nothing)
            self._generator_adam.step(active)

    def _updates(self, step: int) -> list[tuple[bool, ...]]:
        """Which lanes take part in each of G's updates in a step; looked up, once the same lanes had their turn."""
        turn = tuple(step % period == place for period, place in self._turns)
        if turn not in self._patterns:
            steps = [c.lane.generator_steps if goes else 0 for c, goes in zip(self.configs, turn, strict=True)]
            self._patterns[turn] = [tuple(j < count for count in steps) for j in range(max(steps))]
        return self._patterns[turn]

    def _weights_of_average(self, steps: int) -> Tensor:
        """[K, 1], after so many steps."""
        images = steps * self.game.structure.batch_size
        weights = [average_weight(config, images) for config in self.configs]
        if weights != self._average_weights[0]:
            self._average_weights = (weights, column(weights, self._average).unsqueeze(1))
        return self._average_weights[1]

    def _run(self, name: str, step: int, j: int = 0, active: tuple[bool, ...] | None = None) -> None:
        """Runs a program of the step, on fresh masks."""
        program = self._program(name, step, j, active)
        images_seen = step * self.game.structure.batch_size
        for pass_name in _passes(name, self.game):
            for place, mask in self._masks[pass_name].items():
                seen = (images_seen, _number(pass_name, j))
                fill_mask(mask, self._dropout(pass_name), [c.seed for c in self.configs], seen, place)
        program()

    def _program(self, name: str, step: int, j: int, active: tuple[bool, ...] | None) -> Program:
        """G is updated in the lanes up to the last one that takes part, and no kernel is called for those behind it.
        Which lanes' buffers are moved is part of a program, where networks have buffers.
        """
        behind = active[::-1].index(True) if active is not None and name == "generator" else 0
        lanes = self.lanes - behind
        key = (name, lanes, active if self.generator.buffers or self.discriminator.buffers else None)
        if key not in self._programs:
            self._programs[key] = self._build(name, lanes, step, j, key[2])
        return self._programs[key]

    def _build(self, name: str, lanes: int, step: int, j: int, active: tuple[bool, ...] | None) -> Program:
        """A program of the first lanes."""
        called = name.replace(" ", "_") if self._compiles else None
        return self.workplace.build(*self._function(name, lanes, step, j, active), called)

    def _function(
        self, name: str, lanes: int, step: int, j: int, active: tuple[bool, ...] | None
    ) -> tuple[Callable[[Tensors], None], Tensors, Hashable]:
        """A program of the first lanes as a function, the tensors it is of, and all else that it depends on."""

        def function(tensors: Tensors) -> None:
            call_of = partial(self._call, tensors, (step * self.game.structure.batch_size, j), active, name)
            if name == "fakes":
                make_fakes(self.game, call_of, tensors)
            elif name == "discriminator":
                discriminator_gradients(self.game, call_of, tensors)
            else:
                generator_gradients(self.game, call_of, tensors, keep_fakes=name == "generator and fakes")

        passes, lane = _passes(name, self.game), [config.lane for config in self.configs[:lanes]]
        if any(share for pass_name in passes for share in self._dropout(pass_name)):
            with unchanged(self.tensors):
                function(self.tensors)  # finds the masks that dropout needs
        masks = {f"mask.{part}.{place}": mask for part in passes for place, mask in self._masks[part].items()}
        baked = (
            lanes,
            name,
            active,
            *(
                (x.batch_norm_eps, x.batch_norm_momentum, x.generator_dropout > 0, x.discriminator_dropout > 0)
                for x in lane
            ),
        )
        given = {name: tensor[:lanes] for name, tensor in {**self.tensors, **masks}.items()}
        return function, given, baked

    def _call(
        self, tensors: Tensors, seen: tuple[int, int], active: tuple[bool, ...] | None, program: str, pass_name: str
    ) -> Call:
        """A fresh pass. Which lanes' buffers it moves: in G's update the active ones, in a penalty's none."""
        everybody = program in ("fakes", "discriminator") or (
            program == "generator and fakes" and pass_name == "making"
        )
        lanes = len(tensors["both"])
        lane = [config.lane for config in self.configs[:lanes]]
        moving = [False] * len(lane) if pass_name == "penalty" else None if everybody else active
        masks = self._masks[pass_name]
        if tensors is not self.tensors:
            masks = {place: tensors[f"mask.{pass_name}.{place}"] for place in masks}
        return Call(
            [x.batch_norm_eps for x in lane],
            [x.batch_norm_momentum for x in lane],
            self._dropout(pass_name)[:lanes],
            training=True,
            active=moving,
            seeds=[config.seed for config in self.configs[:lanes]],
            seen=(seen[0], _number(pass_name, seen[1])),
            masks=masks,
            columns=self._columns.setdefault(lanes, {}),
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
