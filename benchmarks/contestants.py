"""The contestants of `benchmarks.lanes`: what is trained, by whom, and how fast a window of it goes.

L lanes; a lane-step is one update of D and one of G of one configuration (k = 1).
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.own_modules import DcganDiscriminator, DcganGenerator, MlpDiscriminator, MlpGenerator
from benchmarks.stock import StockGan
from benchmarks.stock_networks import CONVOLUTIONAL
from gan_core.config.conditions import Execution, Precision
from gan_core.config.gan import GanConfig
from gan_core.data.dataset import Dataset, load_dataset
from gan_core.execution.pace import WHOLE_ARRAY, Pace, is_out_of_memory, largest_call
from gan_core.execution.programs import ProgramMaker
from gan_core.training.draws import BLOCK_STEPS
from gan_core.training.lane_array import LaneArray
from search_spaces.space import SearchSpace

GPU_LANES = (1, 8, 32, 128, 512, 2048)  # tried in turn
# FLOPs of a lane-step up to which an array on the CPU has so many lanes, and calls of so many are tried. Where a step
# takes long, lanes gain little by sharing a call, and as much with a few as with many.
CPU_LANES = ((20e6, 32, 32), (100e6, 8, 8), (400e6, 4, 4), (math.inf, 2, 2))
TRIAL_SECONDS, WARM_SECONDS = 0.3, 0.1
PEAK_SIDE = {"cpu": 1024, "cuda": 4096}
RANDOM_IMAGES = 4096  # without files: a batch is drawn from so many


def _widths(width: int, **others: int | str) -> dict[str, Any]:
    both = {"generator_width": width, "discriminator_width": width, "batch_size": 64, **others}
    return {f"structure.{name}": value for name, value in both.items()}


# Name -> the space whose published settings it has, and what differs from them.
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "gaussian": ("gaussian", _widths(32, latent_size=8, discriminator_input="sample")),
    "gaussian_published": ("gaussian", {}),
    "mlp64": ("mlp", _widths(64)),
    "mlp256": ("mlp", _widths(256)),
    **{f"dcgan{width}": ("dcgan", _widths(width, image_size_pixels=28)) for width in (16, 32, 64)},
    **{
        family: (family, {"structure.batch_size": 64})
        for family in ("mlp_bn", "mlp_minimax", "mlp_dropout", "cgan", "infogan")
    },
    "own_mlp256": ("mlp", _widths(256)),
    "own_dcgan16": ("dcgan", _widths(16, image_size_pixels=28)),
}
# Of these our arrays train a person's own classes; stock trains its own networks of the same shapes.
OWN: dict[str, tuple[type[nn.Module], type[nn.Module]]] = {
    "own_mlp256": (MlpGenerator, MlpDiscriminator),
    "own_dcgan16": (DcganGenerator, DcganDiscriminator),
}


@dataclass
class Racer:
    """One contestant in one process: `advance(n)` makes n steps of `lanes` lane-steps; `note` is for the table. block:
    steps that are made at once, at least.
    """

    lanes: int
    advance: Callable[[int], object]
    note: str = ""
    block: int = 1


@dataclass(frozen=True)
class Setting:
    """What all contestants have in common: a device and a precision; execution: of our arrays
    (`gan_core.execution.programs`).
    """

    device: str
    precision: Precision = "float32"
    execution: Execution = "compiled"


def config_of(model: str, place: int = 0) -> GanConfig:
    """A model's configuration. place: of a lane or process; no two have the same seed, rates or betas, so that no
    contestant can make use of what lanes share.
    """
    space, changes = MODELS[model]
    base = GanConfig.unflatten({**SearchSpace.load(space).base.flatten(), **changes})
    share = 1 / (1 + place / 8)
    lane = replace(
        base.lane,
        generator_lr=base.lane.generator_lr * share,
        discriminator_lr=base.lane.discriminator_lr * share,
        beta1=base.lane.beta1 * share,
    )
    return replace(base, lane=lane, seed=place)


def dataset_of(config: GanConfig, data_root: Path | None) -> Dataset:
    """The configuration's data set; without a folder, MNIST is uniform noise of its shape with labels 0..9. Raises
    InputError where the folder lacks its files.
    """
    s = config.structure
    if s.dataset != "mnist" or data_root is not None:
        return load_dataset(s.dataset, data_root, image_size_pixels=s.image_size_pixels)
    side = s.image_size_pixels or 28
    noise = torch.rand(RANDOM_IMAGES, 1, side, side, generator=torch.Generator().manual_seed(0)).mul_(2).sub_(1)
    labels = torch.arange(RANDOM_IMAGES) % 10
    return Dataset(s.dataset, noise, labels, noise[:64], labels[:64], 10, "noise")


def lane_step_flops(config: GanConfig, dataset: Dataset) -> int:
    """Floating-point operations of the products and convolutions of one stock step."""
    gan = StockGan(config, dataset)
    with FlopCounterMode(display=False) as counter:
        gan.step()
    return counter.get_total_flops()


@dataclass(frozen=True)
class Model:
    """What contestants train: a name in MODELS, its data, and the FLOPs of a lane-step."""

    name: str
    dataset: Dataset
    flops: int

    @classmethod
    def load(cls, name: str, data_root: Path | None) -> "Model":
        """Raises InputError as `dataset_of` does."""
        config = config_of(name)
        dataset = dataset_of(config, data_root)
        return cls(name, dataset, lane_step_flops(config, dataset))

    @property
    def lanes(self) -> tuple[int, int]:
        """Lanes of our array on the CPU, and the largest call that is tried."""
        lanes, most = next((lanes, most) for up_to, lanes, most in CPU_LANES if self.flops <= up_to)
        most = 1 if self.name in OWN else min(most, largest_call(config_of(self.name).structure))
        return (1 if most == 1 else lanes), most


def synchronise(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def rate(racer: Racer, seconds: float, device: str) -> float:
    """Lane-steps a second over a window that ends with the first step after so many seconds."""
    done, block, begun = 0, racer.block, time.perf_counter()
    while (elapsed := time.perf_counter() - begun) < seconds:
        racer.advance(block)
        synchronise(device)
        done += block
        each = (time.perf_counter() - begun) / done
        block = max(racer.block, min(2 * block, int(0.05 / each), int((seconds - elapsed) / each)))
    return racer.lanes * done / elapsed


def array_racer(model: Model, setting: Setting, lanes: int, first: int) -> Racer:
    """Our array, which has measured how many lanes to call a kernel for; as in a sweep it trains whole blocks, in which
    what a lane works on stays in a core's caches. Of one lane it stays there anyway, and a window may end between two
    steps. first: the place of its first lane, so that no two processes train the same.
    """
    configs = [config_of(model.name, first + i) for i in range(lanes)]
    pace = Pace(WHOLE_ARRAY) if setting.device == "cuda" else Pace(largest=model.lanes[1])
    programs = ProgramMaker(setting.execution, pace)
    same = {"device": setting.device, "precision": setting.precision, "networks": OWN.get(model.name)}
    array = LaneArray(configs, model.dataset, programs=programs, **same)
    batch = array.structure.batch_size

    def advance(steps: int) -> None:
        end = array.state.images_seen + steps * batch
        while array.state.images_seen < end:  # it stops where a lane may be dead; here all go on
            array.train_to(end)

    block = BLOCK_STEPS if lanes > 1 else 1
    advance(block if pace.size or lanes == 1 else BLOCK_STEPS)
    while lanes > 1 and (pace.size is None or pace.tries(lanes)):
        advance(BLOCK_STEPS)
    return Racer(lanes, advance, f"{lanes}/{array.lanes_per_call}", block)


def best_array(model: Model, setting: Setting, rank: int) -> Racer:
    """Our array: on the CPU of as many lanes as are tried in a call, which it then chooses by itself; on a GPU with the
    lanes that a short trial chose, none longer in a step than the trial being tried.
    """
    if setting.device == "cpu":
        lanes, _ = model.lanes
        return array_racer(model, setting, lanes, rank * lanes)
    best, best_rate = None, 0.0
    for lanes in GPU_LANES:
        try:
            racer = array_racer(model, setting, lanes, rank * lanes)
            rate(racer, WARM_SECONDS, setting.device)
            measured = rate(racer, TRIAL_SECONDS, setting.device)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            torch.cuda.empty_cache()
            break
        if measured > best_rate:
            best, best_rate = racer, measured
        if lanes / measured > TRIAL_SECONDS:
            break
    assert best is not None
    return best


def stock_racer(model: Model, setting: Setting, rank: int) -> Racer:
    """The stock trial; of a convolutional family in the layout that a short trial found to be the faster."""
    config, racers, autocast = config_of(model.name, rank), [], setting.precision == "bfloat16"
    for channels_last in (False, True) if config.structure.architecture in CONVOLUTIONAL else (False,):
        gan = StockGan(config, model.dataset, device=setting.device, autocast=autocast, channels_last=channels_last)
        racers.append(Racer(1, stepper(gan.step), "channels last" if channels_last else ""))
    if len(racers) == 1:
        return racers[0]
    for racer in racers:
        rate(racer, WARM_SECONDS, setting.device)
    return max(racers, key=lambda racer: rate(racer, TRIAL_SECONDS, setting.device))


def stepper(step: Callable[[], object]) -> Callable[[int], None]:
    def advance(steps: int) -> None:
        for _ in range(steps):
            step()

    return advance


def graph_racer(model: Model) -> Racer:
    """The stock step, recorded once as a CUDA graph and replayed; random numbers are drawn inside it."""
    gan = StockGan(config_of(model.name), model.dataset, device="cuda", capturable=True)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            gan.step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        gan.step()
    return Racer(1, stepper(graph.replay))


def peak_racer(device: str) -> Racer:
    """A float32 matrix product."""
    a, b, out = (torch.ones(PEAK_SIDE[device], PEAK_SIDE[device], device=device) for _ in range(3))
    return Racer(1, stepper(lambda: torch.mm(a, b, out=out)))


def contestant(name: str, model: Model, setting: Setting, rank: int) -> Racer:
    """A contestant by its name in the table, built and chosen. rank: of the process; each trains other lanes."""
    if name == "strong":
        return array_racer(model, setting, 1, rank)
    if name == "ours":
        return best_array(model, setting, rank)
    if name == "graph":
        return graph_racer(model)
    return stock_racer(model, setting, rank)
