"""Exports and models that somebody edited: each field with each type of JSON is good, or one line says what is not."""

import datetime
import math
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from gan_core.config.conditions import Conditions, ScoringConfig
from gan_core.config.gan import GanConfig
from gan_core.config.input_error import InputError
from gan_core.config.schedule import Schedule
from gan_core.data.dataset import load_dataset
from gan_core.networks.architectures import build_networks
from gan_core.training.checkpoint import save_tensors
from gan_core.workshop.one_model import MOST_EVALUATIONS, ModelFolder, best_row, evaluation_points, read_metrics
from results.export import ExportedConfiguration
from results.store import ResultsError
from sweep.winner.final_training import conditions_of
from sweep.winner.sampling import of_model
from sweep.winner.verify import Comparison, _then

EXPORT: dict[str, Any] = {
    "configuration": {"structure.generator_width": 16, "structure.loss": "hinge", "lane.beta1": 0.5, "seed": 3},
    "schedule": [{"from_images": 64, "lane.beta1": 0.25}],
    "data": {"name": "digits", "digest": "abc", "root": "data", "skip_corrupt_images": True},
    "training": {"images": 512, "evaluate_at_images": [128, 256]},
    "score": {"objective": "fid", "fid": 2.5, "images_seen": 256, "protocol": "p"},
    "first_rung": {"fid": 3.5, "images_seen": 128},
    "precision": "float32",
    "execution": "eager",
    "scoring": {"features": "pca", "samples": 200},
    "health": {"grace_images": 50},
    "source": {
        **{"trial": 1, "device": "cpu, eager", "execution": "eager", "features_digest": "f", "confirmed": False},
        "at_first_rung": {"device": "cpu", "versions": {"torch": "1"}},
    },
    "versions": {"torch": "2"},
    "model": {"sample_shape": [1, 8, 8], "classes": 10, "made_by": [{"from_images": 0}]},
}
OTHERS = (
    *(None, True, -1, 0, 1.5, 10**30, math.nan, math.inf, "text", "", [], [[]], [1], {}, {"a": 1}, {1: 2}),
    *(datetime.date(2026, 1, 1), b"\xff"),
)
Place = tuple[str | int, ...]


def places(value: Any, at: Place = ()) -> Iterator[Place]:
    """Where something stands in a tree of mappings and lists."""
    if at:
        yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield from places(part, (*at, key))


def changed(tree: Any, at: Place, value: Any) -> Any:
    """The tree with something else at a place."""
    tree = deepcopy(tree)
    part = tree
    for key in at[:-1]:
        part = part[key]
    part[at[-1]] = value
    return tree


def read_whole(path: Path) -> None:
    """All that `train` and `verify` take from a file before anything is trained."""
    exported = ExportedConfiguration.read(path)
    config = GanConfig.unflatten(exported.configuration)
    conditions_of(config, exported, None, False)
    schedule = Schedule.read(config, exported.schedule)
    assert len(evaluation_points(exported.evaluate_at_images, exported.images)) <= MOST_EVALUATIONS + 4
    schedule.at(0)
    first = {name: float(value) for name, value in exported.first_rung.items()}
    Comparison(first, dict.fromkeys(first, 0.0)).verdict() if first else None
    f"{exported.score.get(exported.objective, 0.0):.4g}"
    _then(exported)


def draw(path: Path) -> None:
    """All that `sample` does before anything is written."""
    next(of_model(path.parent).parts(2, 0))


@pytest.fixture
def model(tmp_path) -> Path:
    """A model's folder, whose file is EXPORT; its weights fit."""
    folder = ModelFolder(tmp_path)
    network = build_networks(GanConfig.unflatten(EXPORT["configuration"]).structure, (1, 8, 8), 10).generator
    shapes = {**network.shapes(), **network.buffers()}
    save_tensors(folder.generator, {name: torch.ones(shape) for name, shape in shapes.items()})
    folder.metrics.write_text("images_seen,fidelity.fid\n128,3.5\n")
    folder.config.write_text(yaml.safe_dump(EXPORT))
    return folder.config


DRAWN = ("configuration", "schedule", "training", "score", "precision", "model")  # what a model is drawn from
CASES = [(read_whole, at) for at in places(EXPORT)] + [(draw, at) for at in places(EXPORT) if at[0] in DRAWN]


@pytest.mark.parametrize(("use", "at"), CASES, ids=lambda x: x.__name__ if callable(x) else ".".join(map(str, x)))
def test_a_field_of_another_type_is_good_or_one_line(model, use, at):
    use(model)
    said = []
    for value in OTHERS:
        model.write_text(yaml.safe_dump(changed(EXPORT, at, value)))
        try:
            use(model)
        except (InputError, ResultsError) as error:
            said.append(str(error))
    assert [text for text in said if "\n" in text or not text] == []


