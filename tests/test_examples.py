"""The examples run to their end, at a tiny size, and say what they are."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from gan_core.config.dataset_name import ON_DISK_KINDS
from gan_core.config.gan import HYPERPARAMETERS
from sweep.run import run_sweep
from sweep.spec.sweep_spec import SweepSpec

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
OF_GANS = [path for path in EXAMPLES if path.stem != "captioning"]  # which `test_own_training` runs
README = (ROOT / "README.md").read_text()


def write_idx(path: Path, array: np.ndarray) -> None:
    """A gzipped IDX file of unsigned bytes."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    path.write_bytes(gzip.compress(header + array.astype(np.uint8).tobytes(), 1))


@pytest.fixture(scope="session")
def data_root(tmp_path_factory) -> Path:
    """Folders as torchvision lays them out, with scikit-learn's digits enlarged to 28x28 in them."""
    root = tmp_path_factory.mktemp("data")
    images, labels = load_digits(return_X_y=True)
    labels = np.asarray(labels)
    large = np.pad((np.asarray(images).reshape(-1, 8, 8) * 15.9).repeat(3, 1).repeat(3, 2), ((0, 0), (2, 2), (2, 2)))
    for name in ("MNIST", "FashionMNIST"):
        raw = root / name / "raw"
        raw.mkdir(parents=True)
        for part, chosen in (("train", slice(0, 150)), ("t10k", slice(150, 270))):
            write_idx(raw / f"{part}-images-idx3-ubyte.gz", large[chosen])
            write_idx(raw / f"{part}-labels-idx1-ubyte.gz", labels[chosen])
    return root


def test_there_are_examples():
    published = {"gaussian", "mnist_mlp", "mlp_bn", "mlp_minimax", "mlp_dropout", "cgan", "dcgan", "infogan"}
    assert {path.stem for path in EXAMPLES} == published | {"fashion_mlp", "polygons", "ring", "own_gan", "captioning"}


def test_the_examples_are_of_every_family_and_each_says_what_it_is_and_how_it_runs():
    specs = {path: SweepSpec.from_yaml(path) for path in EXAMPLES}
    families = {spec.space.base.structure.architecture for spec in specs.values()}
    assert families == set(HYPERPARAMETERS["structure.architecture"].choices)
    for path, spec in specs.items():
        lines = path.read_text().splitlines()
        assert lines[0].startswith("# ")
        on_disk = spec.space.base.structure.dataset in ON_DISK_KINDS
        command = f"# gan-sweep run examples/{path.name} --data-root DIR"
        assert not on_disk or path.stem == "fashion_mlp" or lines[1].startswith(command)


@pytest.mark.parametrize("path", OF_GANS, ids=lambda path: path.stem)
def test_each_example_runs_to_its_end(path, data_root, quick, tmp_path):
    width = "{}.width" if path.stem == "own_gan" else "structure.{}_width"
    sizes = [f"{width.format(network)}=8" for network in ("generator", "discriminator")]
    budget = ["trials=3", "ladder.rungs_images=[128, 256]", "lanes_per_cohort=3", "scoring.samples=60"]
    spec = SweepSpec.from_yaml(path, [*sizes, *budget, f"data_root='{data_root}'"])
    table = run_sweep(spec, tmp_path / "run", local=True)
    assert set(table.trials["trial"]) == {0, 1, 2}
    baseline = table.baseline()
    assert baseline is not None
    assert set(table.trials["outcome"]) <= {"completed", "pruned"}
    assert (tmp_path / "run" / "best.png").read_bytes().startswith(b"\x89PNG")
    own = FAMILY_SCORES.get(path.stem, [])
    assert np.isfinite(baseline[[f"fidelity.{name}" for name in own]].astype(float)).all()


FAMILY_SCORES = {
    "cgan": ["class_accuracy", *(f"class_accuracy_{label}" for label in range(10))],
    "infogan": ["code_agreement"],
    "gaussian": ["wasserstein", "mean_error", "deviation_error"],
    "ring": ["energy", "modes_covered", "high_quality_share"],
    "polygons": ["triangle_precision", "triangle_recall", "triangle_distance"],
}


def test_the_mnist_example_is_the_sweep_that_the_readme_describes():
    spec = SweepSpec.from_yaml(ROOT / "examples" / "mnist_mlp.yaml")
    assert spec.trials == 24
    assert spec.space.ranges["structure.generator_width"].choices == (64, 128, 256)
    assert spec.ladder.rungs_images[-1] == 345_600
