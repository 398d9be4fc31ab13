"""Arrays of a person's own Trainers: a trial a lane, trained one after another, with all that cohorts ask of arrays."""

import gc
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gan_core.config.conditions import Conditions
from gan_core.config.gan import GanConfig
from gan_core.config.input_error import DamagedFile, InputError
from gan_core.config.own_names import parse_reference, score_of
from gan_core.config.reports import Death, FidelityReport, LaneReport, Midway, OutOfMemory
from gan_core.execution.pace import within_memory
from gan_core.files.own_code import OwnCodeError, bring, own_object
from gan_core.native.arithmetic import arithmetic_here, processor_name
from gan_core.training.checkpoint import load_tensors, save_tensors
from gan_core.workshop.drawn_text import drawn
from gan_core.workshop.own_trainer import LOSSES, OwnTrainer, Samples, check_trainer

REPORTS = "reports"  # key in a file; the states of the lanes stand under their numbers


@dataclass
class _Lane:
    """A trial. images: the examples it has seen. state: what its Trainer returned then, from which it can be made anew;
    None if it is untrained. report: once it has reached the rung that others are on their way to, or has died.
    """

    config: GanConfig
    images: int = 0
    state: Tensor | None = None
    trainer: OwnTrainer | None = None
    report: LaneReport | None = None


class TrainerWorkshop:
    """Builds arrays of the Trainer that the configurations of a sweep name; for them it is what `Workshop` is for GANs.

    device: `cpu`, `cuda`, or `auto`, which means a GPU if torch sees one. Raises OwnCodeError and InputError where the
    class cannot be imported or lacks a method.
    """

    def __init__(self, conditions: Conditions, device: str = "auto") -> None:
        bring(conditions.code)
        self.conditions = conditions
        place = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        self.device = torch.device(place)
        self.name = parse_reference("train", conditions.trainer).name
        self.made = check_trainer(own_object(conditions.trainer), self.name)

    def build(self, configs: Sequence[GanConfig], averages_images: Sequence[float] = ()) -> "TrainerArray":
        """An untrained array of these configurations. averages_images: none, which a Trainer has no use for."""
        return TrainerArray(self, configs)


