"""A run goes on only on the data, and in the features, that it began with; where they lie does not matter."""

import gzip
import hashlib
import shutil
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from curve_array import curve_spec, opened, run_folder, runs
from made_files import PARTS, idx, pictures, write_mnist
from test_study import report
from tiny_runs import ROW, TINY, settings

from gan_core.config.conditions import Conditions
from gan_core.config.dataset_name import parse_dataset_name
from gan_core.config.reports import LaneReport
from gan_core.data.dataset import load_dataset, scale_bytes
from gan_core.data.digest import data_digest
from gan_core.data.enough_images import held_out_warning
from gan_core.data.image_files import Request, read_image_files
from results.store import JsonLines, ResultsError, RunFolder
from sweep.ledger.same_data import check_same_data
from sweep.run import check_run
from sweep.spec.sweep_spec import SweepSpec

SWEEP = [*TINY, "trials=2", "lanes_per_cohort=1", "structure.image_size_pixels=8"]
MEASURED = ("trial", "rung", "images_seen", "score", "d_loss", "g_loss", "outcome", "lane.generator_lr", "data_digest")


def run_on(place: str, *more: str) -> list[str]:
    return ["run", "--local", "--out", "run", *settings(*SWEEP, f"structure.dataset=images:{place}"), *more]


LONGER = ["--extend", "--trials", "3", *settings("ladder.rungs_images=[256, 512, 768]")]


def measured(folder: str) -> list[tuple]:
    return [tuple(row[name] for name in MEASURED) for row in JsonLines(Path(folder) / "rows.jsonl").read()]


