"""Training L configurations of one structure side by side.

    dataset = load_dataset("digits")
    array = LaneArray([GanConfig()], dataset)
    array.train_to(images=64_000)
    samples = array.sample(count=64, seed=0)  # [L, 64, 1, 8, 8]

One configuration is an array of one lane; there is no other code path.

L lanes, A averages of a lane, M samples, Z numbers of a latent.
"""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from gan_core.config.arithmetic import Arithmetic, Carried
from gan_core.config.conditions import Execution, Precision
from gan_core.config.gan import GanConfig
from gan_core.config.health import HealthConfig
from gan_core.config.input_error import shortened
from gan_core.config.own_names import IN_PYTHON, is_reference
from gan_core.config.reports import Death
from gan_core.data.dataset import Dataset
from gan_core.execution.pace import Pace, is_out_of_memory, until_it_fits
from gan_core.execution.programs import ProgramMaker
from gan_core.files.process_settings import settings_kept
from gan_core.game.step import Game
from gan_core.lanes.axis import lane_empty
from gan_core.lanes.precision import library_precision
from gan_core.lanes.streams import Stream
from gan_core.native.arithmetic import arithmetic_here, processor_name
from gan_core.native.toolchain import tell
from gan_core.networks.architectures import build_networks, rows_at_once
from gan_core.networks.build import OwnTraits
from gan_core.networks.call import Call
from gan_core.networks.latents import Choice, fill_shared_latents, latent_numbers
from gan_core.networks.own_modules import Constructor, own_networks
from gan_core.training.chunk import Chunk
from gan_core.training.compiled.watching import is_compiled
from gan_core.training.course import Course, fall_images
from gan_core.training.draws import BLOCK_STEPS, Draws, ShownSamples, effective_half_life, stays_on_host
from gan_core.training.fastest import Advance, Work, fastest_execution, measured_lanes
from gan_core.training.lane_checks import check_pair, check_precision, check_successors, of_classes, shared_structure
from gan_core.training.repeatable import repeats
from gan_core.training.state import initial_state
from gan_core.training.steps import Steps, prepare_steps
from gan_core.training.watch import Watch, is_marked

# What a trace or a replay raises where a person's own modules make calls that it does not know, such as `nn.LSTM`.
UNKNOWN_CALLS = (RuntimeError, IndexError, TypeError, AttributeError)


