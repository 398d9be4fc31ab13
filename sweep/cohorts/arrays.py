"""CohortArrays: trains the runs of a cohort in as few arrays as their structures and the memory allow."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gan_core.config.gan import GanConfig
from gan_core.config.reports import Death, FidelityReport, LaneReport, Midway, OutOfMemory
from gan_core.config.structure import StructureConfig
from gan_core.files.own_code import OwnCodeError
from results.trial_run import TrialRun
from sweep.cohorts.contracts import Build, TrainableArray
from sweep.ladder.ladder import Change
from sweep.ledger.endings import one_line


@dataclass
class Group:
    """Runs of one structure, in the order of the lanes of their array. array: None while it is not in memory. places:
    for each run the file from which it goes on, and its lane there; empty if all are untrained. midway: the file from
    which the whole array goes on instead, on its way to a rung, and what belongs to it. reports: once it has reached
    the rung that others of the cohort are on their way to.
    """

    runs: list[TrialRun]
    places: list[tuple[Path, int]] = field(default_factory=list)
    array: TrainableArray | None = None
    midway: tuple[Path, Midway] | None = None
    reports: list[LaneReport] | None = None


@dataclass
class Trained:
    """How far `CohortArrays.train` came. reports: of the groups that reached the rung, one after another. broken_off:
    the group in which training stopped because it was not to go on; None if all reached the rung.
    """

    reports: list[LaneReport]
    broken_off: Group | None = None


class _Stopped(Exception):
    """Raised in a step of training that is not to go on."""


class CohortArrays:
    """The arrays of a cohort. If memory runs out, arrays are split, and trained one after another. groups: what to
    train, which the caller sets. limits: structure -> how many of its lanes fit, which the caller keeps from one cohort
    to the next.
    """

    def __init__(
        self,
        build: Build,
        limits: dict[StructureConfig, int],
        averages_images: Sequence[float],
    ) -> None:
        self._build, self._limits, self._averages_images = build, limits, averages_images
        self.groups = list[Group]()
        self._one_at_a_time = False  # whether an array is dropped as soon as it is saved

    def train(
        self,
        stretch: Sequence[int],
        configs: Mapping[TrialRun, GanConfig],
        may_go_on: Callable[[Sequence[TrialRun], int], bool],
        save: Callable[[int, Group, TrainableArray, list[LaneReport]], None],
        save_midway: Callable[[Sequence[Group], int, int], None],
    ) -> Trained:
        """Trains every group that has not reached the rung, one after another. stretch: from how many real images on,
        and to how many. may_go_on: is asked after each step, with the runs of a group and the images they have seen.
        save: is called with the number of a group, counted from 0, before the next one begins. save_midway: is called
        after each step that is not the last, with all groups, the number of the one in training, and the images that
        its runs have seen. A lane that alone does not fit the memory, or for
        which a person's own code raises an error, is reported dead, and not saved.
        """
        waiting, trained = deque(self.groups), list[Group]()
        while waiting:
            group = waiting.popleft()
            if group.reports is not None:
                trained.append(group)
                continue
            try:
                array = group.array = group.array or self._load(group, configs)

                def on_step(images: int, group: Group = group) -> None:
                    if not may_go_on(group.runs, images):
                        raise _Stopped
                    if images < stretch[1]:
                        save_midway([*trained, group, *waiting], len(trained), images)

                found = array.train_to(stretch[1], on_step)
            except _Stopped:
                self.groups = trained
                return Trained(_reports(trained), group)
            except OutOfMemory as error:
                group.array = group.midway = None
                if self._drop_arrays([*trained, *waiting]):
                    waiting.appendleft(group)
                    continue
                if len(group.runs) > 1:
                    self._limits[configs[group.runs[0]].structure] = (len(group.runs) + 1) // 2
                    waiting.extendleft(reversed(_halves(group)))
                    continue
                found = [_dead(Death("out_of_memory", one_line(str(error))), stretch[0])]
            except OwnCodeError as error:  # of one of the lanes, which is told from the others by training them apart
                group.array = group.midway = None
                if len(group.runs) > 1:
                    waiting.extendleft(reversed(_halves(group)))
                    continue
                found = [_dead(Death("failed", one_line(str(error)), error.theirs), stretch[0])]
            else:
                save(len(trained), group, array, found)
            if self._one_at_a_time:
                group.array = None
            group.midway, group.reports = None, found
            trained.append(group)
        self.groups, reports = trained, _reports(trained)
        for group in trained:
            group.reports = None
        return Trained(reports)

    def _load(self, group: Group, configs: Mapping[TrialRun, GanConfig]) -> TrainableArray:
        array = self._build([configs[run] for run in group.runs], self._averages_images)
        if group.midway is not None:
            array.load_midway(*group.midway)
        elif group.places:
            array.load_lanes(group.places)
        return array

    def _drop_arrays(self, groups: Iterable[Group]) -> bool:
        """Frees the memory of these groups, and from now on of each after its training. False if they held none."""
        self._one_at_a_time = True
        held = [group for group in groups if group.array is not None]
        for group in held:
            group.array = None
        return bool(held)

    def keep(self, going: Callable[[TrialRun], bool]) -> None:
        """Drops the lanes of all runs that do not go on from the rung that all groups have reached."""
        for group in self.groups:
            lanes = [lane for lane, run in enumerate(group.runs) if going(run)]
            if group.array is not None and lanes and len(lanes) < len(group.runs):
                group.array.keep(lanes)
            group.runs = [group.runs[lane] for lane in lanes]
            group.places = [group.places[lane] for lane in lanes]
        self.groups = [group for group in self.groups if group.runs]

    def exchange(self, changes: Mapping[TrialRun, Change], configs: Mapping[TrialRun, GanConfig]) -> None:
        """Lets lanes of a population take over the states of others: in memory if both are in one array, else from the
        files. configs: those in force from now on.
        """
        if not changes:
            return
        places = {run: place for group in self.groups for run, place in zip(group.runs, group.places, strict=True)}
        for group in self.groups:
            sources = [changes[run].source if run in changes else run for run in group.runs]
            if set(sources) <= set(group.runs) and group.array is not None:
                lanes = [group.runs.index(source) for source in sources]
                group.array.take_over(lanes, [configs[run] for run in group.runs])
            else:
                group.array = None
            group.places = [places[source] for source in sources]


def grouped(
    runs: Iterable[TrialRun], configs: Mapping[TrialRun, GanConfig], limits: Mapping[StructureConfig, int]
) -> list[Group]:
    """Groups of untrained runs of equal structure, in the order in which the first run of each came. In a group, runs
    of equal `discriminator_steps` stand together, so that the lanes of one call of a kernel mostly step together.
    limits: as `CohortArrays` has them.
    """
    members: dict[StructureConfig, list[TrialRun]] = {}
    for run in runs:
        members.setdefault(configs[run].structure, []).append(run)
    groups = []
    for structure, part in members.items():
        part.sort(key=lambda run: configs[run].lane.discriminator_steps)
        most = limits.get(structure, len(part))
        groups += [Group(part[start : start + most]) for start in range(0, len(part), most)]
    return groups


def _reports(groups: Iterable[Group]) -> list[LaneReport]:
    """Those of the runs of groups that reached a rung, one after another."""
    return [report for group in groups for report in group.reports or ()]


def _halves(group: Group) -> list[Group]:
    half = (len(group.runs) + 1) // 2
    return [Group(group.runs[part], group.places[part]) for part in (slice(half), slice(half, None))]


def _dead(death: Death, images: int) -> LaneReport:
    """The report of a lane that cannot be trained even alone."""
    return LaneReport(images, math.nan, math.nan, FidelityReport({}, "", ""), {}, (), death, 0.0, "")
