"""Standard streams that are closed, full or read by nobody any more: no traceback, and an exit code that says so."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).absolute().parents[3]
FULL = "gan-sweep: cannot write to standard output: No space left on device\n"
PRINTS = (
    "import sys\nfrom sweep.commands.streams import with_streams\n"
    "def main():\n print('x' * 100_000)\n print('\\udcff')\n sys.stderr.write('told\\n')\n return {code}\n"
    "sys.exit(with_streams(main))\n"
)


def ends(code: int, redirected: str) -> tuple[int, str]:
    """The exit code and standard error of a process that prints and answers this code, its streams as a shell says."""
    command = f"'{sys.executable}' -c \"$0\" {redirected}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command, PRINTS.format(code=code)], cwd=ROOT, capture_output=True, text=True, timeout=100
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("redirected", "code", "says"),
    [
        (">/dev/null", 0, "told\n"),
        (">/dev/full", 1, "told\n" + FULL),
        ("| true", 0, "told\n"),
        (">&-", 0, "told\n"),
        (">/dev/null 2>&-", 0, ""),
        ("<&- >&- 2>&-", 0, ""),
        (">/dev/full 2>/dev/full", 1, ""),
    ],
    ids=str,
)
def test_a_stream_that_fails_is_said_once_and_nothing_else_is(redirected, code, says):
    assert ends(0, redirected) == (code, says)


def test_a_failure_of_the_command_is_not_hidden_by_one_of_the_stream():
    assert ends(2, ">/dev/full") == (2, "told\n" + FULL)


@pytest.mark.parametrize("arguments", [["--help"], ["spaces"], ["results", "none"]], ids=" ".join)
def test_every_command_ends_so(tmp_path, arguments):
    """Also those that argparse ends by itself."""
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "sweep", *arguments]
        done = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True)
    if arguments == ["results", "none"]:
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    else:
        assert (done.returncode, done.stderr) == (1, FULL)


def test_a_file_that_is_opened_later_is_not_taken_for_a_stream_that_was_closed(tmp_path):
    code = (
        "import os, subprocess, sys\nfrom sweep.commands.streams import with_streams\n"
        "def main():\n"
        f" with open({str(tmp_path / 'rows')!r}, 'w') as file:\n"
        "  print('for nobody')\n  os.system('echo for nobody')\n  subprocess.run(['sh', '-c', 'echo no >&2'])\n"
        "  file.write('a row')\n return 0\n"
        "sys.exit(with_streams(main))\n"
    )
    command = f"'{sys.executable}' -c \"$0\" <&- >&- 2>&-"
    assert subprocess.run(["bash", "-c", command, code], cwd=ROOT).returncode == 0
    assert (tmp_path / "rows").read_text() == "a row"
