"""What the README and the examples say runs, at a tiny size where the size is not the point."""

import gzip
import re
import struct
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

import gan_core.data.dataset
import gan_core.data.polygons
import gan_core.fidelity.features.classifier
from gan_core.config.conditions import Conditions, ScoringConfig
from gan_core.config.dataset_name import ON_DISK_KINDS, parse_dataset_name
from gan_core.config.gan import HYPERPARAMETERS, GanConfig
from gan_core.config.health import HealthConfig
from gan_core.config.reports import minimised
from gan_core.workshop.workshop import Workshop
from results.table import ResultsTable
from search_spaces.space import parse_yaml, shipped_spaces
from sweep.ladder.ladder import RULES
from sweep.ladder.population import PopulationConfig
from sweep.run import run_sweep
from sweep.spec.objectives import objectives
from sweep.spec.sampler import OPTIONS
from sweep.spec.sweep_spec import SweepSpec
from sweep.tracking.trackers import TRACKERS

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
        for part, chosen in (("train", slice(0, 150)), ("t10k", slice(150, 270))):
            write_idx(raw / f"{part}-images-idx3-ubyte.gz", large[chosen])
            write_idx(raw / f"{part}-labels-idx1-ubyte.gz", labels[chosen])
    return root


def test_there_are_examples():
    published = {"gaussian", "mnist_mlp", "mlp_bn", "mlp_minimax", "mlp_dropout", "cgan", "dcgan", "infogan"}
    assert {path.stem for path in EXAMPLES} == published | {"fashion_mlp", "polygons", "ring"}


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


@pytest.fixture
def quick(monkeypatch) -> None:
    """80,000 triangles take seconds to draw, and long to score against; a classifier takes seconds to train."""
    monkeypatch.setattr(gan_core.fidelity.features.classifier, "STEPS", 20)
    monkeypatch.setattr(gan_core.fidelity.features.classifier, "RECIPE", "quick")
    monkeypatch.setattr(gan_core.data.polygons, "POLYGONS", 1400)
    monkeypatch.setattr(gan_core.data.polygons, "RECIPE", "few")
    monkeypatch.setattr(gan_core.data.dataset, "POLYGONS_TRAIN_IMAGES", 1000)
    monkeypatch.setattr(gan_core.data.dataset, "POLYGONS_HELD_OUT_IMAGES", 300)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_each_example_runs_to_its_end(path, data_root, quick, tmp_path):
    sizes = [f"structure.{network}_width=8" for network in ("generator", "discriminator")]
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


@pytest.mark.parametrize("dataset", ["digits", "polygons", "gaussian", "mixture:0,1;4,1", "ring", "grid"])
def test_every_objective_of_a_data_set_is_among_its_scores(dataset, quick):
    """And the sweep's own: whatever may be minimised is a number of every trial."""
    conditions = Conditions(dataset=dataset, scoring=ScoringConfig(samples=50))
    values = parse_dataset_name(dataset).is_values
    names = {"structure.dataset": dataset, "structure.architecture": "gaussian" if values else "mlp"}
    small = {"structure.generator_width": 8, "structure.discriminator_width": 8, "structure.latent_size": 2}
    array = Workshop(conditions, "cpu").build([GanConfig.unflatten({**names, **small})])
    found = array.train_to(64)[0].fidelity.values
    assert [name for name in objectives(parse_dataset_name(dataset)) if not np.isfinite(minimised(found, name))] == []


def test_the_mnist_example_is_the_sweep_that_the_readme_describes():
    spec = SweepSpec.from_yaml(ROOT / "examples" / "mnist_mlp.yaml")
    assert spec.trials == 24
    assert spec.space.ranges["structure.generator_width"].choices == (64, 128, 256)
    assert spec.ladder.rungs_images[-1] == 345_600


def test_the_spec_that_the_readme_shows_is_the_example():
    block = next(b for b in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL) if b.startswith("name: mnist"))
    shown = SweepSpec.from_mapping(parse_yaml(block, "README"))
    assert shown.differences(SweepSpec.from_yaml(ROOT / "examples" / "mnist_mlp.yaml")) == []


def test_the_readme_shows_every_key_of_a_spec():
    block = next(b for b in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL) if b.startswith("name: mnist"))
    shown, plain = parse_yaml(block, "README"), SweepSpec().plain()
    assert set(shown) == set(plain)
    for key in ("ladder", "confirm", "budget", "resources"):
        assert set(shown[key]) == set(plain[key])
    assert [name for name in OPTIONS if name not in block] == []
    assert [name for name in TRACKERS if name not in block] == []
    assert [rule for rule in RULES if rule not in block] == []
    assert [name for name in PopulationConfig.__dataclass_fields__ if f"{name}:" not in README] == []


def scores_of(dataset: str) -> set[str]:
    """The names of a data set's scores, from an untrained G and D."""
    values = parse_dataset_name(dataset).is_values
    names = {"structure.dataset": dataset, "structure.architecture": "gaussian" if values else "mlp"}
    small = {"structure.generator_width": 8, "structure.discriminator_width": 8, "structure.latent_size": 2}
    workshop = Workshop(Conditions(dataset=dataset, scoring=ScoringConfig(samples=50)), "cpu")
    report = workshop.build([GanConfig.unflatten({**names, **small})]).train_to(64)[0]
    return {f"fidelity.{name}" for name in report.fidelity.values} | {f"health.{name}" for name in report.health}


def test_the_names_that_the_readme_writes_are_names(quick):
    """Hyperparameters, keys of a spec, and columns of a table."""
    dotted = set(re.findall(r"(?<![\w./-])((?:lane|structure|scoring|health|fidelity)\.(?!py\b)[a-z_0-9]+)", README))
    known = {*HYPERPARAMETERS, *(f"scoring.{name}" for name in asdict(ScoringConfig()))}
    known |= {f"health.{name}" for name in asdict(HealthConfig())}
    known |= {name for dataset in ("digits", "gaussian", "ring", "polygons") for name in scores_of(dataset)}
    assert {name.partition(".")[0] for name in dotted} >= {"lane", "structure", "scoring", "fidelity"}
    assert dotted - known == set()


def test_the_families_that_the_readme_lists_are_the_shipped_spaces():
    table = README.partition("## Families")[2].partition("**Data**")[0]
    listed = [
        name
        for line in table.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`(\w+)`", line.split("|")[1])
    ]
    assert sorted(listed) == shipped_spaces()


def test_the_python_examples_of_the_readme_run(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 2
    for number, block in enumerate(blocks):
        assert len([line for line in block.splitlines() if line.strip()]) <= 12
        done = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"block {number}: {done.stderr}"
    assert len(ResultsTable.load(tmp_path / "runs" / "try").trials) == 8
