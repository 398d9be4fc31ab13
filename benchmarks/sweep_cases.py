"""The sweeps that are timed, each as the one SweepSpec that both sides read. Loads without torch or Ray."""

from dataclasses import dataclass
from typing import Any

from gan_core.config.input_error import InputError, nearest
from search_spaces.space import SearchSpace
from sweep.spec.sweep_spec import SweepSpec

KEEP_FRACTION = 1 / 3  # where there is pruning, on both sides
SMALL_TRIALS, SMALL_IMAGES, FEWEST_TRIALS = 4, 8, 4  # divisors of --small, and how many trials remain at least

GAUSSIAN = {
    "structure.discriminator_input": "sample",
    "structure.generator_width": 32,
    "structure.discriminator_width": 32,
    "structure.latent_size": 8,
    "structure.batch_size": 64,
}
DCGAN = {
    "structure.image_size_pixels": 28,
    "structure.generator_width": 32,
    "structure.discriminator_width": 32,
    "structure.discriminator_norm": "published",
}
BOTH_WIDTHS = ("structure.generator_width", "structure.discriminator_width")
DCGAN_RANGES = dict.fromkeys(BOTH_WIDTHS, {"choices": [16, 32]})
MLP_RANGES = dict.fromkeys(BOTH_WIDTHS, {"choices": [64, 128, 256]})


@dataclass(frozen=True)
class Case:
    """One sweep. space: of the spec; rungs_images: two budgets, in real images shown to D; on_disk: whether its data
    set must be given with --data-root.
    """

    about: str
    space: str | dict[str, Any]
    trials: int
    rungs_images: tuple[int, int]
    on_disk: bool = False


CASES: dict[str, Case] = {
    "gaussian": Case(
        "widths 32, latent 8, D on samples, k 1 to 5, up to 2,000 D steps",
        {"extends": "gaussian", "base": GAUSSIAN},
        256,
        (64_000, 128_000),
    ),
    "digits": Case("8x8 digits, up to 2,000 D steps", "digits", 64, (32_000, 128_000)),
    "mnist": Case(
        "the mlp space, widths 64 to 256, up to 900 D steps",
        {"extends": "mlp", "ranges": MLP_RANGES},
        24,
        (19_200, 57_600),
        on_disk=True,
    ),
    "dcgan": Case(
        "28x28, widths 16 and 32, up to 150 D steps",
        {"extends": "dcgan", "base": DCGAN, "ranges": DCGAN_RANGES},
        12,
        (3_200, 9_600),
        on_disk=True,
    ),
}


def case_spec(
    name: str,
    data_root: str | None = None,
    *,
    pruning: bool = False,
    small: bool = False,
    seed: int = 0,
    precision: str = "float32",
    execution: str = "compiled",
) -> SweepSpec:
    """The sweep of a case. small: a quarter of the trials and an eighth of the images. seed: of the sampler. precision,
    execution: as a spec has them. Both sides keep one average a trial, and so make as many scores.

    Raises InputError for an unknown case, and where its data set lies on disk and data_root is None.
    """
    if name not in CASES:
        raise InputError(f"unknown case {name!r}; {nearest(name, CASES)}")
    case = CASES[name]
    if case.on_disk and data_root is None:
        raise InputError(f"case {name!r} needs MNIST on disk, got no folder; give --data-root DIR")
    trials = max(FEWEST_TRIALS, case.trials // SMALL_TRIALS) if small else case.trials
    rungs = [images // SMALL_IMAGES for images in case.rungs_images] if small else list(case.rungs_images)
    return SweepSpec.from_mapping(
        {
            "name": name,
            "space": SearchSpace.load(case.space).drawing_averages().plain(),
            "trials": trials,
            "ladder": {"rungs_images": rungs, "keep_fraction": KEEP_FRACTION if pruning else 1},
            "seed": seed,
            "precision": precision,
            "execution": execution,
            "data_root": data_root,
            "resources": {"gpus_per_cohort": 0},
        }
    )
