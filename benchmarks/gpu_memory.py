"""What arrays take of a GPU's memory, against what was estimated before: a part of `benchmarks.gpu`.

    python -m benchmarks.gpu_memory --json FILE [--models NAME,...] [--lanes L] [--device cuda|cpu]

Estimated as `gan-sweep run --dry-run` does it, for the CPU, and for one call of all lanes; both with the data, which
lie on the device. Used: the most that torch had allocated on the device while an array trained a block and drew a
rung's samples; reserved: what it took from the device for that. On the CPU it is what
`gan_core.workshop.memory.Allocations` counts.
"""

import argparse
import gc
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from benchmarks.contestants import config_of, dataset_of
from gan_core.config.dataset_name import parse_dataset_name
from gan_core.config.gan import GanConfig
from gan_core.data.dataset import Dataset
from gan_core.execution.pace import largest_call
from gan_core.fidelity.scorers import IMAGE_SAMPLES
from gan_core.fidelity.value_scorers import PLANE_SAMPLES, VALUE_SAMPLES
from gan_core.lanes.axis import lane_arithmetic
from gan_core.training.draws import BLOCK_STEPS
from gan_core.training.lane_array import LaneArray
from gan_core.workshop.memory import Allocations, lane_memory


@dataclass(frozen=True)
class Memory:
    """Bytes that an array of so many lanes takes, as estimated and as it was."""

    lanes: int
    dry_run_bytes: int
    one_call_bytes: int
    used_bytes: int
    reserved_bytes: int


def samples_of(config: GanConfig) -> int:
    """How many a lane draws at a rung where a spec does not say."""
    return (IMAGE_SAMPLES, VALUE_SAMPLES, PLANE_SAMPLES)[parse_dataset_name(config.structure.dataset).value_size]


def compared(model: str, lanes: int, device: str) -> Memory:
    """One model's estimates, and what was used. Raises what `LaneArray` raises."""
    config = config_of(model)
    dataset, samples = dataset_of(config, None), samples_of(config)
    data_bytes = dataset.train_samples.nbytes if device == "cuda" else 0
    compiled, replayed = (lane_memory(config, samples, execution) for execution in ("compiled", "replayed"))
    configs = [config_of(model, place) for place in range(lanes)]
    used, reserved = used_bytes(configs, dataset, samples, device)
    return Memory(
        lanes=lanes,
        dry_run_bytes=data_bytes + compiled.cohort_bytes(lanes, largest_call(config.structure)),
        one_call_bytes=data_bytes + replayed.array_bytes(lanes, [lanes]),
        used_bytes=used,
        reserved_bytes=reserved,
    )


def used_bytes(configs: list[GanConfig], dataset: Dataset, samples: int, device: str) -> tuple[int, int]:
    """The most that was allocated, and reserved, while an array of these lanes trained and drew samples."""
    if device == "cpu":
        with lane_arithmetic(), Allocations() as allocations:
            work(configs, dataset, samples, device)
        return allocations.most_bytes, allocations.most_bytes
    gc.collect()  # arrays before this one may lie in rings of references
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    allocated, reserved = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    work(configs, dataset, samples, device)
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - allocated, torch.cuda.max_memory_reserved() - reserved


def work(configs: list[GanConfig], dataset: Dataset, samples: int, device: str) -> None:
    """What a cohort does up to its first rung."""
    # On a CPU what is chosen by itself would be measured first, in arrays of its own, whose memory would be counted.
    array = LaneArray(configs, dataset, device=device, execution="compiled")
    array.train_to(BLOCK_STEPS * array.structure.batch_size)
    array.sample(samples, seed=0)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_memory", description=__doc__)
    parser.add_argument("--json", type=Path, required=True, help="a file for the figures, written after every model")
    parser.add_argument("--models", default="gaussian,mlp64,dcgan16")
    parser.add_argument("--lanes", type=int, default=8)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    given = parser.parse_args(arguments)
    found = {}
    for model in given.models.split(","):
        found[model] = asdict(compared(model, given.lanes, given.device))
        given.json.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
