"""An array with its scorer: what a sweep trains from rung to rung, and what a process needs to make one.

L lanes.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from gan_core.config.arithmetic import Arithmetic
from gan_core.config.gan import GanConfig
from gan_core.config.health import HealthConfig, signs
from gan_core.config.input_error import DamagedFile, InputError
from gan_core.config.reports import Death, FidelityReport, LaneReport, minimised
from gan_core.execution.pace import is_out_of_memory, within_memory
from gan_core.fidelity.protocol import LATENT_SEED, Scorer, report_of
from gan_core.lanes.streams import Stream
from gan_core.training.checkpoint import load_tensors, save_tensors
from gan_core.training.lane_array import LaneArray
from gan_core.training.state import OF_ALL_LANES, TrainState


def evaluate(
    array: LaneArray, scorer: Scorer, health: HealthConfig, started: float, objective: str = "fidelity"
) -> list[LaneReport]:
    """One report a lane of what happened since it was last asked; started: the clock (time.monotonic) then. Where lanes
    keep several averages, of the one with the lowest objective, which is the lane's `chosen` one from then on.

    Every lane must be alive; one whose weights or score are not finite dies here.
    """
    fidelity = score_averages(array, lambda: _scored(array, scorer), objective)
    curves, watched = array.state.watch.curves(array.state.images_seen), array.state.watch.read()
    arithmetic = _arithmetic(array, scorer)
    seconds = (time.monotonic() - started) / array.lanes
    reports = []
    for lane, (found, seen) in enumerate(zip(fidelity, watched, strict=True)):
        d_loss, g_loss = seen.pop("d_loss"), seen.pop("g_loss")
        reports.append(
            LaneReport(
                images_seen=array.state.images_seen,
                d_loss=d_loss,
                g_loss=g_loss,
                fidelity=found,
                health=seen,
                signs=signs(array.state.images_seen, {**found.values, **seen, "d_loss": d_loss}, health),
                death=_death_at_a_rung(array, lane, found.values["fidelity"]),
                seconds=seconds,
                device=_device(array),
                arithmetic=arithmetic,
                ema_half_life_images=array.averages_images[array.chosen[lane]] if array.averages_images else None,
                curve=curves[lane],
            )
        )
    return reports


def score_averages(array: LaneArray, score: Callable[[], list[FidelityReport]], objective: str) -> list[FidelityReport]:
    """One report a lane: of the average whose objective is lowest, the earlier one of equals, which is `chosen` then.
    score: scores what is chosen.

    Training does not depend on the averages, so a lane of A half-lives is A configurations for one training: as the
    lengths of Karras et al. 2024 ("EDM2", section 3) are, which are chosen when training is over.
    """
    found: list[list[FidelityReport]] = []
    places = array.distinct_averages()
    for place in places:
        array.chosen = [place] * array.lanes
        found.append(score())
    best = [
        min(range(len(places)), key=lambda i: _comparable(found[i][lane], objective)) for lane in range(array.lanes)
    ]
    array.chosen = [places[i] for i in best]
    return [found[i][lane] for lane, i in enumerate(best)]


def _comparable(report: FidelityReport, objective: str) -> float:
    value = minimised(report.values, objective)
    return value if math.isfinite(value) else math.inf


def _scored(array: LaneArray, scorer: Scorer) -> list[FidelityReport]:
    """The scores of all lanes. Where memory runs out, once more without what only training needs."""
    try:
        return scorer.score(array)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    array.release()
    return scorer.score(array)


def _death_at_a_rung(array: LaneArray, lane: int, score: float) -> Death | None:
    if not all(bool(rows.flat[lane].isfinite().all()) for rows in (array.state.generator, array.state.discriminator)):
        return Death("diverged", "weights are not finite")
    return None if math.isfinite(score) else Death("diverged", f"score is {score:g}")


def _device(array: LaneArray) -> str:
    where = array.state.generator.flat.device
    name = torch.cuda.get_device_name(where) if where.type == "cuda" else where.type
    return ", ".join([name, *filter(None, [array.carried_out]), f"{array.lanes_per_call} lanes a call"])


def _arithmetic(array: LaneArray, scorer: Scorer) -> Arithmetic:
    return array.arithmetic(scored_in_c=array.state.generator.flat.device.type == "cpu" and scorer.in_c)


class ScoredArray:
    """An array with its scorer. Lanes keep their numbers from one `keep` to the next: one that dies is trained no
    further, and its neighbours do not notice.
    """

    def __init__(self, array: LaneArray, scorer: Scorer, health: HealthConfig, objective: str = "fidelity") -> None:
        """objective: the score that decides which of several averages a lane is reported with."""
        self.array, self.scorer, self.health, self.objective = array, scorer, health, objective
        self._living = list(range(array.lanes))  # the number of each lane of the array
        self._lanes = array.lanes
        self._dead: dict[int, LaneReport] = {}  # the last word of each lane that left
        self._pictured: dict[int, torch.Tensor] = {}  # how many samples -> their latents
        self._began = time.monotonic()  # when training was last begun

    @property
    def arithmetic(self) -> Arithmetic:
        """How lanes are trained and scored here, once they were trained."""
        return _arithmetic(self.array, self.scorer)

    @property
    def choices(self) -> int:
        """How many classes or categorical codes lanes can be asked for; 0: none."""
        return self.array.networks.choices

    def train_to(self, images: int, on_step: Callable[[int], None] | None = None) -> list[LaneReport]:
        """Trains every lane to `images` real images and scores it: one report a lane, also of those that died. Raises
        OutOfMemory where a step of one lane, or a score, does not fit.
        """
        with within_memory(len(self._living)):
            return self._train_to(images, on_step)

    def _train_to(self, images: int, on_step: Callable[[int], None] | None) -> list[LaneReport]:
        self._began = time.monotonic()
        while self._living and not self.array.train_to(images, on_step):
            arithmetic = self.arithmetic
            share = (time.monotonic() - self._began) / len(self._living)
            self._dead |= self._bury(share, arithmetic)
            self._began = time.monotonic() - share * len(self._living)  # as if the living had been alone
        return self._score()

    def score(self) -> list[LaneReport]:
        """Scores every lane as it stands, where an on_step that raised has broken training off: as `train_to` does."""
        with within_memory(len(self._living)):
            return self._score()

    def _score(self) -> list[LaneReport]:
        scored = evaluate(self.array, self.scorer, self.health, self._began, self.objective) if self._living else []
        reports = {**self._dead, **dict(zip(self._living, scored, strict=True))}
        return [reports[lane] for lane in range(self._lanes)]

    def _bury(self, seconds: float, arithmetic: Arithmetic) -> dict[int, LaneReport]:
        """Reports of the lanes that are dead now, which leave the array. seconds: each lane's share so far; arithmetic:
        how they were trained.
        """
        deaths, losses, scorer = self.array.dead(), self.array.state.watch.means(), self.scorer
        curves = self.array.state.watch.curves(self.array.state.images_seen)
        dead = {}
        for death, seen, curve, number in zip(deaths, losses, curves, self._living, strict=True):
            if death is not None:
                d_loss, g_loss = seen.pop("d_loss"), seen.pop("g_loss")
                unscored = report_of({"fidelity": math.nan}, scorer)
                images, device = self.array.state.images_seen, _device(self.array)
                dead[number] = LaneReport(
                    images, d_loss, g_loss, unscored, seen, (), death, seconds, device, None, arithmetic, curve
                )
        self._keep_living([number for number in self._living if number not in dead])
        return dead

    def _keep_living(self, numbers: list[int]) -> None:
        """Goes on with these of the living lanes; where none is left the array stays as it is, and is not trained."""
        if numbers and numbers != self._living:
            self.array.keep([self._living.index(number) for number in numbers])
        self._living = numbers

    def keep(self, lanes: Sequence[int]) -> None:
        """Goes on with these lanes alone, which must be alive; they are numbered anew in this order."""
        self._keep_living(list(lanes))
        self._lanes = len(self._living)
        self._living, self._dead = list(range(self._lanes)), {}

    def take_over(self, sources: Sequence[int], configs: Sequence[GanConfig]) -> None:
        """Goes on with as many lanes as there are sources, each alive: lane i as `LaneArray.take_over` makes it of
        sources[i]. Lanes that died may return so. Raises ValueError as that does, and OutOfMemory.
        """
        places = [self._place(source) for source in sources]
        with within_memory(len(places)):
            self.array.take_over(places, configs)
        self._lanes = len(places)
        self._living, self._dead = list(range(self._lanes)), {}

    def _place(self, lane: int) -> int:
        """Where a lane stands in the array. Raises ValueError when it died."""
        if lane not in self._living:
            raise ValueError(f"lane {lane} is not among those that live, {self._living}")
        return self._living.index(lane)

    def picture(self, lane: int, count: int) -> np.ndarray:
        """Samples of the latents that a living lane is scored with, classes in turn: float32 [count, *sample_shape]."""
        place = self._place(lane)
        if count not in self._pictured:  # the same of every lane
            latents = self.array.shared_latents(Stream.SCORE_LATENTS, self.scorer.samples, LATENT_SEED)
            self._pictured[count] = latents[:1, :count].clone()
        samples = self.array.generate(self._pictured[count], slice(place, place + 1))
        return samples[0].float().cpu().numpy()

    def save(self, path: Path) -> None:
        """Writes all that training needs to go on, atomically; also with other lane parameters, by `load_lanes`."""
        self.array.settle_averages()
        _save(self.array.state, self._living, path)

    def load(self, path: Path) -> None:
        """Takes over what `save` wrote for the same configurations. Raises InputError when it does not fit."""
        tensors = load_tensors(path)
        if "living" in tensors:
            living = tensors.pop("living").tolist()
            if not set(living) <= set(self._living):
                raise InputError(f"the checkpoint {path} is of other lanes; it is another run's")
            self._keep_living(living)
        if self._living:
            self.array.state.load(tensors)
            if "marked" in tensors:  # which earlier versions did not write
                self.array.state.watch.go_on_from(tensors["marked"])

    def save_lane(self, lane: int, path: Path) -> None:
        """Writes all that a living lane needs to go on alone, atomically: as `save` of an array of that lane does."""
        self.array.settle_averages()
        _save(self.array.state.take([self._place(lane)]), [0], path)

    def load_lanes(self, places: Sequence[tuple[Path, int]]) -> None:
        """Takes over for each lane of an array that has lost none a lane of a file of `save` or `save_lane`, by its
        number there. Where a configuration has other lane parameters than that lane was made with, the lane goes on as
        if it had them from here on.

        Raises DamagedFile when a file does not fit, or the lanes have not seen the same images; the array must then be
        dropped.
        """
        if len(places) != self.array.lanes:
            raise ValueError(f"each of {self.array.lanes} lanes needs one place, got {len(places)}")
        files = {path: load_tensors(path) for path in dict.fromkeys(path for path, _ in places)}
        self.array.state.load_lanes([_one_lane(files[path], path, lane) for path, lane in places])
        self.array.settle_averages()

    def save_generator(self, lane: int, path: Path) -> None:
        """Writes the weights that a living lane is scored with, atomically: a model folder's `generator.safetensors`,
        which its configuration samples from.
        """
        save_tensors(path, self.array.generator_tensors(self._place(lane)))


def _save(state: TrainState, living: Sequence[int], path: Path) -> None:
    beside = {"living": torch.tensor(living, dtype=torch.int64), "marked": state.watch.last_mark}
    save_tensors(path, {**state.tensors(), **beside})


def _one_lane(tensors: Mapping[str, torch.Tensor], path: Path, lane: int) -> dict[str, torch.Tensor]:
    """What an array's file holds of one lane, by its number before others died."""
    living = tensors["living"].tolist() if "living" in tensors else []
    if lane not in living:
        raise DamagedFile(f"the checkpoint {path} holds no living lane {lane}; it is another run's")
    row = living.index(lane)
    kept = {name: tensor for name, tensor in tensors.items() if name != "living"}
    return {name: t if name in OF_ALL_LANES else t[row : row + 1] for name, t in kept.items()}