class TrainerArray:
    """The Trainers of some trials. Lanes keep their numbers until the next `keep` or `take_over`.

    A Trainer is made when its lane is trained first, and then stays. Its state is taken as soon as it has been trained,
    so that an error there is one of this lane too. Where memory runs out, the Trainers of all other lanes are dropped,
    and it is tried once more. A lane whose Trainer raises an error, or reports a score that is not finite, dies, and
    the others go on.
    """

    choices = 0

    def __init__(self, workshop: TrainerWorkshop, configs: Sequence[GanConfig]) -> None:
        self.workshop = workshop
        self._lanes = [_Lane(config) for config in configs]
        conditions = workshop.conditions
        self._scores = [score_of(name) for name in (conditions.objective, *conditions.further_objectives)]

    def train_to(self, images: int, on_step: Callable[[int], None] | None = None) -> list[LaneReport]:
        """Trains every lane until it has seen so many examples: one report per lane, dead ones included. on_step is
        called after each lane, with the examples that the lanes have seen on average since the first began.
        """
        begun = min((lane.images for lane in self._lanes), default=0)
        for number, lane in enumerate(self._lanes, 1):
            if lane.report is None or (lane.report.death is None and lane.images < images):
                lane.report = self._trained(lane, images)
            if on_step is not None:
                on_step(begun + (images - begun) * number // len(self._lanes))
        return self.score()

    def score(self) -> list[LaneReport]:
        """The reports of the lanes as they stand: without numbers where a lane has not reached the rung."""
        return [lane.report or self._report(lane, {}, None, 0.0) for lane in self._lanes]

    def _trained(self, lane: _Lane, images: int) -> LaneReport:
        began, numbers, death = time.monotonic(), {}, None
        try:
            numbers = self._numbers(lane, images)
        except OutOfMemory as error:
            death = Death("out_of_memory", str(error))
        except OwnCodeError as error:
            death = Death("failed", str(error), error.theirs)
        except InputError as error:
            death = Death("failed", str(error), misuse=True)
        else:
            lane.images = images
            death = self._divergence(numbers)
        if death is not None:
            lane.state = lane.trainer = None
        return self._report(lane, numbers, death, time.monotonic() - began)

    def _numbers(self, lane: _Lane, images: int) -> dict[str, float]:
        """Trains a lane. Raises OutOfMemory where it does not fit even alone."""
        try:
            return self._attempt(lane, images)
        except OutOfMemory:
            if all(other.trainer is None for other in self._lanes if other is not lane):
                raise
        for each in self._lanes:
            each.trainer = None
        gc.collect()  # a Trainer may hold itself in a circle
        if self.workshop.device.type == "cuda":
            torch.cuda.empty_cache()
        return self._attempt(lane, images)

    def _attempt(self, lane: _Lane, images: int) -> dict[str, float]:
        with within_memory(1):
            trainer = self._trainer(lane)
            numbers = trainer.train_to(images, self._scores)
            if self._divergence(numbers) is None:
                lane.state = trainer.state()
            return numbers

    def _divergence(self, numbers: Mapping[str, float]) -> Death | None:
        found = [name for name in self._scores if not math.isfinite(numbers[name])]
        return Death("diverged", f"{found[0]} is {numbers[found[0]]:g}") if found else None

    def _trainer(self, lane: _Lane) -> OwnTrainer:
        """The Trainer of a lane, made where it is not there."""
        if lane.trainer is None:
            config, workshop = {**lane.config.trainer, "seed": lane.config.seed}, self.workshop
            made = OwnTrainer(workshop.made, workshop.name, config, workshop.device, lane.images, lane.state)
            if lane.state is None:
                with suppress(OwnCodeError):  # perhaps it has none before it has trained
                    made.state()  # one that cannot be kept is to be known before it takes hours
            lane.trainer = made
        return lane.trainer

    def _report(self, lane: _Lane, numbers: Mapping[str, float], death: Death | None, seconds: float) -> LaneReport:
        device = self.workshop.device
        on_gpu = device.type == "cuda"
        processor = torch.cuda.get_device_name(device) if on_gpu else processor_name()
        with_errors = {*self._scores, *(f"{name}_error" for name in self._scores)}
        scores = {name: value for name, value in numbers.items() if name in with_errors}
        d_loss, g_loss = (numbers.get(name, math.nan) for name in LOSSES)
        return LaneReport(
            images_seen=lane.images,
            d_loss=d_loss,
            g_loss=g_loss,
            fidelity=FidelityReport(scores or {self._scores[0]: math.nan}, self.workshop.conditions.trainer, ""),
            health={},
            signs=(),
            death=death,
            seconds=seconds,
            device=processor if on_gpu else "cpu",
            arithmetic=arithmetic_here("eager", processor, in_c=False),
            report={name: value for name, value in numbers.items() if name not in with_errors and name not in LOSSES},
        )

    def keep(self, lanes: Sequence[int]) -> None:
        """Keeps only these lanes, which must be alive, and numbers them anew in this order."""
        self._lanes = [self._living(lane) for lane in lanes]
        self._forget_reports()

    def _living(self, number: int) -> _Lane:
        lane = self._lanes[number]
        if lane.report is not None and lane.report.death is not None:
            raise ValueError(f"lane {number} is dead: {lane.report.death.reason}")
        return lane

    def _forget_reports(self) -> None:
        for lane in self._lanes:
            lane.report = None

    def take_over(self, sources: Sequence[int], configs: Sequence[GanConfig]) -> None:
        """Replaces lane i by one that goes on from the state of the living lane sources[i] with configs[i]: a Trainer
        is made with its hyperparameters, and loads the state.
        """
        taken = [self._living(source) for source in sources]
        self._lanes = [
            lane if number == source and config == lane.config else _Lane(config, lane.images, lane.state)
            for number, (source, lane, config) in enumerate(zip(sources, taken, configs, strict=True))
        ]
        self._forget_reports()

    @property
    def images_seen(self) -> int:
        """The examples that the lane which has seen fewest has seen."""
        return min(lane.images for lane in self._lanes)

    def begin(self, images: int, state: Tensor) -> None:
        """Lets a single untrained lane go on from a state, which `state` returned after so many images."""
        (lane,) = self._lanes
        lane.images, lane.state = images, state

    def state(self, lane: int) -> Tensor:
        """The state of a living lane, which has been trained: uint8, what torch.save writes."""
        state = self._living(lane).state
        assert state is not None, "it has been trained"
        return state

    def sample(self, lane: int, count: int, seed: int | None = None) -> Samples | None:
        """Samples of a living lane, as `OwnTrainer.sample` draws them, and raises. Raises OutOfMemory too."""
        with within_memory(1):
            return self._trainer(self._living(lane)).sample(count, seed)

    def picture(self, lane: int, count: int) -> np.ndarray | None:
        """Samples of a living lane, float32 [n, C, H, W]; texts as one picture of their lines, and so what `sample`
        raised instead; None where the class draws none.
        """
        try:
            found = self.sample(lane, count)
        except (InputError, OutOfMemory) as error:  # a training that goes well is not given up for its pictures
            found = [str(error)]
        return drawn(found)[None] if isinstance(found, list) else found

    def save(self, path: Path) -> None:
        """Writes atomically all that the living lanes need to go on."""
        self._save(range(len(self._lanes)), path)

    def save_midway(self, path: Path) -> Midway | None:
        """The same, with the reports of the lanes that have reached the rung."""
        self._save(range(len(self._lanes)), path)
        return Midway()

    def save_lane(self, lane: int, path: Path) -> None:
        """Writes one living lane, as `save` of an array of it alone."""
        self._save([lane], path)

    def save_generator(self, lane: int, path: Path) -> None:
        """Writes the same: what of it draws samples is the Trainer's own affair."""
        self._save([lane], path)

    def _save(self, numbers: Sequence[int], path: Path) -> None:
        lanes = [self._lanes[number] for number in numbers]
        reports = json.dumps([lane.report and lane.report.plain() for lane in lanes])
        tensors = {str(number): lane.state for number, lane in enumerate(lanes) if lane.state is not None}
        images = torch.tensor([lane.images for lane in lanes])
        save_tensors(
            path,
            {**tensors, "images": images, REPORTS: torch.frombuffer(bytearray(reports.encode()), dtype=torch.uint8)},
        )

    def load_midway(self, path: Path, midway: Midway) -> None:
        """Goes on from what `save_midway` wrote of the same trials. Raises DamagedFile."""
        self.load_lanes([(path, lane) for lane in range(len(self._lanes))])
        reports = json.loads(load_tensors(path)[REPORTS].numpy().tobytes())
        for lane, report in zip(self._lanes, reports, strict=True):
            lane.report = report and LaneReport.from_plain(report)

    def load_lanes(self, places: Sequence[tuple[Path, int]]) -> None:
        """Loads each lane from a file of `save` or `save_lane` by its number there; it goes on with the hyperparameters
        of its configuration. Raises DamagedFile if a file does not hold the lane.
        """
        files = {path: load_tensors(path) for path in dict.fromkeys(path for path, _ in places)}
        for lane, (path, number) in zip(self._lanes, places, strict=True):
            tensors = files[path]
            if "images" not in tensors or number >= len(tensors["images"]):
                raise DamagedFile(f"the checkpoint {path} holds no trial {number}; it is another run's")
            lane.images, lane.state = int(tensors["images"][number]), tensors.get(str(number))
            lane.trainer = lane.report = None
