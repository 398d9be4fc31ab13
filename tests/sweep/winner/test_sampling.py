"""`gan-sweep sample`: the same samples in parts, as many as fit, from models and from trials, in every format."""

import math
import os
import resource
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from full_disks import full_disk
from PIL import Image

from gan_core.config.gan import GanConfig
from gan_core.config.input_error import InputError
from gan_core.lanes.axis import lane_arithmetic
from gan_core.networks.architectures import build_networks
from gan_core.workshop.saved_generator import SampleKind, sample_generator
from results.export import export_trial
from results.pictures import MOST_GRID_PIXELS, most_in_grid, picture_of
from results.store import JsonLines, ResultsError, RunFolder
from results.table import ResultsTable
from sweep.winner.sampling import Generator, of_trial, write_numbers, write_picture, write_pictures

SMALL = {"structure.generator_width": 16, "structure.discriminator_width": 4, "structure.latent_size": 3}
VALUES = {**SMALL, "structure.architecture": "gaussian", "structure.dataset": "gaussian"}
CLASSES = {**SMALL, "structure.architecture": "cgan"}


def generator(values: Mapping[str, object] = SMALL, shape: tuple[int, ...] = (1, 8, 8)) -> Generator:
    """An untrained generator with random weights."""
    config = GanConfig.unflatten(values)
    network = build_networks(config.structure, shape, 10).generator
    source = np.random.default_rng(0)
    drawn = {name: 5 * torch.from_numpy(value).float() for name, value in network.initial(source).items()}
    buffers = {name: torch.ones(size) for name, size in network.buffers().items()}
    return Generator(config, SampleKind(shape, 10 if len(shape) == 3 else 0), {**drawn, **buffers}, "float32")


@pytest.mark.parametrize("values", [SMALL, CLASSES], ids=["mlp", "cgan"])
def test_parts_are_the_samples_that_are_drawn_at_once(values):
    made = generator(values)
    parts = list(made.parts(2_500, 7))
    with lane_arithmetic():
        whole = sample_generator(made.config, made.kind, made.weights, 2_500, 7).numpy()
    assert [len(part) for part in parts] == [1000, 1000, 500]
    assert np.array_equal(np.concatenate(parts), whole)
    assert len(np.unique(whole.reshape(2_500, -1), axis=0)) > 2_000


def test_who_works_with_a_part_has_the_arithmetic_of_before():
    torch.set_num_threads(2)
    try:
        next(generator().parts(2_000, 0))
        assert (torch.get_num_threads(), torch.is_grad_enabled()) == (2, True)
    finally:
        torch.set_num_threads(1)


def test_a_file_of_numbers_is_written_part_by_part_and_read_as_one_array(tmp_path):
    made = generator()
    write_numbers(made, 1_234, 3, tmp_path / "x.npy")
    found = np.load(tmp_path / "x.npy")
    assert (found.shape, found.dtype) == ((1_234, 1, 8, 8), np.float32)
    assert np.array_equal(found, np.concatenate(list(made.parts(1_234, 3))))
    write_numbers(generator(VALUES, (1,)), 1_234, 3, tmp_path / "v.npy")
    assert np.load(tmp_path / "v.npy").shape == (1_234,)