def contents(folder: Path) -> dict[str, str]:
    """What every file of a folder holds."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def begun(tmp_path_factory) -> Path:
    """A folder with `pictures`, and `run`, a finished sweep on them."""
    from sweep.commands.cli import main

    home = tmp_path_factory.mktemp("begun")
    pictures(home / "pictures")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.chdir(home)
        assert main(run_on("pictures")) == 0
    return home


@pytest.fixture
def here(begun, gan_sweep) -> Path:
    shutil.copytree(begun, Path.cwd(), dirs_exist_ok=True)
    return Path.cwd()


@pytest.mark.parametrize("dry", [[], ["--dry-run"]], ids=["run", "dry run"])
def test_a_run_whose_pictures_changed_is_refused_before_anything_is_written(here, gan_sweep, dry):
    before = JsonLines(here / "run" / "rows.jsonl").read()[0]["data_digest"]
    (here / "pictures" / "3.png").unlink()
    now, files = load_dataset("images:pictures", image_size_pixels=8).digest, contents(here / "run")
    answer = gan_sweep(*run_on("pictures", *LONGER, *dry))
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert f"run was scored on data of digest {before}, and images:pictures has {now} now" in answer.err
    assert contents(here / "run") == files


def test_a_run_goes_on_where_its_pictures_have_moved_to_as_it_would_have_where_they_were(here, gan_sweep):
    shutil.copytree(here / "run", here / "other")
    assert gan_sweep(*run_on("pictures", *LONGER)).code == 0
    stayed = measured("run")
    shutil.rmtree(here / "run")
    (here / "other").rename(here / "run")
    (here / "pictures").rename(here / "moved")
    assert gan_sweep(*run_on("moved", *LONGER)).code == 0
    assert measured("run") == stayed
    assert len({row[0] for row in stayed}) == 3
    assert gan_sweep("export", "run", "--trial", "0", "-o", "best.yaml").code == 0
    assert f"structure.dataset: images:{here / 'moved'}" in Path("best.yaml").read_text()
    assert gan_sweep("verify", "best.yaml").code == 0


def test_what_a_person_should_know_of_a_folder_is_said_before_a_sweep_starts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pictures(Path("pictures"))
    (Path("pictures") / "list.txt").write_text("")
    (Path("pictures") / ".hidden").write_text("")
    for number in range(2):
        shutil.copyfile("pictures/5.png", f"pictures/copy{number}.png")
    spec = SweepSpec.from_mapping({}, ["structure.dataset=images:pictures", "structure.image_size_pixels=8"])
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        check_run(spec, RunFolder("run"))
    assert [str(warning.message) for warning in told] == [
        "pictures: not used: 1 .txt",
        "pictures: 2 of 42 pictures are exact copies of others, at the size that is trained, such as 'copy0.png', "
        "'copy1.png' of '5.png'",
        "images:pictures has 7 held-out pictures, fewer than ten times the 5 neighbours that are scored with: all "
        "pictures are compared with, training ones too, and trials will differ by luck as much as by merit; hold out "
        "50 or more, which are one in 6 of 300 pictures, or all of a folder val/ beside train/",
    ]
    assert not Path("run").exists()
    assert held_out_warning("mnist", 49) != ""
    assert held_out_warning("mnist", 50) == ""


def test_another_data_set_is_another_spec_and_another_folder_is_not():
    names = (("images:a", 8), ("images:b", 8), ("digits", 0))
    given = [[f"structure.dataset={name}", f"structure.image_size_pixels={size}"] for name, size in names]
    specs = [SweepSpec.from_mapping({}, assignments) for assignments in given]
    assert specs[0].differences(specs[1]) == specs[0].differences(specs[1], extended=True) == []
    assert specs[0].differences(specs[2]) == [
        "space.base.structure.dataset",
        "space.base.structure.image_size_pixels",
    ]


def other_labels(raw: Path) -> None:
    (raw / f"{PARTS[1]}-ubyte").write_bytes(idx(np.arange(20)[::-1] % 10))


def other_images(raw: Path) -> None:
    noise = np.random.default_rng(9).integers(0, 256, (20, 28, 28))
    (raw / f"{PARTS[2]}-ubyte.gz").write_bytes(gzip.compress(idx(noise)))


@pytest.mark.parametrize("size_pixels", [0, 8])
@pytest.mark.parametrize("change", [other_labels, other_images])
def test_mnist_under_another_root_is_the_same_if_its_files_are(tmp_path, size_pixels, change):
    def check(root: Path) -> None:
        conditions = Conditions(dataset="mnist", data_root=str(root), image_size_pixels=size_pixels)
        images = read_image_files(Request(parse_dataset_name("mnist"), root, size_pixels))
        check_same_data(RunFolder("run"), [replace(ROW, data_digest="", protocol=""), row], conditions, images, "")

    for place in ("one", "other"):
        write_mnist(tmp_path / place)
    before = load_dataset("mnist", tmp_path / "one" / "data", image_size_pixels=size_pixels).digest
    row = replace(ROW, data_digest=before)
    check(tmp_path / "other" / "data")
    change(tmp_path / "other" / "data" / "MNIST" / "raw")
    now = load_dataset("mnist", tmp_path / "other" / "data", image_size_pixels=size_pixels).digest
    with pytest.raises(ResultsError, match=f"digest {before}, and mnist in .*other/data has {now} now"):
        check(tmp_path / "other" / "data")


def test_a_run_of_which_nothing_was_scored_may_go_on_with_what_there_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_mnist(tmp_path / "some")
    images = read_image_files(Request(parse_dataset_name("mnist"), Path("some/data")))
    failed = replace(ROW, data_digest="", protocol="")
    for rows in ([], [failed]):
        assert check_same_data(RunFolder("run"), rows, Conditions(dataset="mnist"), images, "own4-abc") is None


def test_features_that_changed_in_their_file_are_refused_by_name(here, gan_sweep):
    class Sums(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.flatten(2).sum(1)[:, 2::9]

    class Others(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.flatten(2).sum(1)[:, 1::9]

    def save(network: torch.nn.Module) -> str:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch.jit is deprecated
            torch.jit.save(torch.jit.trace(network, torch.zeros(2, 1, 8, 8)), "own.pt")
        return "own7-" + hashlib.sha256(Path("own.pt").read_bytes()).hexdigest()[:12]

    shutil.rmtree("run")
    before = save(Sums())
    own = settings("scoring.features=own.pt", "ladder.rungs_images=[128]")
    assert gan_sweep(*run_on("pictures", *own)).code == 0
    now, files = save(Others()), contents(here / "run")
    answer = gan_sweep(*run_on("pictures", *own, "--extend", "--trials", "4"))
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert f"run was scored in features {before}, and own.pt gives {now} now" in answer.err
    assert contents(here / "run") == files


def of(digest: str, protocol: str = "p") -> LaneReport:
    plain = report(1.0)
    return replace(plain, fidelity=replace(plain.fidelity, data_digest=digest, protocol=protocol))


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (of("e"), "was scored on data of digest d, and the data has e now: it changed; .*; it has no row"),
        (of("d", "q"), "was scored by p, and a cohort is by q now; .*; it has no row"),
    ],
    ids=["data", "protocol"],
)
@pytest.mark.parametrize("how", ["judge", "cut"])
@pytest.mark.parametrize("again", [False, True], ids=["one owner", "two owners"])
def test_a_row_of_other_data_is_never_recorded_beside_the_first(tmp_path, other, says, how, again):
    """As from a machine of a cluster that has another file under the same name."""
    spec = curve_spec(lanes_per_cohort=2)
    folder = run_folder(spec, tmp_path)
    with opened(spec, folder) as study:
        study.open_cohort(2)
        study.judge(0, 0, runs(0, 1), [of("d"), of("d")])
        study.open_cohort(2)
        if not again:
            check_refused(study, folder, how, other, says)
            return
    with opened(spec, folder) as study:
        study.open_cohort(2)
        study.open_cohort(2)
        check_refused(study, folder, how, other, says)


def check_refused(study: Any, folder: RunFolder, how: str, other: LaneReport, says: str) -> None:
    before = folder.rows.read_bytes()
    with pytest.raises(ResultsError, match=says):
        if how == "judge":
            study.judge(1, 0, runs(2, 3), [of("d"), other])
        else:
            study.cut(1, runs(2, 3), [of("d"), other])
    assert folder.rows.read_bytes() == before


def test_the_digest_of_bytes_is_that_of_the_numbers_which_are_made_of_them():
    pixels = np.arange(250 * 16, dtype=np.int64).astype(np.uint8).reshape(250, 1, 4, 4)
    labels = np.arange(250) % 3
    numbers = scale_bytes(torch.from_numpy(pixels).float()).numpy()
    assert data_digest("images", pixels, labels) == data_digest("images", numbers, labels)
    assert data_digest("images", pixels, labels) != data_digest("mnist", pixels, labels)
    assert data_digest("images", pixels, labels) != data_digest("images", pixels, labels[::-1])


def test_digests_are_those_of_earlier_versions_whose_runs_go_on(tmp_path):
    from PIL import Image

    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        for place in range(12):
            source = np.random.default_rng([len(label), ord(label[0]), place])
            pixels = source.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / label / f"{place:02d}.png")
    assert load_dataset(f"images:{tmp_path}", image_size_pixels=8).digest == "69bcb8d361a3a045"
    assert load_dataset("digits").digest == "aeafb0a9751c3ea5"


def test_a_run_of_a_version_with_other_limits_is_refused_before_it_goes_on(tmp_path):
    conditions, folder = Conditions(dataset="digits"), RunFolder(tmp_path)
    protocol = "fid/classifier64-x@w/digits-d-held_out-797/2000@latents42/{}kl0.1-coverage0.5"
    check_same_data(folder, [replace(ROW, protocol=protocol.format("limits-"))], conditions, None, "")
    with pytest.raises(ResultsError, match="was scored by an earlier version, in which a broken limit made fidelity"):
        check_same_data(folder, [replace(ROW, protocol=protocol.format(""))], conditions, None, "")
