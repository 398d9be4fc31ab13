"""What appears whole is written beside its target, under a name of its own."""

import os
import stat
from pathlib import Path

import pytest
from made_files import output_bytes

import gan_core.files.whole_files
from gan_core.files.cache import keep
from gan_core.files.whole_files import ABANDONED_SECONDS, PARTIAL, appearing_whole, clear_abandoned
from gan_core.training.checkpoint import save_tensors
from results.store import RunFolder, write_atomically
from results.trial_run import TrialRun

LEFT = ".rows.json.0123456789abcdef.gan-sweep.partial"


WRITERS = {
    "bytes": output_bytes,
    "text": lambda path: write_atomically(path, "text"),
    "tensors": lambda path: save_tensors(path, {}),
    "kept": lambda path: keep(path, lambda partial: partial.write_text("kept")),
}


def left(folder: Path, name: str = LEFT, age_seconds: float = 2 * ABANDONED_SECONDS) -> Path:
    """What a process that was killed so long ago was writing."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text("half")
    now = path.stat().st_mtime
    os.utime(path, (now - age_seconds, now - age_seconds))
    return path


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_a_persons_own_files_and_links_beside_a_target_stay_what_they_are(tmp_path, writer):
    (tmp_path / "victim").write_text("a person's")
    (tmp_path / "o.yaml.partial").symlink_to("victim")
    (tmp_path / f"o.yaml.{os.getpid()}.partial").symlink_to("victim")
    left(tmp_path, ".o.yaml.partial")
    writer(tmp_path / "o.yaml")
    assert (tmp_path / "victim").read_text() == "a person's"
    assert (tmp_path / "o.yaml.partial").readlink() == Path("victim")
    assert (tmp_path / ".o.yaml.partial").read_text() == "half"
    assert len(list(tmp_path.iterdir())) == 5


def test_a_link_in_the_place_of_what_is_to_be_written_is_not_followed(tmp_path, monkeypatch):
    monkeypatch.setattr(gan_core.files.whole_files.os, "urandom", bytes)
    (tmp_path / "victim").write_text("a person's")
    place = tmp_path / f".o.yaml.{'0' * 16}.gan-sweep.partial"
    place.symlink_to("victim")
    with pytest.raises(FileExistsError, match=r"o\.yaml'$"), appearing_whole(tmp_path / "o.yaml"):
        pass
    assert place.readlink() == Path("victim")
    assert (tmp_path / "victim").read_text() == "a person's"


def test_two_targets_that_begin_alike_and_two_writers_of_one_do_not_meet(tmp_path):
    targets = [tmp_path / ("x" * 60 + "a"), tmp_path / ("x" * 60 + "b"), tmp_path / ("x" * 60 + "b")]
    with (
        appearing_whole(targets[0]) as one,
        appearing_whole(targets[1]) as two,
        appearing_whole(targets[2]) as three,
    ):
        for number, partial in enumerate((one, two, three)):
            assert PARTIAL.fullmatch(partial.name)
            partial.write_text(str(number))
    assert [target.read_text() for target in targets[:2]] == ["0", "1"]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_name_of_characters_of_four_bytes_can_be_written(tmp_path):
    write_atomically(tmp_path / ("\U0001f600" * 63), "text")
    assert [path.name for path in tmp_path.iterdir()] == ["\U0001f600" * 63]


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_what_a_killed_writer_left_goes_once_it_is_old_and_nothing_else_does(tmp_path, writer):
    old, young = left(tmp_path), left(tmp_path, LEFT.replace("0", "f"), age_seconds=ABANDONED_SECONDS / 2)
    others = [left(tmp_path, name) for name in ("rows.json.partial", LEFT[1:], f"{LEFT}.txt", LEFT.upper())]
    (tmp_path / LEFT.replace("rows", "link")).symlink_to(others[0])
    (tmp_path / LEFT.replace("rows", "folder")).mkdir()
    writer(tmp_path / "target")
    assert not old.exists()
    assert all(path.exists() for path in (young, *others))
    assert len(list(tmp_path.iterdir())) == 8


def test_a_folder_that_is_not_there_has_nothing_to_clear(tmp_path):
    clear_abandoned(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_goes_on_clears_what_was_left_in_all_its_folders(tmp_path):
    folder = RunFolder(tmp_path / "run").create()
    places = [folder.path, folder.samples, folder.trial_checkpoint(TrialRun(3)), folder.checkpoint(0)]
    for place in places:
        left(place)
    folder.repair()
    assert [path for path in folder.path.rglob("*") if path.is_file()] == []


def test_a_file_has_the_permissions_of_new_ones_while_it_is_written(tmp_path):
    before = os.umask(0o027)
    try:
        with appearing_whole(tmp_path / "x") as partial:
            assert stat.S_IMODE(partial.stat().st_mode) == 0o640
    finally:
        os.umask(before)
