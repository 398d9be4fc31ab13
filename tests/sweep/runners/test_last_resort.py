"""How a driver ends whose main thread blocks in a call of Ray that does not return. Nothing here starts Ray."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

BLOCKED = """
import ctypes, signal, sys, threading
from contextlib import suppress
from pathlib import Path
from sweep.runners.ray import head
from sweep.runners.signals import ending_as_ctrl_c

local, how = Path(sys.argv[1]), sys.argv[2]
head.LOCAL_ENDING_SECONDS = 0.05
last = head.LastResort(lambda lost: print(lost, flush=True), local)

def block():
    "As a call in C that no signal interrupts."
    mutex, lock = ctypes.create_string_buffer(64), ctypes.CDLL(None).pthread_mutex_lock
    lock(mutex)
    with suppress(KeyboardInterrupt):  # where the signal comes before the call
        print("blocks", flush=True)
        lock(mutex)
    lock(mutex)

with ending_as_ctrl_c():
    if how == "theirs":
        signal.signal(signal.SIGUSR1, lambda *_: None)
    with last.in_time():
        if how == "lost":
            threading.Timer(0.05, last.end, ["Ray's head process died"]).start()
        block()
"""


def blocked(folder: Path, how: str) -> subprocess.Popen[str]:
    (folder / "session").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", BLOCKED, str(folder / "session"), how], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "blocks\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1], ids=lambda number: number.name)
def test_a_signal_ends_it_with_130_and_a_line_and_the_folder_of_a_local_cluster_is_removed(tmp_path, number):
    process = blocked(tmp_path, "signal")
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert (process.returncode, said, (tmp_path / "session").exists()) == (130, "interrupted\n", False)


def test_a_signal_that_the_program_handles_itself_ends_nothing(tmp_path):
    process = blocked(tmp_path, "theirs")
    process.send_signal(signal.SIGUSR1)
    os.kill(process.pid, signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "interrupted\n")


def test_what_is_lost_ends_it_with_2_and_a_line(tmp_path):
    process = blocked(tmp_path, "lost")
    said, _ = process.communicate(timeout=60)
    assert (process.returncode, said) == (2, "Ray's head process died\n")