def test_more_than_the_disk_holds_is_refused_with_the_number_that_fits(tmp_path):
    made, place = generator(), tmp_path / "x.npy"
    disk = os.statvfs(tmp_path)
    with pytest.raises(
        InputError, match=r"-n 100000000000000 is more than fits into the disk of .*: at most (\d+)$"
    ) as e:
        write_numbers(made, 10**14, 0, place)
    assert int(str(e.value).split()[-1]) == pytest.approx(disk.f_bavail * disk.f_frsize // 256, rel=0.05)
    with full_disk(256 * 1000):
        with pytest.raises(InputError, match="at most 1000$"):
            write_numbers(made, 1001, 0, place)
        with pytest.raises(ResultsError, match=r"cannot write .*x.npy: File too large"):
            write_numbers(made, 1000, 0, place)  # and its header
    assert list(tmp_path.iterdir()) == []
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_more_than_a_grid_holds_is_refused_with_the_number_that_fits(tmp_path):
    most = most_in_grid((1, 8, 8))
    side = math.isqrt(most)
    assert side**2 == most
    assert (9 * side + 1) ** 2 <= MOST_GRID_PIXELS < (9 * (side + 1) + 1) ** 2
    with pytest.raises(InputError, match=f"into a grid .*: at most {most}$"):
        write_picture(generator(), most + 1, 0, tmp_path / "x.png")
    of_ten = most_in_grid((1, 8, 8), 10)
    assert of_ten % 10 == 0
    assert 91 * (9 * of_ten // 10 + 1) <= MOST_GRID_PIXELS < 91 * (9 * (of_ten // 10 + 1) + 1)
    with pytest.raises(InputError, match=f"at most {of_ten}$"):
        write_picture(generator(CLASSES), of_ten + 1, 0, tmp_path / "x.png")


def test_any_number_of_numbers_has_a_density(tmp_path):
    write_picture(generator(VALUES, (1,)), 20_000, 0, tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.mode == "P"


@pytest.mark.parametrize("count", [10, 23, 30])
def test_a_grid_of_classes_in_turn_has_a_row_for_each(count):
    """A generator of images whose brightness is their class."""
    samples = np.zeros((count, 1, 50, 50), np.float32) + (np.arange(count) % 10 / 10).reshape(-1, 1, 1, 1)
    grid = np.asarray(picture_of([samples], count, samples.shape[1:], classes=10))
    columns = math.ceil(count / 10)
    factor = grid.shape[0] // (10 * 51 + 1)
    grid = grid[::factor, ::factor]
    assert grid.shape == (10 * 51 + 1, columns * 51 + 1)
    seen = {tuple(np.unique(grid[51 * row + 1 : 51 * row + 51, 1:51])) for row in range(10)}
    assert len(seen) == 10
    for place in range(count):
        row, column = place % 10, place // 10
        cell = grid[51 * row + 1 : 51 * row + 51, 51 * column + 1 : 51 * column + 51]
        assert set(np.unique(cell)) == {round(place % 10 / 10 * 127.5 + 127.5)}


def test_a_grid_of_fewer_than_its_classes_is_square():
    samples = np.zeros((9, 1, 50, 50), np.float32)
    pictures = [picture_of([samples], 9, samples.shape[1:], classes) for classes in (0, 10)]
    assert pictures[0] == pictures[1]
    assert pictures[0].width == pictures[0].height


@pytest.mark.parametrize(("choice", "names"), [(None, [0, 1, 2]), (4, [4, 4, 4])])
def test_a_folder_holds_a_picture_each_named_by_its_class(tmp_path, choice, names):
    made = generator(CLASSES)
    (tmp_path / "new").mkdir()  # an empty one is as good as none
    write_pictures(made, 12, 0, tmp_path / "new", choice)
    found = sorted(tmp_path.rglob("*.png"))
    assert [path.name for path in found[:3]] == [f"0000{i}-class-{c}.png" for i, c in enumerate(names)]
    assert len(found) == 12
    with Image.open(found[1]) as picture:
        second = np.concatenate(list(made.parts(12, 0, choice)))[1, 0]
        assert np.array_equal(np.asarray(picture), (second * 127.5 + 127.5).round().astype(np.uint8))
    with pytest.raises(InputError, match="holds other files; give a new folder"):
        write_pictures(made, 1, 0, tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_a_folder_that_cannot_be_is_refused_and_nothing_stays(tmp_path):
    with pytest.raises(InputError, match="cannot hold pictures of numbers"):
        write_pictures(generator(VALUES, (1,)), 3, 0, tmp_path / "new")
    with pytest.raises(InputError, match="into the disk of .*new: at most"):
        write_pictures(generator(), 10**14, 0, tmp_path / "new")
    (tmp_path / "file").touch()
    with pytest.raises(ResultsError, match="cannot write .*file/new: "):
        write_pictures(generator(), 3, 0, tmp_path / "file" / "new")
    with full_disk(10), pytest.raises(ResultsError, match="cannot write .*new"):
        write_pictures(generator(), 3, 0, tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def read_export(run: Path, trial: int) -> dict[str, object]:
    return yaml.safe_load(export_trial(run, trial))["configuration"]


def test_the_trial_of_a_run_draws_what_it_was_scored_with(gan_sweep, digits_run, tmp_path):
    row: Any = ResultsTable.load(digits_run).best()
    best = int(row["trial"])
    assert gan_sweep("sample", digits_run, "-n", "5", "-o", "best.npy").out == "5 samples in best.npy\n"
    assert gan_sweep("sample", digits_run, "--trial", str(best), "-n", "5", "-o", "same.npy").code == 0
    assert gan_sweep("sample", digits_run, "--trial", str((best + 1) % 4), "-n", "5", "-o", "other.npy").code == 0
    same, other = np.load("same.npy"), np.load("other.npy")
    assert np.array_equal(np.load("best.npy"), same)
    assert np.abs(same - other).max() > 1e-3
    made = of_trial(digits_run, best)
    assert made.config.flatten() == GanConfig.unflatten(read_export(digits_run, best)).flatten()


def test_what_a_run_has_not_kept_of_a_trial_cannot_be_drawn(digits_run, tmp_path):
    run = Path(shutil.copytree(digits_run, tmp_path / "run"))
    shutil.rmtree(RunFolder(run).checkpoints)
    with pytest.raises(InputError, match=r"holds no generator of trial 2; nothing is kept \(keep_checkpoints"):
        of_trial(run, 2)
    with pytest.raises(ResultsError, match="there is no trial 9"):
        of_trial(run, 9)


def test_the_channels_of_a_folder_of_pictures_stand_in_no_row_and_are_read(digits_run, tmp_path, monkeypatch):
    run = RunFolder(shutil.copytree(digits_run, tmp_path / "run"))
    where = {"structure.dataset": "images:pictures", "structure.image_size_pixels": 8}
    records = [{**record, **where} for record in JsonLines(run.rows).read()]
    run.rows.unlink()
    JsonLines(run.rows).append(records)
    spec = yaml.safe_load(run.spec.read_text())
    spec["space"]["base"] |= where
    run.spec.write_text(yaml.safe_dump(spec))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="no folder pictures"):
        of_trial(run.path, 2)
    Path("pictures").mkdir()
    for number, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (40, 8, 8)).astype(np.uint8)):
        Image.fromarray(pixels).save(f"pictures/{number}.png")
    assert of_trial(run.path, 2).kind == SampleKind((1, 8, 8), 0)
    assert next(of_trial(run.path, 2).parts(3, 0)).shape == (3, 1, 8, 8)


def test_a_generator_of_another_number_type_or_shape_does_not_fit():
    made = generator()
    for change in (torch.Tensor.double, torch.Tensor.half, torch.Tensor.int, lambda x: x[..., :1], lambda x: x[None]):
        weights = {name: change(value) for name, value in made.weights.items()}
        with pytest.raises(InputError, match="the generator's weights do not fit the configuration beside them"):
            next(Generator(made.config, made.kind, weights, "float32").parts(3, 0))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["-o", "x.txt"],
            "x.txt takes texts alone, which your own training may draw; give a .png, a .npy or a folder/",
        ),
        (["-o", "x"], "must end in .png (a grid), .npy (the samples)"),
        (["--trial", "1"], "none is no run, of which --trial"),
    ],
    ids=str,
)
def test_an_output_that_says_no_form_is_one_line(gan_sweep, arguments, says):
    answer = gan_sweep("sample", "none", *arguments)
    assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1)
    assert says in answer.err
