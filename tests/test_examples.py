"""What the README and the examples say runs, at a tiny size where the size is not the point."""

import gzip
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from results.table import ResultsTable
from sweep.run import run_sweep
from sweep.spec import SweepSpec

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
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
        for part, chosen in (("train", slice(0, 300)), ("t10k", slice(300, 500))):
            write_idx(raw / f"{part}-images-idx3-ubyte.gz", large[chosen])
            write_idx(raw / f"{part}-labels-idx1-ubyte.gz", labels[chosen])
    return root


def test_there_are_examples():
    assert {path.stem for path in EXAMPLES} >= {"mnist_mlp", "gaussian", "fashion_mlp"}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_each_example_runs_to_its_end(path, data_root, tmp_path):
    assignments = ["trials=3", "ladder.rungs_images=[128, 256]", f"data_root='{data_root}'", "lanes_per_cohort=3"]
    spec = SweepSpec.from_yaml(path, assignments)
    table = run_sweep(spec, tmp_path / "run", local=True)
    assert set(table.trials["trial"]) == {0, 1, 2}
    assert table.baseline() is not None
    assert set(table.trials["outcome"]) <= {"completed", "pruned"}
    assert (tmp_path / "run" / "best.png").read_bytes().startswith(b"\x89PNG")


def test_the_mnist_example_is_the_sweep_that_the_readme_describes():
    spec = SweepSpec.from_yaml(ROOT / "examples" / "mnist_mlp.yaml")
    assert spec.trials == 24
    assert spec.space.ranges["structure.generator_width"].choices == (64, 128, 256)
    assert spec.ladder.rungs_images[-1] == 345_600


def test_the_spec_that_the_readme_shows_is_the_example():
    block = next(b for b in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL) if b.startswith("name: mnist"))
    from search_spaces.space import parse_yaml

    shown = SweepSpec.from_mapping(parse_yaml(block, "README"))
    assert shown.differences(SweepSpec.from_yaml(ROOT / "examples" / "mnist_mlp.yaml")) == []


def test_the_python_examples_of_the_readme_run(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 2
    for number, block in enumerate(blocks):
        assert len([line for line in block.splitlines() if line.strip()]) <= 12
        done = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"block {number}: {done.stderr}"
    assert len(ResultsTable.load(tmp_path / "runs" / "try").trials) == 8
