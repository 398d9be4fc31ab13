"""Ray's own GAN example, `ray.tune.examples.pbt_dcgan_mnist`, and ours on its network: images a second of training.

    python -m benchmarks.pbt_dcgan --data-root DIR [--seconds 30]

*shipped* is the example's class trainable, started by its own main with `--smoke-test` (8 trials of 10 iterations of 5
batches) and not changed: its function trainable cannot run, for it asks for `checkpoint_interval`, which its main does
not give. Its home folder is a temporary one that holds our MNIST files, and in place of the classifier that it
downloads an untrained one of the same layers: its inception scores mean nothing, and take as long. Its rate is that of
its training iterations alone, by its own log: without set-up, checkpoints and Tune, which the second rate includes.

*stock* is `benchmarks.stock` on the same network, one process a core, the faster of both memory layouts; *ours* is the
core with the example's 8 lanes spread over the cores. Neither takes inception scores. They take turns for some rounds,
and the best round of each counts; beside it stands how much of its cores it had. Below 0.95 others used the machine,
and the ratios say little; the example is run once, before, and its share is not known.
"""

import argparse
import gzip
import importlib.util
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pandas as pd

from gan_core.config.gan import GanConfig
from gan_core.config.input_error import InputError

EXAMPLE = "ray.tune.examples.pbt_dcgan_mnist.pbt_dcgan_mnist_trainable"
EXAMPLE_SETTINGS = {
    "RAY_ADDRESS": "local",  # its bare ray.init() joins whatever cluster the machine last had
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # this node is 127.0.0.1
    "RAY_USAGE_STATS_ENABLED": "0",
}
EXAMPLE_SECONDS = 900.0  # the longest that it may take
EXAMPLE_TRIALS = 8
IMAGES_AN_ITERATION = 5 * 64
ROUNDS = 3
BATCHES_BETWEEN_LOOKS = 2  # at the clock
STARTING_SECONDS = 120.0  # the longest that processes wait for each other

NETWORK = {
    "structure.architecture": "dcgan",
    "structure.dataset": "mnist",
    "structure.image_size_pixels": 32,
    "structure.generator_width": 32,
    "structure.discriminator_width": 32,
    "structure.latent_size": 100,
    "structure.batch_size": 64,
    "lane.beta1": 0.5,
}
DIFFERENCES = """\
The same layers: 100 to 128x4x4, 64x8x8, 32x16x16, 1x32x32 in G, back by 32, 64 and 128 in D, 4x4 kernels, batch norm
but in D's first layer, batch 64, Adam with beta1 0.5. What differs: ours has biases where no batch norm follows (34 of
its 536,418 weights), draws fresh latents for G's update where the example goes on with D's fakes (one more pass through
G), and has no inception score, no PIL transforms, and no loader processes, which the example starts anew for each
iteration.
"""


@dataclass(frozen=True, order=True)
class Rate:
    """images_a_second over the whole machine; share: processor time over wall time of its processes, at most 1."""

    images_a_second: float
    share: float = float("nan")


@dataclass(frozen=True)
class Rates:
    """shipped_command: of the example's whole command, Enter to end. load: of the machine before anything ran."""

    shipped: Rate
    shipped_command: Rate
    stock: Rate
    ours: Rate
    load: float

    def lines(self) -> list[str]:
        """As a table."""
        sides = {
            "shipped, its training iterations": self.shipped,
            "shipped, its whole command": self.shipped_command,
            "stock, one process a core": self.stock,
            f"ours, {EXAMPLE_TRIALS} lanes": self.ours,
        }
        lines = [f"{'':34} images/s   ours is   share of its cores (load {self.load:.1f} at the start)"]
        for name, side in sides.items():
            ratio = self.ours.images_a_second / side.images_a_second
            lines.append(f"{name:34} {side.images_a_second:8.0f} {ratio:8.2f}x   {side.share:.2f}")
        return lines


def make_home(home: Path, data_root: Path) -> None:
    """Fills a home folder with what the example would download: MNIST's four files, and a classifier."""
    import torch
    from ray.tune.examples.pbt_dcgan_mnist.common import Net

    (raw := home / "data/MNIST/raw").mkdir(parents=True)
    packed = sorted((data_root / "MNIST/raw").glob("*-ubyte.gz"))
    if len(packed) != 4:
        raise InputError(f"--data-root must hold the four files MNIST/raw/*.gz, got {len(packed)} in {data_root}")
    for file in packed:
        (raw / file.stem).write_bytes(gzip.decompress(file.read_bytes()))
    (models := home / ".ray/models").mkdir(parents=True)
    torch.save(Net().state_dict(), models / "mnist_cnn.pt")


