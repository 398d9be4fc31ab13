"""Which files are read is noted, and nothing else, and a change of one of them is seen."""

import importlib.metadata
import os
import threading
from pathlib import Path

import pytest

from gan_core.files.read_files import States, files_read, first_changed, note


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text(name)
    (tmp_path / "folder").mkdir()
    return tmp_path


def test_what_is_opened_to_read_and_listed_is_noted_by_its_whole_path(here):
    with files_read() as outer:
        Path("a").read_text()
        with files_read() as inner:
            thread = threading.Thread(target=lambda: os.close(os.open(b"b", os.O_RDONLY)))
            thread.start()
            thread.join()
        with Path("c").open("r+b"):
            pass
        os.listdir("folder")
    Path("folder").joinpath("after").write_text("a")
    assert inner.keys() == {str(here / "b")}
    assert outer.keys() == {str(here / name) for name in ("a", "b", "c", "folder")}
    with files_read() as listed:
        assert os.listdir()
    assert listed.keys() == {str(here)}


def test_what_is_written_or_imported_is_not_noted(here):
    (here / "some_module_of_theirs.py").write_text("x = 1")
    with files_read() as noted:
        for mode in ("w", "a", "w+", "a+"):
            with Path("new").open(mode):
                pass
        importlib.invalidate_caches()
        importlib.import_module("some_module_of_theirs")
        importlib.metadata.version("numpy")  # lists the folders of the path
        descriptor = os.open("/dev/null", os.O_WRONLY)
        os.close(descriptor)
    assert not any(path.startswith(str(here)) for path in noted)


def test_what_was_read_before_can_be_noted_as_it_was_then():
    with files_read() as noted:
        note({"before": "1"})
        note({"before": "2"})
    note({"later": "1"})
    assert noted == {"before": "1"}


def test_what_is_no_file_is_not_noted():
    with files_read() as noted:
        Path("/proc/self/status").read_text()
        Path("/dev/null").read_text()
        with pytest.raises(FileNotFoundError):
            Path("absent").read_text()
    assert noted == {}


def read(*names: str) -> States:
    with files_read() as noted:
        for name in names:
            os.listdir(name) if Path(name).is_dir() else Path(name).read_text()
    return noted


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        (lambda: Path("a").write_text("other"), "a"),
        (lambda: os.utime("a", (1, 1)), "a"),
        (lambda: Path("a").unlink(), "a"),
        (lambda: Path("folder", "new").touch(), "folder"),
        (lambda: Path("folder", "text.txt").write_text("longer"), ""),
        (lambda: Path("folder", "picture.PNG").write_text("longer"), "folder"),
        (lambda: Path("b").write_text("other"), ""),  # which was not read
    ],
)
def test_a_change_is_found(here, change, changed):
    Path("folder", "text.txt").touch()
    Path("folder", "picture.PNG").touch()
    before = read("a", "folder")
    assert first_changed(before) == ""
    change()
    assert first_changed(before) == (str(here / changed) if changed else "")


def test_where_nothing_is_left_nothing_has_changed(here):
    before = read("a", "b")
    Path("a").unlink()
    assert first_changed(before) == str(here / "a")
    Path("b").unlink()
    assert first_changed(before) == ""