@pytest.mark.parametrize(
    ("text", "says"),
    [("a: " + "[" * 3000 + "]" * 3000, "nest"), ("when: 2026-13-45\n", "has no mapping 'configuration'")],
    ids=["deep", "no date"],
)
def test_a_file_that_is_no_tree_of_values_is_one_line(tmp_path, text, says):
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(ResultsError, match=says) as caught:
        ExportedConfiguration.read(tmp_path / "x.yaml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"score": {"fid": "good"}}, r"score.fid in .* must be a number, got 'good'"),
        ({"score": {"protocol": 3}}, r"score.protocol in .* must be text, got 3"),
        ({"data": {"digest": 12}}, r"data.digest in .* must be text, got 12"),
        ({"data": {"skip_corrupt_images": "yes"}}, r"data.skip_corrupt_images in .* must be true or false, got 'yes'"),
        ({"source": {"versions": 3}}, r"its versions too"),
        (
            {"training": {"images": 10**16, "evaluate_at_images": [1]}},
            r"training.images in .* from 1 to 10+, got",
        ),
    ],
    ids=str,
)
def test_what_is_wrong_is_named(model, change, says):
    model.write_text(yaml.safe_dump({**EXPORT, **change}))
    with pytest.raises(ResultsError, match=says):
        ExportedConfiguration.read(model)


@pytest.mark.parametrize(
    "text",
    [
        "images_seen,fidelity.fid\n128,good\n",
        "images_seen,fidelity.fid\n128\n",
        "images_seen,fidelity.fid\n128,2.5,3\n",
        "images_seen,fidelity.kid\n128,2.5\n",
        "fidelity.fid\n2.5\n",
        "images_seen,fidelity.fid\n1.5,2.5\n",
        "images_seen,fidelity.fid\nnan,2.5\n",
        "\xff",
    ],
)
def test_metrics_that_are_no_numbers_are_one_line(model, text):
    folder = ModelFolder(model.parent)
    folder.metrics.write_bytes(text.encode("latin-1"))
    if text == "\xff":
        says = "metrics.csv, line 2 is no row"
    else:
        says = r"metrics.csv, line 2 is no row of numbers with a column 'fidelity.fid'"
    with pytest.raises(InputError, match=says):
        best_row(folder, "fid")
    with pytest.raises(InputError, match="metrics.csv, line 2"):
        of_model(model.parent)  # whose schedule asks for the best row


def test_metrics_that_are_empty_or_a_folder_are_one_line(tmp_path):
    folder = ModelFolder(tmp_path)
    folder.metrics.write_text("images_seen,fidelity.fid\n")
    with pytest.raises(InputError, match="holds no scoring"):
        best_row(folder, "fid")
    folder.metrics.unlink()
    folder.metrics.mkdir()
    with pytest.raises(InputError, match="cannot read .*metrics.csv: Is a directory"):
        read_metrics(folder.metrics)


def test_more_samples_than_can_be_compared_are_refused_before_anything_starts():
    for dataset in ("digits", "ring"):
        Conditions(dataset=dataset, scoring=ScoringConfig(samples=50_000))
        with pytest.raises(InputError, match="must be at most 50000, got 50001: samples are compared in pairs"):
            Conditions(dataset=dataset, scoring=ScoringConfig(samples=50_001))
    assert Conditions(dataset="gaussian", scoring=ScoringConfig(samples=10**6)).scoring.samples == 10**6


def test_images_that_do_not_fit_the_memory_are_refused_before_they_are_made(monkeypatch):
    """1,797 digits of 512 x 512 pixels take 1.88 GB."""
    memory = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 1_884_291_072 // 4096 - 1}
    monkeypatch.setattr("os.sysconf", memory.__getitem__)
    with pytest.raises(InputError, match="'digits' at 512 pixels takes 2 GB, and this machine has 2; choose a smaller"):
        load_dataset("digits", image_size_pixels=512)
    assert load_dataset("digits", image_size_pixels=16).sample_shape == (1, 16, 16)


def test_a_long_training_is_scored_a_bounded_number_of_times():
    assert evaluation_points((4, 8), 16) == [4, 8, 10, 12, 14, 16]
    points = evaluation_points((1,), 10**15)
    assert len(points) <= MOST_EVALUATIONS + 3
    assert (points[0], points[-1]) == (1, 10**15)
