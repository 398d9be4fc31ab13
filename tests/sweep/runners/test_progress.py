"""What a person watches fits where it is shown, says each thing once, and guesses no worse than it must."""

import io
import math
import re
import sys
from dataclasses import replace
from typing import Any

import pytest
from events import Clock
from rich.console import Console

from sweep.ladder.ladder import Ladder
from sweep.ledger.snapshot import SeenNode, Snapshot
from sweep.runners import progress
from sweep.runners.notebook import notebook_line
from sweep.runners.progress import LONGEST_LINE, RATE_WINDOW_SECONDS, ProgressDisplay

LADDER = Ladder((1_000, 4_000), 0.5)
CONFIG = {
    "lane.generator_lr": 1.23456e-4,
    "lane.discriminator_lr": 3e-4,
    "lane.ema_half_life_images": 12_345.6,
    "lane.discriminator_steps": 3,
    "structure.generator_width": 128,
    "structure.loss": "non_saturating",
    "structure.latent_size": 64,
}
START = Snapshot(
    trials=8,
    done=0,
    running=4,
    outcomes={},
    images=0,
    best_trial=None,
    best_score=math.nan,
    best_config={},
    baseline_score=math.nan,
)
FULL = Snapshot(
    trials=1_024,
    done=612,
    running=256,
    outcomes={"completed": 100, "pruned": 480, "diverged": 20, "collapsed": 7, "failed": 5},
    images=123_456_789,
    best_trial=512,
    best_score=3.8123,
    best_config=CONFIG,
    baseline_score=66.81,
    device_seconds=431.0,
    budget_used="1:10 of 2:00 hours",
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    clock.seconds = 1_000.0  # as on a machine that has run for some time
    monkeypatch.setattr(progress, "time", clock)
    return clock


def watch(stream: Any, searched: list[str] | None = None) -> ProgressDisplay:
    return ProgressDisplay(LADDER, "fidelity", list(CONFIG) if searched is None else searched, stream)


def panel_lines(snapshot: Snapshot, width: int, running_for: float, clock: Clock) -> list[str]:
    shown = watch(io.StringIO())
    shown.show(snapshot)
    clock.seconds += running_for
    shown.show(replace(snapshot, images=snapshot.images + 10_000_000))
    console = Console(width=width, file=io.StringIO())
    console.print(shown._panel(snapshot))
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


@pytest.mark.parametrize("snapshot", [START, FULL])
def test_the_panel_fits_80_columns_and_breaks_no_word(clock, snapshot):
    narrow = panel_lines(snapshot, 80, 10, clock)
    assert max(map(len, narrow)) <= 80
    broken = {word for line in narrow for word in line.split()} - {
        word for line in panel_lines(snapshot, 400, 10, clock) for word in line.split()
    }
    assert broken == set()
    assert len(narrow) <= 14


def test_the_panel_says_what_is_spent_and_what_is_left(clock):
    shown = {line[:14].strip(): line[15:].strip() for line in panel_lines(FULL, 400, 10, clock)}
    assert shown["trials"] == "612/1024 done, 256 running"
    assert shown["best fidelity"] == "3.812 (trial 512)"
    assert shown["defaults"] == "66.81"
    assert shown["budget used"] == "1:10 of 2:00 hours"
    assert shown["spent"] == "0.12 device-hours"
    assert shown["ended early"] == "480 pruned, 20 diverged, 7 collapsed, 5 failed"
    assert shown["speed"] == "1,000,000 images/s"
    assert shown["time left"] == "about 0:47"  # 123,456,789 images were 740 trials, half of the 256 done; 284 to go
    assert shown["with"].startswith("generator_lr 0.0001235, discriminator_lr 0.0003, ema_half_life_images 1.235e+04")


def test_what_is_not_known_is_not_said(clock):
    shown = watch(io.StringIO())
    shown.show(START)
    assert shown._line(START) == "[0:00] trials 0/8 done, 4 running; best fidelity none yet; now training"
    shown.show(replace(START, phase="compiling the steps of mlp"))
    assert shown._line(replace(START, done=8, running=0)) == "[0:00] trials 8/8 done, 0 running; best fidelity none yet"


def test_as_long_as_no_trial_keeps_the_limits_the_nearest_is_named(clock):
    off = replace(FULL, best_breaks="class balance: 8 of 10 classes and coverage: 0.31 of 0.98")
    line = watch(io.StringIO())._line(off)
    assert "; best fidelity none keeps the limits; nearest: trial 512, 8 of 10 classes" in line
    assert len(line) <= LONGEST_LINE
    assert Snapshot.from_plain(off.plain()) == off


def test_a_plain_line_is_never_longer_than_its_limit_and_says_first_what_matters_most(clock):
    shown = watch(io.StringIO())
    shown.show(replace(FULL, images=0))
    clock.seconds += 4_000
    shown.show(FULL)
    line = shown._line(FULL)
    assert len(line) <= LONGEST_LINE
    assert line.startswith(
        "[1:06:40] trials 612/1024 done, 256 running; best fidelity 3.812 (trial 512); budget used 1:10 of 2:00 hours"
    )
    longest = max(len(shown._line(replace(FULL, images=10**n, device_seconds=10.0**n))) for n in range(12))
    assert 100 < longest <= LONGEST_LINE


def test_a_file_gets_a_line_every_five_seconds_without_rich_and_none_twice(clock, monkeypatch):
    monkeypatch.setitem(sys.modules, "rich", None)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    file = io.StringIO()
    with watch(file) as shown:
        for step in range(100):
            clock.seconds += 0.3
            shown.show(replace(START, images=100 * step, running=4))
        for _ in range(3):  # a finished sweep is shown at its last rung, at its end, and by whoever follows it
            clock.seconds += 0.5
            shown.show(replace(START, images=10_000, done=8, running=0))
    lines = file.getvalue().splitlines()
    times = [line.partition("]")[0] for line in lines]
    assert len(lines) == 5 + 1  # 5.1 seconds apart, and the end
    assert len(set(times)) == len(times)
    assert [line for line in lines if "8/8 done" in line] == lines[-1:]
    assert not re.search(r"[\x1b\r]", file.getvalue())


class Notebook:
    """A line below a cell, which remembers what it showed."""

    def __init__(self) -> None:
        self.shown = list[str]()

    def show(self, text: str) -> None:
        self.shown.append(text)


def test_a_notebook_gets_one_line_that_is_renewed_and_nothing_printed_but_warnings(clock, monkeypatch, capsys):
    notebook = Notebook()
    monkeypatch.setattr(progress, "notebook_line", lambda: notebook)
    with ProgressDisplay(LADDER, "fidelity", []) as shown:
        shown.now("loading PyTorch")
        for step in range(4):
            clock.seconds += 0.6
            shown.show(replace(START, images=1_000 * step, notes=("red \x1b[31m",)))
        shown.tell("going on with runs/x")
    assert [line.partition("] ")[2].partition(";")[0] for line in notebook.shown] == [
        "loading PyTorch",
        *["trials 0/8 done, 4 running"] * 4,
    ]
    assert capsys.readouterr().out == "gan-sweep: warning: red \\x1b[31m\ngoing on with runs/x\n"
    file = io.StringIO()
    with watch(file) as shown:
        clock.seconds += 6
        shown.show(START)
    assert (len(notebook.shown), file.getvalue().count("\n")) == (5, 1)  # what is written elsewhere is written there
    with ProgressDisplay(LADDER, "fidelity", [], silent=True) as shown:
        shown.show(START)
    assert len(notebook.shown) == 5


def test_no_notebook_is_found_where_there_is_none():
    assert notebook_line() is None


def test_a_terminal_gets_a_panel_and_one_that_cannot_move_its_cursor_lines(clock, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    with watch(terminal) as shown:
        clock.seconds += 6
        shown.show(FULL)
        shown.say("a path [bold] stays as it is")
    assert "\x1b[" in terminal.getvalue()
    assert "a path [bold] stays as it is" in terminal.getvalue()
    monkeypatch.setenv("TERM", "dumb")
    terminal = Terminal()
    with watch(terminal) as shown:
        clock.seconds += 6
        shown.show(FULL)
    assert terminal.getvalue().startswith("[0:06] trials 612/1024 done")
    assert "\x1b[" not in terminal.getvalue()


def test_a_panel_with_details_says_what_each_node_does_in_80_columns(clock, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "40")
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    shown = ProgressDisplay(LADDER, "fidelity", ["lane.generator_lr"], terminal, detailed=True)
    with shown:
        clock.seconds += 6
        shown.show(replace(FULL, nodes=(SeenNode("gpu1", 1), SeenNode("gpu2", 1, "it is being drained"))))
    lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue()).splitlines()
    assert "node gpu2 is given no cohort: it is being drained" in map(str.rstrip, lines)
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("phase", ["", "compiling the steps of mlp"])
def test_no_line_has_a_speed_of_0_and_each_without_a_speed_says_what_is_waited_for(clock, phase):
    file = io.StringIO()
    images = [0, 0, 0, 64, 64, 10_000, *[20_000] * 30, 30_000]  # waits, trains, scores for longer than the window
    with watch(file) as shown:
        shown.now("starting Ray")
        for seen in images:
            clock.seconds += 6.0
            shown.show(replace(START, images=seen, phase=phase))
    lines = file.getvalue().splitlines()
    assert lines[0] == "[0:00] starting Ray"
    assert len(lines) == 1 + len(images)
    waiting = [line for line in lines[1:] if "speed" not in line]
    assert len(waiting) > 20
    assert all("; now " in line for line in waiting)
    assert {line.partition("; now ")[2].partition(";")[0] for line in waiting} <= {"starting Ray", "training", phase}
    assert not re.search(r"speed 0\b", file.getvalue())
    assert not [line for line in lines if "speed" in line and "; now " in line]
    assert len([line for line in lines if "starting Ray" in line]) == (1 if phase else 1 + images.index(64))


def test_what_is_waited_for_is_said_at_once_each_time_once_and_not_where_something_is_trained(clock):
    file = io.StringIO()
    with watch(file) as shown:
        for phase in ("starting Ray", "starting Ray", "starting the processes that train"):
            clock.seconds += 0.1
            shown.now(phase)
        for phase in ("training the classifier of digits", "training the classifier of digits", ""):
            clock.seconds += 0.1
            shown.show(replace(START, phase=phase))
        clock.seconds += 1
        shown.show(replace(START, images=1_000))
        clock.seconds += 0.1
        shown.now("loading digits")
        shown.show(replace(START, images=1_000, phase="scoring samples"))
    said = [line.partition("] ")[2] for line in file.getvalue().splitlines()]
    assert said[:2] == ["starting Ray", "starting the processes that train"]
    assert [line.partition("; now ")[2] for line in said[2:]] == ["training the classifier of digits"]


def test_a_terminal_shows_what_is_waited_for_before_there_is_anything_to_count(clock, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    with watch(terminal) as shown:
        shown.now("starting Ray")
        clock.seconds += 3
        shown._view.refresh()
    assert "0:03  starting Ray" in terminal.getvalue()
    assert "trials" not in terminal.getvalue()


def test_a_note_stays_and_is_said_once(clock):
    file = io.StringIO()
    with watch(file) as shown:
        shown.show(replace(START, notes=("wandb is switched off",)))
        shown.show(replace(START, notes=("wandb is switched off",)))
        shown.show(replace(START, notes=("mlflow is switched off", "wandb is switched off")))
    assert file.getvalue().splitlines() == [
        "gan-sweep: warning: wandb is switched off",
        "gan-sweep: warning: mlflow is switched off",
    ]


def test_the_rate_is_of_the_last_window_and_the_time_left_follows_from_it(clock):
    shown = watch(io.StringIO())
    for _ in range(100):  # slow
        shown.show(replace(START, images=int(10 * (clock.seconds - 1_000))))
        clock.seconds += 1
    before = int(10 * (clock.seconds - 1_000))
    for second in range(int(RATE_WINDOW_SECONDS) + 2):  # and then ten times as fast
        shown.show(replace(START, images=before + 100 * second))
        clock.seconds += 1
    assert shown.images_per_second() == pytest.approx(100.0)
    half = replace(START, done=3, running=2, images=4_000)  # 4 trials' worth of 8
    assert shown.seconds_left(half) == pytest.approx(4_000 / 100.0)
    assert shown.seconds_left(START) == pytest.approx(LADDER.expected_images(8) / 100.0)


def test_the_time_left_follows_from_what_the_devices_in_use_have_done_where_that_is_known(clock):
    """Of two cohorts, the one on the fast node has just ended: what both showed in the last seconds says too much."""
    shown = watch(io.StringIO())
    for second in range(3):
        shown.show(replace(START, images=1_000 * second))
        clock.seconds += 1
    half = replace(START, done=3, running=2, images=4_000, images_per_second=10.0)
    assert shown.seconds_left(half) == pytest.approx(4_000 / 10.0)


def test_the_time_left_counts_confirmations_which_go_up_the_whole_ladder(clock):
    shown = watch(io.StringIO())
    for second in range(3):
        shown.show(replace(START, images=100 * second))
        clock.seconds += 1
    half = replace(START, done=3, running=2, images=4_000)
    assert shown.seconds_left(replace(half, confirmations=6)) == pytest.approx((4_000 + 6 * 4_000) / 100)
    searched = replace(START, done=8, running=0, images=16_000, confirmations=6)
    assert shown.seconds_left(searched) == pytest.approx(6 * 4_000 / 100)
    begun = replace(searched, running=2, confirmed=1)
    assert shown.seconds_left(begun) == pytest.approx(4 * 4_000 / 100)
    assert math.isnan(shown.seconds_left(replace(searched, confirmed=6)))


def test_no_rate_and_no_trial_left_is_no_guess(clock):
    shown = watch(io.StringIO())
    shown.show(START)
    assert math.isnan(shown.seconds_left(START))
    clock.seconds += 1
    shown.show(replace(START, images=100))
    assert math.isfinite(shown.seconds_left(START))
    assert math.isnan(shown.seconds_left(replace(START, done=8, running=0)))


def test_a_snapshot_without_the_newer_fields_is_one():
    assert (START.device_seconds, START.budget_used, START.notes) == (0.0, "", ())


def test_what_is_spent_has_digits_that_say_something(clock):
    shown = watch(io.StringIO())
    shown.show(START)
    spent = {seconds: shown._facts(replace(START, device_seconds=seconds))["spent"] for seconds in (36.0, 431.0, 9e4)}
    assert spent == {36.0: "0.6 device-minutes", 431.0: "0.12 device-hours", 9e4: "25 device-hours"}
