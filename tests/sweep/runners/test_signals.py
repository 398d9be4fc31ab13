"""Signals that ask a command to end: as Ctrl-C, once, and only where nobody else has a say in them."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from events import LONGEST_SECONDS
from tiny_runs import TINY, settings

from results.store import JsonLines
from sweep.runners.signals import ENDING, ending_as_ctrl_c, interrupt, noticed_at_once, remembered_handlers

ROOT = Path(__file__).absolute().parents[3]


@pytest.mark.parametrize("number", ENDING, ids=lambda number: number.name)
def test_the_first_one_interrupts_and_what_follows_while_we_end_is_ignored(number):
    before = {each: signal.getsignal(each) for each in ENDING}
    if before[number] is signal.SIG_IGN:
        pytest.skip("it is ignored here, as under nohup")
    steps = []
    with pytest.raises(KeyboardInterrupt), ending_as_ctrl_c():
        try:
            os.kill(os.getpid(), number)
            steps.append("not interrupted")
        finally:
            for each in ENDING:
                os.kill(os.getpid(), each)
            steps.append("ended")
    assert steps == ["ended"]
    assert {each: signal.getsignal(each) for each in ENDING} == before


def test_who_is_deaf_to_one_or_has_a_handler_keeps_that():
    heard = []
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN), signal.signal(signal.SIGUSR1, lambda *_: heard.append(1))
    try:
        with ending_as_ctrl_c(), ending_as_ctrl_c():  # as a command does, and Ray's runner in it
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGUSR1)
            assert heard == [1]
    finally:
        signal.signal(signal.SIGHUP, before[0])
        signal.signal(signal.SIGUSR1, before[1])


def test_handlers_are_what_they_were_after_a_library_set_its_own():
    with ending_as_ctrl_c():
        ours, restore_handlers = signal.getsignal(signal.SIGTERM), remembered_handlers()
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        restore_handlers()
        assert signal.getsignal(signal.SIGTERM) is ours
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
        restore_handlers()
        assert {signal.getsignal(each) for each in ENDING} == {signal.SIG_IGN}


def test_a_program_has_the_handlers_again_that_it_had_before_an_interrupt():
    """The context of Ray's runner lies in that of a command, and a second signal ends neither of them twice."""

    def own(*_: object) -> None:
        """The program's."""

    before = signal.signal(signal.SIGTERM, own)
    try:
        theirs = {each: signal.getsignal(each) for each in ENDING}
        with suppress(KeyboardInterrupt), ending_as_ctrl_c():
            try:
                with ending_as_ctrl_c():
                    interrupt()  # as while Ray starts, whose own handler raises SystemExit
            finally:
                assert signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN
                assert signal.getsignal(signal.SIGTERM) is own
                os.kill(os.getpid(), signal.SIGUSR1)
        assert {each: signal.getsignal(each) for each in ENDING} == theirs
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("waiting", [False, True])
def test_a_signal_is_noticed_in_another_thread_unless_the_program_waits_for_signals_itself(waiting):
    noticed = threading.Event()
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing if waiting else -1)
    try:
        with suppress(KeyboardInterrupt), ending_as_ctrl_c(), noticed_at_once(noticed.set):
            os.kill(os.getpid(), signal.SIGTERM)
        assert waiting or noticed.wait(LONGEST_SECONDS)
        assert signal.set_wakeup_fd(before) == (writing if waiting else -1)
        assert noticed.is_set() is not waiting
    finally:
        os.close(reading)
        os.close(writing)


def test_in_another_thread_than_the_main_one_nothing_is_set():
    found = []

    def look() -> None:
        with ending_as_ctrl_c(), noticed_at_once(lambda: None):
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGTERM)]


@pytest.mark.skipif(not hasattr(os, "forkpty"), reason="needs pseudo-terminals")
@pytest.mark.skipif(
    signal.getsignal(signal.SIGHUP) is signal.SIG_IGN, reason="under nohup nothing ends with a terminal"
)
def test_a_terminal_that_is_closed_ends_a_sweep_as_ctrl_c_does(tmp_path):
    """The system sends SIGHUP, and whatever is written to the terminal from then on fails."""
    import pty

    sizes = (*TINY[:4], "ladder.rungs_images=[1024, 65536]", "trials=8", "lanes_per_cohort=2")
    command = [sys.executable, "-m", "sweep", "run", "--local", "--out", str(tmp_path / "run"), *settings(*sizes)]
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", CONTROLLED, *command], cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    reader = threading.Thread(target=_drain, args=(ours,), daemon=True)
    reader.start()
    rows = JsonLines(tmp_path / "run" / "rows.jsonl")
    while not rows.read() and process.poll() is None:
        time.sleep(0.01)
    os.set_blocking(ours, False)
    os.close(ours)
    assert process.wait(timeout=60) == 130
    assert {row["rung"] for row in rows.read()} <= {0, 1}


CONTROLLED = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def _drain(terminal: int) -> None:
    try:
        while os.read(terminal, 65_536):
            pass
    except OSError:
        return
