"""An array of lanes with its scorer, which a sweep trains from rung to rung."""

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
from gan_core.config.own_names import is_reference
from gan_core.config.reports import Death, FidelityReport, LaneReport, Midway, minimised, place_of
from gan_core.execution.pace import is_out_of_memory, within_memory
from gan_core.fidelity.protocol import LATENT_SEED, Scorer, report_of
from gan_core.lanes.streams import Stream
from gan_core.training.checkpoint import load_tensors, save_tensors
from gan_core.training.lane_array import LaneArray
from gan_core.training.state import OF_ALL_LANES, TrainState


def evaluate(
    array: LaneArray, scorer: Scorer, health: HealthConfig, started: float, objective: str = "fidelity"
) -> list[LaneReport]:
    """One report per lane on what happened since the last evaluation. started: time.monotonic() of that moment.

    A lane with several moving averages of its weights is reported with the average that is best by the objective, which
    becomes `chosen` in the array. Every lane must be alive; one whose weights or score are not finite is reported as
    diverged.
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
                death=_death_at_a_rung(array, lane, found.values["fidelity"], _own_score(found, objective)),
                seconds=seconds,
                device=_device(array),
                arithmetic=arithmetic,
                ema_half_life_images=array.averages_images[array.chosen[lane]] if array.averages_images else None,
                curve=curves[lane],
            )
        )
    return reports


def score_averages(array: LaneArray, score: Callable[[], list[FidelityReport]], objective: str) -> list[FidelityReport]:
    """One report per lane, of the average that is best by the objective (the first among equals), which becomes
    `chosen`.

    score: scores the averages that are chosen. Training does not depend on the averages, so a lane with A half-lives
    covers A configurations in one training, like the lengths that Karras et al. 2024 ("EDM2", section 3) choose after
    training.
    """
    found: list[list[FidelityReport]] = []
    places = array.distinct_averages()
    for place in places:
        array.chosen = [place] * array.lanes
        found.append(score())
    best = [
        min(range(len(places)), key=lambda i: place_of(found[i][lane].values, objective)) for lane in range(array.lanes)
    ]
    array.chosen = [places[i] for i in best]
    return [found[i][lane] for lane, i in enumerate(best)]


def _scored(array: LaneArray, scorer: Scorer) -> list[FidelityReport]:
    """Scores all lanes. If memory runs out, what only training needs is released and scoring is tried once more."""
    try:
        return scorer.score(array)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    array.release()
    return scorer.score(array)


def _own_score(found: FidelityReport, objective: str) -> float:
    """The score of a person's own that is the objective; 0 where it is one of ours, which are missing in good order."""
    return minimised(found.values, objective) if is_reference(objective.removeprefix("-")) else 0.0


def _death_at_a_rung(array: LaneArray, lane: int, *scores: float) -> Death | None:
    if not all(bool(rows.flat[lane].isfinite().all()) for rows in (array.state.generator, array.state.discriminator)):
        return Death("diverged", "weights are not finite")
    score = next((score for score in scores if not math.isfinite(score)), None)
    return None if score is None else Death("diverged", f"score is {score:g}")


def _device(array: LaneArray) -> str:
    where = array.state.generator.flat.device
    name = torch.cuda.get_device_name(where) if where.type == "cuda" else where.type
    how = filter(None, [array.carried_out, array.networks.carried(where)])
    return ", ".join([name, *how, f"{array.lanes_per_call} lanes a call"])


def _arithmetic(array: LaneArray, scorer: Scorer) -> Arithmetic:
    return array.arithmetic(scored_in_c=array.state.generator.flat.device.type == "cpu" and scorer.in_c)