class LaneArray:
    """L configurations of equal structure, trained in lockstep: after any call all lanes have seen equally many images.

    Raises InputError when the structures differ, a configuration is for another data set or another image size, or own
    networks cannot be used.
    """

    def __init__(
        self,
        configs: Sequence[GanConfig],
        dataset: Dataset,
        *,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        health: HealthConfig | None = None,
        precision: Precision = "float32",
        execution: Execution = "auto",
        lanes_per_call: int | None = None,
        programs: ProgramMaker | None = None,
        averages_images: Sequence[float] = (),
        budget_images: int = 0,
        networks: tuple[Constructor, Constructor] | None = None,
    ) -> None:
        """networks: classes of your own, (Generator, Discriminator), as `gan_core.networks.own_modules` describes them:
        G takes latents [N, latent_size] and returns samples [N, *sample_shape], for which D returns [N] or [N, 1]. The
        configurations then are those of own networks, in which `generator.NAME` is an argument of G. precision: of
        products, see `gan_core.lanes.precision`. execution: how steps are carried out, see
        `gan_core.execution.programs`. lanes_per_call: how many lanes are computed in one call; None: all. programs:
        shared by all arrays of one structure in a process, so that it is traced and measured once; replaces execution
        and lanes_per_call.
        averages_images: half-lives of A moving averages of the weights that every lane keeps; without any, each lane
        keeps one with the half-life of its configuration. budget_images: how many images lanes are trained for, which
        learning rates fall over unless a lane's configuration says otherwise. Raises InputError where learning rates
        fall and neither is given.
        """
        if networks is not None:
            check_pair(networks)
            configs = of_classes(configs)
        self.configs = list(configs)
        self.structure = shared_structure(self.configs, dataset)
        self.dataset = dataset
        self.precision: Precision = precision
        kind = self.structure, dataset.sample_shape, dataset.classes
        self.networks = own_networks(*networks, *kind) if networks is not None else build_networks(*kind)
        self.health = health or HealthConfig()
        self.averages_images = tuple(averages_images)
        self.budget_images = budget_images
        for config in self.configs:
            fall_images(config.lane, budget_images)
        self.chosen = [0] * len(configs)  # the place of the average that each lane is sampled from: [L]
        self.game = Game(self.structure, self.networks)
        self._like = torch.empty(0, dtype=dtype, device=device)
        self.samples = ShownSamples(dataset, self._like, on_host=stays_on_host(dataset, self._like.device))
        self.programs = programs or ProgramMaker(execution, Pace(lanes_per_call or len(configs)))
        if self.networks.own is not None:
            check_precision(precision)
            self._hold_to(self.networks.own)
        if not self.game.loss.traced:
            self.programs.execution = "eager"
        self.state = initial_state(configs, self.networks, self._like, self.health, averages=len(averages_images) or 1)
        self._steps: list[Steps] = []
        self.carried_out: Carried = ""  # how the latest steps were carried out

    def _hold_to(self, own: OwnTraits) -> None:
        """Steps in a way that a person's own modules allow. On the CPU a call is of one lane, so that no lane's bits
        depend on others.
        """
        if self._like.device.type == "cpu":
            self.programs.pace = Pace(1)
        if self.programs.execution != "eager" and not (own.traced and repeats(self.networks)):
            self.programs.execution = "eager"  # what looks at values, or draws, is called as it stands

    @property
    def half_lives_images(self) -> list[tuple[float, ...]]:
        """The half-lives of each lane's averages, [L][A]; 0: no average, but the weights themselves."""
        return [self.averages_images or (config.lane.ema_half_life_images,) for config in self.configs]

    @property
    def averages(self) -> bool:
        """Whether any lane has an average of G's weights."""
        return any(map(any, self.half_lives_images))

    def distinct_averages(self) -> list[int]:
        """Indices of the averages that differ so far; of equal ones, the first. [0] where each lane keeps one."""
        effective = [effective_half_life(each, self.state.images_seen) for each in self.averages_images]
        return [place for place, each in enumerate(effective) if each not in effective[:place]] or [0]

    @property
    def lanes(self) -> int:
        """The number of lanes, L."""
        return len(self.configs)

    @property
    def lanes_per_call(self) -> int:
        """How many lanes are computed in one call, at most."""
        return max(self.programs.pace.parts(self.lanes))

    def arithmetic(self, *, scored_in_c: bool = False) -> Arithmetic:
        """How the numbers of the lanes are computed. scored_in_c: whether their scores are computed in C."""
        if self._like.device.type == "cuda":
            processor = torch.cuda.get_device_name(self._like.device)
        else:
            processor = f"{processor_name()}, {torch.backends.cpu.get_cpu_capability()}"
        return arithmetic_here(self.carried_out, processor, in_c=scored_in_c or self.carried_out == "compiled")

    def images_at(self, images: int) -> int:
        """The number of images after the fewest whole batches that reach `images`: where `train_to(images)` stops."""
        return math.ceil(images / self.structure.batch_size) * self.structure.batch_size

    def train_to(self, images: int, on_block: Callable[[int], None] | None = None) -> bool:
        """Trains until every lane's D has been shown at least `images` real images, in whole batches. on_block is
        called with the images seen after each block of at most BLOCK_STEPS steps. Stops early and returns False where a
        lane may be dead, which is checked after every whole block; `dead` says which.
        """
        state, batch = self.state, self.structure.batch_size
        last = math.ceil(images / batch)
        while state.discriminator_steps < last:
            first = state.discriminator_steps
            count = min(BLOCK_STEPS - first % BLOCK_STEPS, last - first)
            whole = (first + count) % BLOCK_STEPS == 0
            with library_precision(self.precision), self._settings_kept():
                self._train_block(first, count)
            state.discriminator_steps += count
            state.images_seen += count * batch
            if whole and is_marked(state.discriminator_steps // BLOCK_STEPS):
                state.watch.mark(state.images_seen)
            if on_block is not None:
                on_block(state.images_seen)
            if whole and any(self.dead()):
                return False
        return not any(self.dead())

    def _settings_kept(self) -> AbstractContextManager[None]:
        """Where networks or losses of a person's own are called, what they set for the process is undone."""
        own = self.networks.own is not None or is_reference(self.structure.loss)
        return settings_kept() if own else nullcontext()

    def _train_block(self, first: int, count: int) -> None:
        """Trains `count` steps from the first on, chunk after chunk, so that a chunk's numbers stay in the caches."""
        pace, seconds, updates = self.programs.pace, defaultdict[int, float](float), defaultdict[int, float](float)
        if not self._steps:
            if self.programs.execution == "auto":
                self.programs.execution = self._fastest_execution()
            until_it_fits(lambda: self._prepare(first), pace, lambda: max(pace.parts(self.lanes)))
        for steps in self._steps:
            started = time.thread_time()
            steps.train(first, count)
            seconds[steps.chunk.lanes] += time.thread_time() - started
            updates[steps.chunk.lanes] += steps.chunk.updates_per_step
        if count == BLOCK_STEPS and pace.note({k: seconds[k] / updates[k] for k in seconds}, self.lanes):
            self._steps = []

    def _fastest_execution(self) -> Execution:
        if self._like.device.type != "cpu" or not is_compiled(self.game):
            return "replayed"  # the only way; on a GPU, as a CUDA graph
        if self.structure.networks == IN_PYTHON:
            return "compiled"  # classes have no name under which it could be kept what was measured
        shape, classes = self.dataset.sample_shape, self.dataset.classes
        work = Work(self.structure, shape, classes, self.precision, self._like.dtype)
        return fastest_execution(work, measured_array)

    def _prepare(self, step: int) -> None:
        """Prepares the steps of all chunks, and takes all memory that they need. The state does not change."""
        self._steps = []  # gives their memory back first
        try:
            self._steps, self.carried_out = prepare_steps(self._chunk, self.lanes, self.programs, self._like, step)
        except UNKNOWN_CALLS as error:
            known = is_out_of_memory(error) or self.programs.execution == "eager"
            if known or self.networks.own is None:
                raise
            why = shortened(" ".join(str(error).split()))
            tell(f"steps of your networks cannot be repeated ({why}); they are called as they stand")
            self.programs.execution = "eager"
            self._steps, self.carried_out = prepare_steps(self._chunk, self.lanes, self.programs, self._like, step)

    def _chunk(self, start: int, stop: int) -> Chunk:
        """The lanes from start to stop, in the memory of the whole array's state."""
        state, configs = self.state, self.configs[start:stop]
        generator, discriminator = state.generator.part(start, stop), state.discriminator.part(start, stop)
        return Chunk(
            configs,
            self.game,
            generator=generator,
            discriminator=discriminator,
            generator_adam=state.generator_adam.part(start, stop, generator),
            discriminator_adam=state.discriminator_adam.part(start, stop, discriminator),
            average=state.average[start:stop] if self.averages else None,  # all lanes are scored by one, or none
            watch=Watch(state.watch.sums[start:stop], state.watch.health),
            course=Course(configs, self.half_lives_images[start:stop], self.budget_images),
            draws=Draws(configs, self.networks, self.samples, self._like),
            precision=self.precision,
        )

    def release(self) -> None:
        """Frees the memory that only training needs; it is taken again when training goes on."""
        self._steps = []
        if self._like.device.type == "cuda":
            torch.cuda.empty_cache()

    def dead(self) -> list[Death | None]:
        """For each lane why it cannot go on, or None: [L]."""
        return self.state.watch.dead()

    def generate(self, latents: Tensor, lanes: slice = slice(None)) -> Tensor:
        """Latents [L, M, Z] for these lanes -> samples [L, M, *sample_shape] of the scored generator: with the averaged
        weights where a lane has an average (the `chosen` one of several), else with its weights; with running moments
        and without dropout.
        """
        call = Call([config.lane.batch_norm_eps for config in self.configs[lanes]], precision=self.precision)
        weights = {name: of_lanes[lanes] for name, of_lanes in self._scored_weights().items()}
        with torch.no_grad(), library_precision(self.precision), self._settings_kept():
            parts = [
                self.networks.generator(weights, part, call)
                for part in latents.split(rows_at_once(self.structure), dim=1)
            ]
        return torch.cat(parts, 1)

    def _scored_weights(self) -> dict[str, Tensor]:
        """The weights of G that samples are made with, by name, [L, *shape]."""
        state = self.state
        if not self.averages:
            return state.generator.views
        return state.generator.with_flat(state.average[range(self.lanes), self.chosen])

    def sample(self, count: int, seed: int, choice: int | None = None) -> Tensor:
        """Samples [L, count, *sample_shape], from the same latents for every lane, which are drawn from `seed`. choice:
        the class or categorical code of all samples; without it the classes take turns.
        """
        return self.generate(self.shared_latents(Stream.SAMPLE_LATENTS, count, seed, choice))

    def shared_latents(self, purpose: Stream, count: int, seed: int, choice: Choice = None) -> Tensor:
        """Latents [L, count, Z], the same in every lane: a pure function of (seed, purpose, choice)."""
        one = lane_empty(1, (count, latent_numbers(self.structure, self.networks)), self._like)
        fill_shared_latents(one, self.structure, self.networks, purpose, seed, choice)
        return lane_empty(self.lanes, one.shape[1:], self._like).copy_(one.expand(self.lanes, -1, -1))

    def keep(self, lanes: Sequence[int]) -> None:
        """Drops all but these lanes, which go on in this order. Their results do not change by it."""
        self.state = self.state.take(lanes)
        self.configs, self._steps = [self.configs[i] for i in lanes], []
        self.chosen = [self.chosen[i] for i in lanes]

    def take_over(self, sources: Sequence[int], configs: Sequence[GanConfig]) -> None:
        """Lane i becomes a copy of the present lane sources[i], and goes on as that one would with the lane parameters
        of configs[i]. A lane that copies itself and keeps its parameters does not change.

        Exploit and explore of population-based training (Jaderberg et al. 2017, section 4). Raises ValueError where
        configs[i] has another structure or other seeds than its source, whose random numbers it goes on with, and
        InputError as the constructor does.
        """
        configs = of_classes(configs) if self.structure.networks == IN_PYTHON else configs
        check_successors(self.configs, sources, configs)
        for config in configs:
            fall_images(config.lane, self.budget_images)
        self.settle_averages()
        self._steps = []
        self.configs, self.state = list(configs), self.state.take(sources)
        self.chosen = [self.chosen[source] for source in sources]
        self.state.generator_adam.set([config.lane.generator_adam for config in configs])
        self.state.discriminator_adam.set([config.lane.discriminator_adam for config in configs])
        self.settle_averages()

    def settle_averages(self) -> None:
        """Sets the averages of lanes that have none to their weights, which an average begins from. Steps do so too
        where another lane has an average; where no lane has one, they do not touch the averages.
        """
        for lane, half_lives in enumerate(self.half_lives_images):
            for average, half_life in zip(self.state.average[lane], half_lives, strict=True):
                if not half_life:
                    average.copy_(self.state.generator.flat[lane])

    def generator_tensors(self, lane: int) -> dict[str, Tensor]:
        """The weights of one lane's scored generator by name, without the lane axis: what `models/` keeps."""
        weights = self._scored_weights()
        return {name: tensor[lane].detach().clone().contiguous() for name, tensor in weights.items()}


def measured_array(work: Work, way: Execution, lanes: int) -> tuple[ProgramMaker, Advance]:
    """An array of `measured_lanes`, to measure how fast steps are in one way: its programs, and what trains it by a
    number of steps.
    """
    programs, (configs, dataset) = ProgramMaker(way, Pace(lanes)), measured_lanes(work, lanes)
    array = LaneArray(configs, dataset, dtype=work.dtype, precision=work.precision, programs=programs)

    def advance(steps: int) -> None:
        end = array.state.images_seen + steps * work.structure.batch_size
        while array.state.images_seen < end:  # training stops where a lane may be dead
            array.train_to(end)

    return programs, advance
