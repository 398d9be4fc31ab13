"""Compilers and folders that do not work: each ends in what does, with one line of warning and no traceback."""

import os
import shlex
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from lost_compiler import forget_compiler
from tiny_arrays import assert_all_same, configs_of, lane_results, structure_of, trained

from gan_core.config.conditions import Execution
from gan_core.data.dataset import Dataset
from gan_core.fidelity import pairs
from gan_core.files import cache
from gan_core.lanes import normals
from gan_core.native import compiler, kept, toolchain
from gan_core.native.toolchain import NoCompiler
from gan_core.training.compiled import block
from gan_core.training.lane_array import LaneArray

CASE = "gaussian moments least_squares"
ADDS = "long program(long a, long b) { return a + b; }"
TOOLS = "/usr/bin:/bin"  # the assembler and the linker that a real compiler calls
REAL = shutil.which("gcc") or shutil.which("cc") or shutil.which("clang")
Few = Callable[[str], Dataset]
pytestmark = [
    pytest.mark.usefixtures("arithmetic", "forgotten"),
    pytest.mark.skipif(REAL is None, reason="no C compiler is installed"),
]


@pytest.fixture
def forgotten() -> Iterator[None]:
    """A process that has compiled nothing."""
    forget_compiler()
    yield
    forget_compiler()


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forgotten: None) -> Path:
    """A cache and a folder of temporary files that are empty, and nothing was compiled."""
    for name in ("cache", "temporary", "shared"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("GAN_SWEEP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr(kept, "SHARED_MEMORY", tmp_path / "shared")
    return tmp_path


@pytest.fixture(scope="module")
def replayed(few: Few, arithmetic: None) -> list[dict[str, bytes]]:
    """What lanes come to without C; eager steps have the bits of replays."""
    return lane_results(made(few, execution="eager"))


def only_compiler(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str | None) -> None:
    """Where programs are looked for there is this one alone, as `cc`; None: nothing."""
    there = folder / "bin"
    there.mkdir()
    if script is not None:
        (there / "cc").write_text(script)
        (there / "cc").chmod(0o755)
    monkeypatch.setenv("PATH", str(there))
    monkeypatch.delenv("CC", raising=False)


def made(few: Few, execution: Execution = "auto") -> LaneArray:
    return trained(configs_of(CASE), few(structure_of(CASE).dataset), torch.float32, 3, execution=execution)


BROKEN: dict[str, tuple[str | None, str]] = {
    "none": (None, "no C compiler is installed"),
    "true": ("#!/bin/sh\n", "says nothing and makes no program"),
    "echo": ('#!/bin/sh\necho "$@"\n', "says nothing and makes no program"),
    "refuses": (
        "#!/bin/sh\necho 'cc: error: unrecognised option' >&2\nexit 1\n",
        "refuses a program: unrecognised option",
    ),
    "refuses in silence": ("#!/bin/sh\nexit 4\n", "refuses a program: it does not say why"),
    "crashes": ("#!/bin/sh\nkill -11 $$\n", "was ended by signal 11"),
    "no program": ("\x7fELF that is none", "does not start"),
    "garbage": ('#!/bin/sh\n[ "$1" = --version ] || echo garbage > made.so\n', "cannot be run in"),
    "without a function": (
        f"#!/bin/sh\nPATH={TOOLS}\n: > empty.c\n{REAL} -shared -fPIC -o made.so empty.c\n",
        "leaves out what it compiles",
    ),
    "another program": (
        f"#!/bin/sh\nPATH={TOOLS}\n"
        f"echo 'long probed(void) {{ return 1; }}' > other.c\n{REAL} -shared -fPIC -o made.so other.c\n",
        "computes something else",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_with_a_broken_compiler_alone_steps_are_replayed_and_one_line_says_why(
    name: str, few: Few, replayed, fresh, monkeypatch
):
    script, reason = BROKEN[name]
    only_compiler(monkeypatch, fresh, script)
    with pytest.warns(UserWarning, match="; steps are replayed instead, more slowly") as warned:
        array = made(few)
    (line,) = (str(warning.message) for warning in warned)
    assert reason in line
    assert line.count("\n") == 0
    assert array.programs.execution == "replayed"
    assert_all_same(array, replayed)
    assert made(few, execution="compiled").programs.execution == "replayed"  # and nothing more is said


def test_a_compiler_that_hangs_is_given_up(fresh, monkeypatch):
    only_compiler(monkeypatch, fresh, "#!/bin/sh\nexec /bin/sleep 60\n")
    monkeypatch.setattr(toolchain, "PROBE_SECONDS", 0.2)
    with pytest.raises(NoCompiler, match="does not end within 0.2 s"):
        compiler.compiler()


def test_where_one_compiler_does_not_work_another_is_taken(fresh, monkeypatch):
    only_compiler(monkeypatch, fresh, "#!/bin/sh\nexit 1\n")
    (fresh / "bin" / "gcc").symlink_to(REAL)
    monkeypatch.setenv("PATH", f"{fresh / 'bin'}:{TOOLS}")
    with pytest.warns(UserWarning, match="bin/gcc is used") as warned:
        programs = [compiler.loaded_library(ADDS.replace("program", f"program{i}")) for i in range(2)]
    assert [str(w.message) for w in warned] == [
        f"{fresh}/bin/cc refuses a program: it does not say why; {fresh}/bin/gcc is used, in {fresh}/cache/programs"
    ]
    assert programs[1].program1(2, 3) == 5


@pytest.mark.parametrize("asked", ["no-such-cc -O1", "'no-such-cc"])
def test_a_compiler_that_is_asked_for_and_is_not_there_is_said(fresh, monkeypatch, asked):
    monkeypatch.setenv("CC", asked)
    found = compiler.compiler()
    assert Path(found.command[0]).name == "cc"
    says = f"{shlex.join(toolchain._asked())}, which is in $CC, is not installed; {found} is used, in {found.folder}"
    assert found.trouble == says


def test_the_compiler_that_is_asked_for_may_have_arguments(fresh, monkeypatch):
    monkeypatch.setenv("CC", f"{REAL} -g0")
    assert compiler.compiler().command == (REAL, "-g0")


def test_a_program_that_is_refused_is_replayed_and_the_same_words_are_said_once(few: Few, replayed, fresh, monkeypatch):
    """The compiler works, but not on this: of every structure the same is said."""
    refuse = 'if grep -q "Adam" program.c; then echo "program.c:$$: error: too long" >&2; exit 1; fi'
    only_compiler(monkeypatch, fresh, f'#!/bin/sh\nPATH={TOOLS}\n{refuse}\nexec {REAL} "$@"\n')
    with pytest.warns(UserWarning, match="too long") as warned:
        arrays = [made(few), made(few)]
    said = [w for w in warned if w.category is UserWarning]  # what earlier tests left may be collected meanwhile
    assert [str(w.message).partition(" (")[0] for w in said] == [
        f"{fresh}/bin/cc refuses a program: too long; steps are replayed instead, more slowly"
    ]
    assert_all_same(arrays[0], replayed)
    assert_all_same(arrays[1], replayed)


def test_a_block_is_not_compiled_where_numbers_are_not_drawn_in_c(few: Few, monkeypatch):
    monkeypatch.setattr(block, "numbers_in_c", lambda: None)
    with pytest.warns(UserWarning, match="numbers are not drawn in C; steps are replayed"):
        assert made(few).programs.execution == "replayed"


def test_libraries_are_kept_between_runs_and_made_once(few: Few, monkeypatch):
    first = lane_results(made(few))
    forget_compiler()
    compiler.compiler()  # asks for its version
    monkeypatch.setattr(toolchain.subprocess, "run", None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_all_same(made(few), first)


@pytest.mark.parametrize("damage", ["truncated", "empty", "garbage", "no digest", "a digest of nothing"])
def test_a_damaged_library_is_made_anew(damage: str, fresh):
    whole = compiler.library_file(ADDS)
    written, digest = whole.read_bytes(), whole.with_suffix(".sha256")
    kept_digest = digest.read_text()
    damaged = {"truncated": written[: len(written) // 2], "empty": b"", "garbage": b"garbage"}
    if damage in damaged:
        whole.write_bytes(damaged[damage])
    elif damage == "no digest":
        digest.unlink()
    else:
        digest.write_bytes(b"\xff")
    assert compiler.loaded_library(ADDS).program(2, 3) == 5
    assert (whole.read_bytes(), digest.read_text()) == (written, kept_digest)


def test_libraries_that_others_could_change_are_not_run(fresh):
    programs = fresh / "cache" / "programs"
    programs.mkdir()
    programs.chmod(0o777)
    own = fresh / "temporary" / f"gan-sweep-cache-{os.getuid()}" / "programs"
    with pytest.warns(UserWarning, match="other users can write") as warned:
        assert compiler.loaded_library(ADDS).program(2, 3) == 5
    (line,) = (str(warning.message) for warning in warned)
    assert line.startswith(f"programs cannot be run in {programs} (other users can write there); ")
    assert line.endswith(f" is used, in {own}")
    assert (compiler.library_file(ADDS).parent, list(programs.iterdir())) == (own, [])
    programs.chmod(0o700)
    forget_compiler()
    assert compiler.library_file(ADDS).parent == programs


as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root may change owners and mount")


@pytest.mark.parametrize("mode", [0o777, pytest.param(0o775, marks=as_root)], ids=oct)
def test_libraries_whose_folder_others_could_put_another_in_the_place_of_are_not_run(fresh, mode):
    """Below a folder with the sticky bit only the owner can."""
    around = fresh / "cache"
    if os.getuid() == 0:
        os.chown(around, -1, 12345)
    around.chmod(mode)
    with pytest.warns(UserWarning, match=f"cache/programs .other users can change {around}.; .* is used, in"):
        assert compiler.loaded_library(ADDS).program(2, 3) == 5
    assert compiler.library_file(ADDS).parent.parent.parent == fresh / "temporary"
    forget_compiler()
    around.chmod(mode | 0o1000)
    assert compiler.library_file(ADDS).parent == around / "programs"


@as_root
@pytest.mark.parametrize("link", [False, True])
def test_libraries_below_a_folder_or_a_link_of_another_user_are_not_run(fresh, monkeypatch, link):
    around = fresh / "theirs"
    around.symlink_to(fresh / "cache") if link else around.mkdir()
    os.chown(around, 12345, 12345, follow_symlinks=False)
    monkeypatch.setenv("GAN_SWEEP_CACHE", str(around / "below"))
    with pytest.warns(UserWarning, match=f"other users can change {around}"):
        assert compiler.loaded_library(ADDS).program(2, 3) == 5


@as_root
def test_libraries_of_another_user_are_not_run(fresh):
    programs = fresh / "cache" / "programs"
    programs.mkdir()
    os.chown(programs, 12345, 12345)
    with pytest.warns(UserWarning, match=r"cache/programs \(it is another user's\); .* is used, in"):
        assert compiler.loaded_library(ADDS).program(2, 3) == 5


@as_root
def test_a_folder_of_another_user_among_temporary_files_is_left_alone(fresh, monkeypatch):
    taken = fresh / "temporary" / f"gan-sweep-cache-{os.getuid()}"
    taken.mkdir()
    os.chown(taken, 12345, 12345)
    monkeypatch.setenv("GAN_SWEEP_CACHE", "/proc/nothing")
    with pytest.warns(UserWarning, match="there is no cache folder .*proc/nothing.* is used") as warned:
        (folder,) = {cache.writable_cache_folder() for _ in range(2)}
    assert len(warned) == 1
    assert (folder.parent, folder.stat().st_mode & 0o777) == (taken.parent, 0o700)
    assert folder != taken
    assert compiler.library_file(ADDS).parent == folder / "programs"


def test_a_user_without_a_home_has_a_cache_among_temporary_files(fresh, monkeypatch):
    for name in ("GAN_SWEEP_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(cache.Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    folder = fresh / "temporary" / f"gan-sweep-cache-{os.getuid()}"
    with pytest.warns(UserWarning, match=rf"there is no cache folder \(no home\); {folder} is used"):
        assert cache.writable_cache_folder() == folder


def told_where_nothing_is_run_in(fresh: Path, *names: str) -> list[str]:
    """What a process says that sees these folders mounted so that nothing in them can be run; the mounts are its own,
    and end with it. Then what a program computed, or why there is none.
    """
    asked = (
        "import tempfile, warnings\n"
        "from pathlib import Path\n"
        "from gan_core.native import compiler, kept\n"
        "warnings.showwarning = lambda message, *rest: print(message)\n"
        f"kept.SHARED_MEMORY, tempfile.tempdir = Path({str(fresh / 'shared')!r}), {str(fresh / 'temporary')!r}\n"
        f"try: print(compiler.loaded_library({ADDS!r}).program(2, 3))\n"
        "except compiler.NoCompiler as error: print(error)\n"
    )
    mounts = "".join(f"mount -t tmpfs -o noexec tmpfs {fresh / name} && " for name in names)
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", f'{mounts}exec "$0" -c "$1"', sys.executable, asked],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"this user may not mount: {done.stderr}")
    return done.stdout.splitlines()


@pytest.mark.skipif(os.getuid() != 0 or shutil.which("unshare") is None, reason="only root may mount")
def test_where_the_cache_cannot_be_run_from_libraries_are_kept_elsewhere(fresh):
    """Mounted `noexec`: among temporary files, or else in shared memory; where that does not run either, nowhere."""
    own = f"gan-sweep-cache-{os.getuid()}/programs"
    refused = "programs cannot be run in {} (failed to map segment from shared object)"
    cache_refuses = refused.format(fresh / "cache" / "programs")
    temporary_refuses = refused.format(fresh / "temporary" / own)
    line, answer = told_where_nothing_is_run_in(fresh, "cache")
    assert (line, answer) == (f"{cache_refuses}; {shutil.which('cc')} is used, in {fresh}/temporary/{own}", "5")
    line, answer = told_where_nothing_is_run_in(fresh, "cache", "temporary")
    assert line.startswith(f"{cache_refuses}; {temporary_refuses}; ")
    assert (line.rpartition(" ")[2], answer) == (f"{fresh}/shared/{own}", "5")
    (line,) = told_where_nothing_is_run_in(fresh, "cache", "temporary", "shared")
    assert line.startswith(f"{cache_refuses}; {temporary_refuses}; programs cannot be run in {fresh}/shared/{own}")


def test_a_disk_that_is_full_is_no_traceback(fresh, monkeypatch):
    compiler.compiler()

    def full(self: Path, text: str) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(NoCompiler, match=r"programs cannot be kept in .* \(No space left on device\)"):
        compiler.library_file(ADDS)


def test_a_library_that_cannot_be_run_any_more_is_no_traceback(fresh, monkeypatch):
    compiler.compiler()

    def refuse(path: str) -> None:
        raise OSError(f"{path}: failed to map segment from shared object")

    monkeypatch.setattr(kept.ctypes, "CDLL", refuse)
    with pytest.raises(NoCompiler, match=r"so cannot be run \(failed to map segment from shared object\)"):
        compiler.loaded_library(ADDS)


def test_without_a_compiler_numbers_and_pairs_are_computed_otherwise_in_silence(fresh, monkeypatch):
    only_compiler(monkeypatch, fresh, None)
    assert normals.numbers_in_c() is None
    assert not pairs.read_in_c(torch.zeros(1), 3)
    assert toolchain.told() == []
    with pytest.raises(NoCompiler, match="no C compiler is installed"):
        compiler.compiler()


def test_common_libraries_are_made_where_there_is_a_compiler_and_nothing_is_said_where_not(fresh, monkeypatch):
    only_compiler(monkeypatch, fresh, None)
    compiler.make_common_libraries(convolutions=False, rounded=False)
    assert list((fresh / "cache").iterdir()) == []
    assert toolchain.told() == []


def test_a_new_folder_goes_with_its_process(tmp_path):
    code = "from gan_core.files.cache import _new_folder; print(_new_folder(pathlib.Path(sys.argv[1])))"
    asked = f"import pathlib, sys; {code}"
    done = subprocess.run([sys.executable, "-c", asked, tmp_path], check=True, capture_output=True, text=True)
    assert Path(done.stdout.strip()).parent == tmp_path
    assert list(tmp_path.glob("gan-sweep-cache-*")) == []