class ScoredArray:
    """An array with its scorer. Lanes keep their numbers until the next `keep` or `take_over`.

    A lane that dies is not trained any further, which does not affect the others.
    """

    def __init__(self, array: LaneArray, scorer: Scorer, health: HealthConfig, objective: str = "fidelity") -> None:
        """objective: the score that selects the average with which a lane is reported."""
        self.array, self.scorer, self.health, self.objective = array, scorer, health, objective
        self._living = list(range(array.lanes))  # the number of each lane in the array
        self._lanes = array.lanes
        self._dead: dict[int, LaneReport] = {}  # the last report of each lane that died
        self._picture_latents: dict[int, torch.Tensor] = {}  # number of samples -> their latents
        self._began = time.monotonic()  # when the training up to the next rung began
        self._before_seconds = 0.0  # for which an earlier process has trained them on the way to it

    @property
    def arithmetic(self) -> Arithmetic:
        """How the lanes are computed, in training and scoring; known once they have been trained."""
        return _arithmetic(self.array, self.scorer)

    @property
    def choices(self) -> int:
        """The number of classes or categorical codes that can be requested of the generators; 0 if none."""
        return self.array.networks.choices

    def train_to(self, images: int, on_step: Callable[[int], None] | None = None) -> list[LaneReport]:
        """Trains every lane to `images` real images and scores it: one report per lane, dead ones included.

        Raises OutOfMemory if a step of a single lane, or a score, does not fit into memory.
        """
        with within_memory(len(self._living)):
            return self._train_to(images, on_step)

    def _train_to(self, images: int, on_step: Callable[[int], None] | None) -> list[LaneReport]:
        self._began, self._before_seconds = time.monotonic() - self._before_seconds, 0.0
        while self._living and not self.array.train_to(images, on_step):
            arithmetic = self.arithmetic
            share = (time.monotonic() - self._began) / len(self._living)
            self._dead |= self._remove_dead(share, arithmetic)
            self._began = time.monotonic() - share * len(self._living)  # the time without the share of the dead
        return self._score()

    def score(self) -> list[LaneReport]:
        """Scores every lane in its current state, after an on_step that raised has interrupted `train_to`."""
        with within_memory(len(self._living)):
            return self._score()

    def _score(self) -> list[LaneReport]:
        scored = evaluate(self.array, self.scorer, self.health, self._began, self.objective) if self._living else []
        reports = {**self._dead, **dict(zip(self._living, scored, strict=True))}
        return [reports[lane] for lane in range(self._lanes)]

    def _remove_dead(self, seconds: float, arithmetic: Arithmetic) -> dict[int, LaneReport]:
        """Removes the dead lanes from the array and returns their reports.

        seconds: each lane's share of the time so far; arithmetic: how they were trained.
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
        """Keeps only these of the living lanes. If none is left, the array stays as it is and is not trained."""
        if numbers and numbers != self._living:
            self.array.keep([self._living.index(number) for number in numbers])
        self._living = numbers

    def keep(self, lanes: Sequence[int]) -> None:
        """Keeps only these lanes, which must be alive, and numbers them anew in this order."""
        self._keep_living(list(lanes))
        self._lanes = len(self._living)
        self._living, self._dead = list(range(self._lanes)), {}

    def take_over(self, sources: Sequence[int], configs: Sequence[GanConfig]) -> None:
        """Replaces lane i by a copy of the living lane sources[i], which goes on with the parameters of configs[i].

        There are then as many lanes as sources, so a dead lane may be replaced too. Raises ValueError for a dead source
        and as `LaneArray.take_over` does, and OutOfMemory.
        """
        places = [self._place(source) for source in sources]
        with within_memory(len(places)):
            self.array.take_over(places, configs)
        self._lanes = len(places)
        self._living, self._dead = list(range(self._lanes)), {}

    def _place(self, lane: int) -> int:
        """The index of a lane in the array. Raises ValueError if it is dead."""
        if lane not in self._living:
            raise ValueError(f"lane {lane} is not among those that live, {self._living}")
        return self._living.index(lane)

    def picture(self, lane: int, count: int) -> np.ndarray:
        """Samples of a living lane from the latents of scoring, classes in turn: float32 [count, *sample_shape]."""
        place = self._place(lane)
        if count not in self._picture_latents:  # all lanes use the same latents
            latents = self.array.shared_latents(Stream.SCORE_LATENTS, self.scorer.samples, LATENT_SEED)
            self._picture_latents[count] = latents[:1, :count].clone()
        samples = self.array.generate(self._picture_latents[count], slice(place, place + 1))
        return samples[0].float().cpu().numpy()

    def save(self, path: Path) -> None:
        """Writes atomically all that is needed to resume, by `load`, or by `load_lanes` with other lane parameters."""
        self.array.settle_averages()
        _save(self.array.state, self._living, path)

    def load(self, path: Path) -> None:
        """Loads what `save` wrote for the same configurations. Raises InputError if it does not fit."""
        tensors = load_tensors(path)
        if "living" in tensors:
            living = tensors.pop("living").tolist()
            if not set(living) <= set(self._living):
                raise InputError(f"the checkpoint {path} is of other lanes; it is another run's")
            self._keep_living(living)
        if self._living:
            self.array.state.load(tensors)
            if "marked" in tensors:  # earlier versions did not write it
                self.array.state.watch.go_on_from(tensors["marked"])

    def save_midway(self, path: Path) -> Midway | None:
        """Writes atomically all that is needed to go on, by `load_midway`, on the way from one rung to the next, and
        returns what belongs to it. Writes nothing and returns None after a step in which a lane has died, which is
        removed before the next.
        """
        if any(self.array.dead()):
            return None
        self.array.settle_averages()
        save_tensors(path, {**_saved(self.array.state, self._living), **self.array.state.watch.marks()})
        return Midway(time.monotonic() - self._began, dict(self._dead))

    def load_midway(self, path: Path, midway: Midway) -> None:
        """Loads what `save_midway` wrote and returned for the same configurations, in an array that has not been
        trained. Raises InputError or DamagedFile if it does not fit.
        """
        self.load(path)
        self.array.state.watch.set_marks(load_tensors(path))
        self._dead, self._before_seconds = dict(midway.dead), midway.seconds

    def save_lane(self, lane: int, path: Path) -> None:
        """Writes atomically all that one living lane needs to resume, like `save` of an array of that lane alone."""
        self.array.settle_averages()
        _save(self.array.state.take([self._place(lane)]), [0], path)

    def load_lanes(self, places: Sequence[tuple[Path, int]]) -> None:
        """Loads each lane, in an array without dead lanes, from a file of `save` or `save_lane` by its number there.

        If the lane parameters of a configuration differ from those of the file, the lane goes on with the former.
        Raises ValueError unless there is one place per lane, and DamagedFile if a file does not fit or the lanes have
        not seen the same number of images; the array must then be discarded.
        """
        if len(places) != self.array.lanes:
            raise ValueError(f"each of {self.array.lanes} lanes needs one place, got {len(places)}")
        files = {path: load_tensors(path) for path in dict.fromkeys(path for path, _ in places)}
        self.array.state.load_lanes([_one_lane(files[path], path, lane) for path, lane in places])
        self.array.settle_averages()

    def save_generator(self, lane: int, path: Path) -> None:
        """Writes atomically the generator weights that a living lane is scored with, as `generator.safetensors`."""
        save_tensors(path, self.array.generator_tensors(self._place(lane)))


def _save(state: TrainState, living: Sequence[int], path: Path) -> None:
    save_tensors(path, _saved(state, living))


def _saved(state: TrainState, living: Sequence[int]) -> dict[str, torch.Tensor]:
    beside = {"living": torch.tensor(living, dtype=torch.int64), "marked": state.watch.last_mark}
    return {**state.tensors(), **beside}


def _one_lane(tensors: Mapping[str, torch.Tensor], path: Path, lane: int) -> dict[str, torch.Tensor]:
    """The tensors of one lane in the file of an array; lane: its number, which counts lanes that have died."""
    living = tensors["living"].tolist() if "living" in tensors else []
    if lane not in living:
        raise DamagedFile(f"the checkpoint {path} holds no living lane {lane}; it is another run's")
    row = living.index(lane)
    kept = {name: tensor for name, tensor in tensors.items() if name != "living"}
    return {name: t if name in OF_ALL_LANES else t[row : row + 1] for name, t in kept.items()}
