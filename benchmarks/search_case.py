"""The sweep of `benchmarks.search`, which both sides read. It loads neither torch nor Ray."""

from sweep.spec.sweep_spec import SweepSpec

RUNGS_IMAGES = [38_400, 115_200, 345_600]  # as in examples/mnist_mlp.yaml, which has the same data and architecture


def search_spec(data_root: str, seed: int, hours: float, precision: str = "float32") -> SweepSpec:
    """The sweep that both sides read. Its budget is for gan-sweep alone."""
    return SweepSpec.from_mapping(
        {
            "name": "search",
            "space": "mlp",
            "trials": 100_000,
            "ladder": {"rungs_images": RUNGS_IMAGES, "keep_fraction": 1 / 3},
            "lanes_per_cohort": 4,
            "seed": seed,
            "precision": precision,
            "data_root": data_root,
            "budget": {"hours": hours, "when_spent": "cut"},
            "keep_checkpoints": 1,
            "resources": {"gpus_per_cohort": 0},
        }
    )
