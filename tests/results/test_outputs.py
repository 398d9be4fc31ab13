"""The target of `-o` is written by one rule: a file appears when complete; devices and pipes are written directly."""

import io
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from made_files import output_bytes
from PIL import Image

from gan_core.training.checkpoint import save_tensors
from results.export import write_export
from results.output import output
from results.pictures import draw_samples
from results.store import ResultsError, write_atomically
from sweep.commands.cli import main

ROOT = Path(__file__).absolute().parents[2]


WRITERS: dict[str, Callable[[Path], None]] = {
    "bytes": output_bytes,
    "text": lambda path: write_atomically(path, "text"),
    "export": lambda path: write_export("text", path),
    "picture": lambda path: draw_samples(np.zeros((1, 1, 8, 8), np.float32), path),
}


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_a_pipe_is_written_to_and_stays_one(tmp_path, writer):
    writer(tmp_path / "file")
    os.mkfifo(tmp_path / "pipe")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    writer(tmp_path / "pipe")
    reader.join(timeout=60)
    assert read == [(tmp_path / "file").read_bytes()]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "pipe"]


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_a_full_device_is_an_error_and_stays_a_device(writer):
    with pytest.raises((OSError, ResultsError), match="No space left on device"):
        writer(Path("/dev/full"))
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path, writer):
    (tmp_path / "link").symlink_to("far")
    writer(tmp_path / "link")
    writer(tmp_path / "near")
    assert (tmp_path / "link").readlink() == Path("far")
    assert (tmp_path / "far").read_bytes() == (tmp_path / "near").read_bytes()


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_a_name_as_long_as_a_file_system_allows_can_be_written(tmp_path, writer):
    writer(tmp_path / ("x" * 255))
    assert [path.name for path in tmp_path.iterdir()] == ["x" * 255]
    with pytest.raises((OSError, ResultsError), match="File name too long"):
        writer(tmp_path / ("x" * 256))


def test_what_fails_in_the_middle_leaves_what_was_there(tmp_path):
    (tmp_path / "x").write_text("before")
    with pytest.raises(ZeroDivisionError), output(tmp_path / "x") as file:
        file.write(b"half" * (1 // 0))
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("x", "before")]


def test_the_umask_decides_who_reads_a_models_files_and_all_others(tmp_path):
    before = os.umask(0o027)
    try:
        for name, writer in WRITERS.items():
            writer(tmp_path / name)
        save_tensors(tmp_path / "tensors", {"x": torch.ones(3)})
    finally:
        os.umask(before)
    modes = {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys((*WRITERS, "tensors"), "0o640")


def test_standard_output_takes_text_tables_pictures_and_numbers(capfdbinary, digits_run):
    def said(*arguments: str) -> bytes:
        capfdbinary.readouterr()
        assert main([str(argument) for argument in arguments]) == 0
        return capfdbinary.readouterr().out

    run = str(digits_run)
    assert yaml.safe_load(said("export", run, "-o", "-"))["source"]["run"] == "digits"
    assert said("results", run, "-o", "-").splitlines()[0].startswith(b"trial,")
    with Image.open(io.BytesIO(said("sample", run, "-n", "4", "-o", "-"))) as picture:
        assert picture.format == "PNG"
    numbers = said("sample", run, "-n", "3", "-o", "-", "--format", "npy")
    assert np.load(io.BytesIO(numbers)).shape == (3, 1, 8, 8)
    assert not list(Path().glob("-*"))


FULL = "gan-sweep: cannot write to standard output: No space left on device\n"


@pytest.mark.parametrize(("redirected", "code", "says"), [("> /dev/full", 1, FULL), ("| true", 0, "")])
def test_a_full_standard_output_is_one_line_and_exit_1_and_a_reader_that_left_is_none(
    digits_run, redirected, code, says
):
    command = f"'{sys.executable}' -m sweep export '{digits_run}' -o - {redirected}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (code, says)


@pytest.mark.parametrize(("place", "says"), [("/dev/full", "StreamError: cannot write"), ("closed", "BrokenPipeError")])
def test_standard_output_that_takes_no_more_stops_what_is_written_to_it(place, says):
    """Of a hundred million samples, those that nobody reads are not drawn."""
    code = (
        "import os, sys\nfrom results.output import STANDARD_OUTPUT, output\n"
        "place = sys.argv[1]\n"
        "read, write = os.pipe()\nos.close(read)\n"
        "os.dup2(write if place == 'closed' else os.open(place, os.O_WRONLY), 1)\n"
        "with output(STANDARD_OUTPUT) as file:\n while True: file.write(bytes(100_000))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, place], cwd=ROOT, stderr=subprocess.PIPE, text=True, timeout=100)
    assert done.returncode == 1
    assert says in done.stderr.splitlines()[-1]


LONG = "x" * 300
NAMES = {
    "empty": ("", "must name a file or a folder, got ''"),
    "of a user that there is not": ("~nouser/x.png", "there is no home folder '~nouser'"),
    "with a NUL": ("a\0b.png", "must name a file or a folder"),
}
OUTPUTS = (
    ["export", "RUN", "-o"],
    ["results", "RUN", "--format", "csv", "-o"],
    ["sample", "RUN", "-o"],
    ["train", "good.yaml", "-o"],
    ["run", "--out"],
    ["run", "-o"],
)


@pytest.mark.parametrize("command", OUTPUTS, ids=" ".join)
@pytest.mark.parametrize(("name", "says"), NAMES.values(), ids=NAMES)
def test_a_name_that_is_none_is_one_line(gan_sweep, command, name, says):
    answer = gan_sweep(*command, name)
    assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1)
    assert says in answer.err


@pytest.mark.parametrize("command", OUTPUTS[:3], ids=" ".join)
def test_a_name_that_is_too_long_is_one_line(gan_sweep, digits_run, command):
    answer = gan_sweep(*[digits_run if part == "RUN" else part for part in command], f"{LONG}.png")
    assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1)
    assert answer.err.endswith("File name too long\n")
    assert not list(Path().iterdir())


@pytest.mark.parametrize("command", OUTPUTS[:3], ids=" ".join)
def test_the_root_and_other_folders_are_no_files(gan_sweep, digits_run, command):
    Path("folder.npy").mkdir()
    for name in ("/", "folder.npy")[command[0] == "sample" :]:  # of `sample`, / is a folder of pictures
        answer = gan_sweep(*[digits_run if part == "RUN" else part for part in command], name)
        assert (answer.code, answer.out, answer.err) == (2, "", f"gan-sweep: cannot write {name}: Is a directory\n")
    assert [path.name for path in Path().iterdir()] == ["folder.npy"]
