"""A chunk: the lanes of an array that are computed together, with everything that a step of theirs reads and writes.

How many lanes an array has and for how many of them a kernel is called are two numbers. A processor core is fastest
with as many lanes as fit its caches, a GPU with all of them.

K lanes, A averages of a lane, P numbers of parameters and B of buffers of the generator.
"""

from collections.abc import Sequence

from torch import Tensor

from gan_core.config.conditions import Precision
from gan_core.config.gan import GanConfig
from gan_core.game.step import Game, Tensors
from gan_core.training.course import Course
from gan_core.training.draws import BLOCK_STEPS, Draws
from gan_core.training.optim import Adam, Rows
from gan_core.training.record import StepRecord
from gan_core.training.watch import Watch


class Chunk:
    """K lanes and what a step of theirs needs. The state is changed in place: it is a view of the whole array's.

    `tensors` are all that the parts of a step are functions of, by the names of `gan_core.game.step`.
    """

    def __init__(
        self,
        configs: Sequence[GanConfig],
        game: Game,
        *,
        generator: Rows,
        discriminator: Rows,
        generator_adam: Adam,
        discriminator_adam: Adam,
        average: Tensor | None,
        watch: Watch,
        course: Course,
        draws: Draws,
        precision: Precision,
    ) -> None:
        """average: the moving averages of G's weights [K, A, P + B]; None where no lane has one. precision: of
        products and convolutions.
        """
        self.configs, self.game = list(configs), game
        self.generator, self.discriminator = generator, discriminator
        self.generator_adam, self.discriminator_adam = generator_adam, discriminator_adam
        self.average, self.watch, self.course, self.draws = average, watch, course, draws
        self.precision: Precision = precision
        updates = BLOCK_STEPS * max(config.lane.generator_steps for config in configs)
        self.record = StepRecord(watch, game, draws.tensors, BLOCK_STEPS, updates)
        self.tensors: Tensors = {
            **draws.tensors,
            **_named("generator", generator),
            **_named("discriminator", discriminator),
            **self.record.tensors(),
        }

    @property
    def lanes(self) -> int:
        """The number of lanes, K."""
        return len(self.configs)

    @property
    def updates_per_step(self) -> float:
        """Updates of D and of G in a step, averaged over steps and added over lanes. Lanes whose D takes more steps
        between two turns of G have fewer.
        """
        return sum(1 + c.lane.generator_steps / c.lane.discriminator_steps for c in self.configs)

    @property
    def generator_first(self) -> bool:
        """Whether G is updated before D in a step, and D is shown the fakes of that update."""
        return self.game.structure.update_order == "generator_first"

    def look_images(self, end: int) -> int:
        """Images since sample variation was last measured, if a block ends after `end` steps; otherwise 0."""
        return 0 if end % BLOCK_STEPS else BLOCK_STEPS * self.game.structure.batch_size


def _named(role: str, rows: Rows) -> Tensors:
    return {
        **{f"{role}.{name}": view for name, view in rows.views.items()},
        **{f"{role}_gradient.{name}": view for name, view in rows.gradients.items()},
        f"{role}_gradient": rows.grad,
    }