def run_shipped(data_root: Path, cores: int) -> tuple[Rate, Rate]:
    """The example as it is, in a home of its own: images a second of its iterations, and of the whole command."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        make_home(home, data_root)
        environment = {**os.environ, **EXAMPLE_SETTINGS, "HOME": folder, "RAY_TMPDIR": folder}
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", EXAMPLE, "--smoke-test"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=EXAMPLE_SECONDS,
        )
        seconds = time.monotonic() - started
        if done.returncode:
            raise RuntimeError(f"the example failed:\n{done.stderr[-2000:]}")
        logs = [pd.read_csv(path) for path in home.glob("ray_results/pbt_dcgan_mnist/*/progress.csv")]
    iterations = pd.concat(logs)["time_this_iter_s"].tolist()
    images = IMAGES_AN_ITERATION * len(iterations)
    return Rate(cores * IMAGES_AN_ITERATION / statistics.mean(iterations)), Rate(images / seconds)


def stock_trainer(data_root: str, lanes: int, channels_last: bool) -> Callable[[int], int]:
    """Trains the stock GAN for so many batches; answers the images that were shown."""
    from benchmarks.stock import StockGan
    from gan_core.data.dataset import load_dataset

    gan = StockGan(
        GanConfig.unflatten(NETWORK),
        load_dataset("mnist", Path(data_root), image_size_pixels=32),
        channels_last=channels_last,
    )

    def train(batches: int) -> int:
        gan.train_to(gan.images_seen + 64 * batches)
        return 64 * batches

    return train


def our_trainer(data_root: str, lanes: int, channels_last: bool) -> Callable[[int], int]:
    """Trains an array of so many lanes for so many batches; answers the images that were shown to all of them."""
    from gan_core.data.dataset import load_dataset
    from gan_core.training.lane_array import LaneArray

    rates = (1e-4, 2e-4, 5e-4)  # the example's
    configs = [
        GanConfig.unflatten({**NETWORK, "lane.generator_lr": rates[i % 3], "lane.discriminator_lr": rates[i // 3 % 3]})
        for i in range(lanes)
    ]
    array = LaneArray(configs, load_dataset("mnist", Path(data_root), image_size_pixels=32))

    def train(batches: int) -> int:
        array.train_to(array.state.images_seen + 64 * batches)
        return 64 * batches * lanes

    return train


def worker(make: Callable[..., Any], given: tuple[Any, ...], seconds: float, together: Barrier, answers: Any) -> None:
    """One process: makes its trainer, warms up, waits for the others, and puts its rate into answers."""
    from gan_core.lanes.axis import lane_arithmetic

    with lane_arithmetic():
        train = make(*given)
        train(2 * BATCHES_BETWEEN_LOOKS)
        together.wait(STARTING_SECONDS)
        started, used, images = time.monotonic(), time.process_time(), 0
        while time.monotonic() - started < seconds:
            images += train(BATCHES_BETWEEN_LOOKS)
        wall = time.monotonic() - started
        answers.put((images / wall, (time.process_time() - used) / wall))
        together.wait(STARTING_SECONDS)  # the others keep their neighbours to the end


def rate(make: Callable[..., Any], given: list[tuple[Any, ...]], seconds: float) -> Rate:
    """The rate of processes that train at the same time, one for each item of given."""
    context = multiprocessing.get_context("spawn")
    together, answers = context.Barrier(len(given)), context.SimpleQueue()
    processes = [context.Process(target=worker, args=(make, each, seconds, together, answers)) for each in given]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        if process.exitcode:
            raise RuntimeError(f"a process that measured {make.__name__} ended with exit code {process.exitcode}")
    rates, shares = zip(*(answers.get() for _ in given), strict=True)
    return Rate(sum(rates), statistics.mean(shares))


def measure(data_root: str, cores: int, seconds: float) -> Rates:
    """All rates, one after another. Raises InputError where the example cannot run here."""
    if importlib.util.find_spec("matplotlib") is None:
        raise InputError("Ray's example imports matplotlib, which is not installed; pip install matplotlib")
    load = os.getloadavg()[0]
    shipped, command = run_shipped(Path(data_root), cores)
    lanes = [EXAMPLE_TRIALS // cores + (core < EXAMPLE_TRIALS % cores) for core in range(min(cores, EXAMPLE_TRIALS))]
    stock, ours = [], []
    for _ in range(ROUNDS):
        stock += [rate(stock_trainer, [(data_root, 1, layout)] * cores, seconds / ROUNDS) for layout in (False, True)]
        ours.append(rate(our_trainer, [(data_root, count, False) for count in lanes], seconds / ROUNDS))
    return Rates(shipped, command, max(stock), max(ours), load)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pbt_dcgan", description=__doc__)
    parser.add_argument("--data-root", required=True, help="the folder that holds MNIST/raw/*.gz")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each side, over all rounds")
    given = parser.parse_args()
    try:
        rates = measure(given.data_root, len(os.sched_getaffinity(0)), given.seconds)
    except InputError as error:
        sys.exit(str(error))
    print("\n".join(rates.lines()), DIFFERENCES, sep="\n\n", end="")


if __name__ == "__main__":
    main()
