"""The version of the code: of every source of the training core, and of nothing else."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import gan_core.config.version
from gan_core.config.version import code_version


@pytest.fixture
def core(tmp_path) -> Path:
    """A copy of the package's folder."""
    return Path(shutil.copytree(Path(gan_core.config.version.__file__).parents[1], tmp_path / "core"))


def test_a_copy_of_the_sources_is_the_same_code_wherever_it_lies_and_whatever_lies_beside_it(core):
    shutil.rmtree(core / "native" / "__pycache__", ignore_errors=True)
    (core / "native" / "__pycache__").mkdir()
    (core / "native" / "__pycache__" / "isa.cpython-311.pyc").write_bytes(b"compiled")
    (core / "notes.txt").write_text("more")
    assert code_version(core) == code_version()
    number, _, digest = code_version().partition("+")
    assert (len(number) > 0, len(digest)) == (True, 8)


@pytest.mark.parametrize(
    "name", ["game/losses.py", "native/kernels/lane.h", "native/kernels/products.h", "native/isa.py"]
)
def test_any_changed_source_is_another_code_also_a_header_and_below_a_sub_package(core, name):
    source = core / name
    source.write_bytes(source.read_bytes() + b"\n")
    changed = code_version(core)
    assert changed != code_version()
    assert changed.partition("+")[0] == code_version().partition("+")[0]
    source.write_bytes(source.read_bytes()[:-1])
    assert code_version(core) == code_version()


def test_sources_that_are_renamed_moved_added_or_joined_are_another_code(core):
    def renamed() -> None:
        (core / "native" / "kernels" / "pairs.h").rename(core / "native" / "kernels" / "pairings.h")

    def moved() -> None:
        (core / "native" / "kernels" / "pairings.h").rename(core / "pairings.h")

    def added() -> None:
        (core / "kernels").mkdir()
        (core / "kernels" / "empty.h").touch()

    def joined() -> None:  # what the next file began with ends this one
        first, second = core / "config" / "gan.py", core / "config" / "health.py"
        first.write_bytes(first.read_bytes() + second.read_bytes()[:9])
        second.write_bytes(second.read_bytes()[9:])

    found = [code_version(core)]
    for change in (renamed, moved, added, joined):
        change()
        found.append(code_version(core))
    assert len(set(found)) == 5


def test_an_installed_package_holds_every_source_and_is_the_same_code(tmp_path):
    """As setuptools lays a wheel out; a sub-package or a kind of file that pyproject.toml forgets would be missing."""
    root = Path(gan_core.config.version.__file__).parents[2]
    for name in ("gan_core", "search_spaces", "sweep", "results"):
        shutil.copytree(root / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(root / name, tmp_path)
    program = "from setuptools import setup; setup()"
    command = [sys.executable, "-c", program, "-q", "build_py", "--build-lib", "built"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=120)
    assert code_version(tmp_path / "built" / "gan_core") == code_version()
