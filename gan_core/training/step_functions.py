"""The parts of a chunk's step as functions of named tensors, which is what programs are made of.

K lanes of a chunk, of which a function may compute the first ones alone.
"""

from collections.abc import Callable, Hashable
from functools import partial

from torch import Tensor

from gan_core.execution.trace import unchanged
from gan_core.game.step import Pass, StepPart, Tensors, carry_out, passes_of
from gan_core.lanes.axis import lane_empty
from gan_core.networks.call import BATCH_NORM, Call, fill_mask
from gan_core.training.chunk import Chunk

Active = tuple[bool, ...] | None  # the lanes whose G takes part in an update; None: all


class StepFunctions:
    """Makes the functions of a chunk's step, and keeps and fills the masks of dropout that they read."""

    def __init__(self, chunk: Chunk) -> None:
        self.chunk, self._structure = chunk, chunk.game.structure
        self._masks: dict[Pass, dict[int, Tensor]] = {one: {} for one in Pass}
        self._shares: dict[Pass, dict[int, float]] = {one: {} for one in Pass}  # of a person's own dropout layers
        self._seen = (0, 0)  # images seen before the step that is carried out, and which of G's updates it is

    def function(
        self, part: StepPart, lanes: int, step: int, update: int, active: Active
    ) -> tuple[Callable[[Tensors], None], Tensors, Hashable]:
        """Returns a part of a step of the first lanes as a function, its tensors, and a key of everything its Python
        code depends on, except the numbers that layers read from configurations. update: which of G's updates in the
        step; active: the lanes whose running moments it moves.
        """
        self._seen = (step * self._structure.batch_size, update)

        def function(tensors: Tensors) -> None:
            carry_out(part, self.chunk.game, partial(self._call, tensors, active, part), tensors)

        own = self.chunk.game.networks.own
        dropped = tuple(any(self._dropout(one)) for one in passes_of(part, self._structure))
        if any(dropped) or (own is not None and own.drops):
            self._make_masks(part)
        return function, self.tensors(part, lanes), (lanes, part, active, dropped, self.chunk.precision)

    def tensors(self, part: StepPart, lanes: int) -> Tensors:
        """What a part of a step of the first lanes may read and write, by name."""
        masks = {
            _mask_name(one, place): mask
            for one in passes_of(part, self._structure)
            for place, mask in self._masks[one].items()
        }
        return {name: tensor[:lanes] for name, tensor in {**self.chunk.tensors, **masks}.items()}

    def begin(self, part: StepPart, step: int, update: int) -> None:
        """Draws the masks of dropout that this part of a step reads."""
        images_seen, seeds = step * self._structure.batch_size, [config.seed for config in self.chunk.configs]
        self._seen = (images_seen, update)
        for one in passes_of(part, self._structure):
            for place, mask in self._masks[one].items():
                own = self._shares[one].get(place)
                shares = self._dropout(one) if own is None else [own] * len(mask)
                fill_mask(mask, shares, seeds, (images_seen, one.number(update)), place)

    def _make_masks(self, part: StepPart) -> None:
        """Memory for the masks of a part. How many there are and how large is found by computing its first lane."""
        first, calls = {name: tensor[:1] for name, tensor in self.chunk.tensors.items()}, dict[Pass, Call]()

        def kept(one: Pass) -> Call:
            calls[one] = self._call(first, None, part, one)
            return calls[one]

        with unchanged(first):
            carry_out(part, self.chunk.game, kept, first)
        for one, call in calls.items():
            for place, mask in call.masks.items():
                self._masks[one].setdefault(place, lane_empty(self.chunk.lanes, mask.shape[1:], mask))

    def _call(self, tensors: Tensors, active: Active, part: StepPart, one: Pass) -> Call:
        """Starts a pass. An update of G moves the running moments of the active lanes only, a penalty pass moves none,
        all other passes move every lane's.
        """
        everybody = part in (StepPart.FAKES, StepPart.DISCRIMINATOR) or (
            part is StepPart.GENERATOR_AND_FAKES and one is Pass.MAKING
        )
        configs, dropout = self.chunk.configs[: len(tensors["both"])], self._dropout(one)
        lanes = len(configs)
        masks = {
            place: tensors[_mask_name(one, place)] for place in self._masks[one] if _mask_name(one, place) in tensors
        }
        return Call(
            [config.lane.batch_norm_eps for config in configs],
            [config.lane.batch_norm_momentum for config in configs],
            dropout if lanes == len(dropout) else [max(dropout)] * lanes,  # a mask where any lane of the chunk has one
            training=True,
            precision=self.chunk.precision,
            active=[False] * lanes if one is Pass.PENALTY else None if everybody else active,
            seeds=[config.seed for config in configs],
            seen=(self._seen[0], one.number(self._seen[1])),
            masks=masks,
            shares=self._shares[one],
            columns={name: tensors[name] for name in BATCH_NORM if name in tensors},
        )

    def _dropout(self, one: Pass) -> list[float]:
        lanes = [config.lane for config in self.chunk.configs]
        return [x.generator_dropout if one.through_generator else x.discriminator_dropout for x in lanes]


def _mask_name(one: Pass, place: int) -> str:
    return f"mask.{one.value}.{place}"
