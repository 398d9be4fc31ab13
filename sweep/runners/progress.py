"""What a person watches while a sweep runs: a live view in a terminal, plain lines elsewhere."""

import math
import os
import sys
import time
from collections import deque
from contextlib import nullcontext, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO

from results.objectives import score_name
from results.printable import printable
from sweep.ladder.ladder import Ladder
from sweep.ledger.snapshot import Snapshot

if TYPE_CHECKING:
    from rich.console import RenderableType


LIVE_SECONDS, PLAIN_SECONDS = 0.5, 5.0  # between two updates
RATE_WINDOW_SECONDS = 20.0
SLOWEST_IMAGES_PER_SECOND = 1.0  # below it nothing moves, for those who watch
TRAINING = "training"  # what is said where nothing moves and nobody said why: one block of steps takes long
LONGEST_LINE = 120  # characters of a plain line; what matters least is left out
PANEL_BAR = 50  # characters: with its label, less than a terminal of 80 columns has


class ProgressDisplay:
    """Shows snapshots of a sweep. Use as a context; `show` is cheap to call often where `due` says so.

    In a terminal that can move its cursor, a panel that fits 80 columns; in a file, a pipe or a notebook, a line of at
    most LONGEST_LINE characters every PLAIN_SECONDS, without rich. While no images are shown to discriminators, it
    says what is waited for, in place of a speed of 0: at once where that is new. silent: nothing but warnings.
    """

    def __init__(
        self, ladder: Ladder, objective: str, searched: list[str], stream: TextIO | None = None, *, silent: bool = False
    ) -> None:
        self.ladder, self.objective, self.searched = ladder, score_name(objective), searched
        self.stream = stream or sys.stdout
        self.silent = silent
        self.live = (
            not silent and self.stream.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")
        )
        self._period = LIVE_SECONDS if self.live else PLAIN_SECONDS
        self._started = self._shown = time.monotonic()
        self._points: deque[tuple[float, int]] = deque()
        self._view: Any = None
        self._latest: Snapshot | None = None
        self._phase = ""  # of this process, until something is trained
        self._phases_said: set[str] = set()
        self._noted: set[str] = set()
        self._ended = False

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        if self.live:
            from rich.console import Console
            from rich.live import Live

            console = Console(file=self.stream)
            self._view = Live(console=console, get_renderable=self._picture, refresh_per_second=4, transient=True)
            self._view.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._view is not None:
            with suppress(OSError) if error else nullcontext():  # a terminal that was closed is what may have ended us
                self._view.__exit__(kind, error, trace)

    def due(self) -> bool:
        """Whether the last update is old enough for another."""
        return time.monotonic() - self._shown >= self._period

    def say(self, text: str) -> None:
        """A line that stays."""
        text = printable(text)
        if self._view is not None:
            self._view.console.print(text, highlight=False, markup=False)
        else:
            print(text, file=self.stream, flush=True)

    def tell(self, text: str) -> None:
        """A line that stays, for those who follow how far the sweep is."""
        if not self.silent:
            self.say(text)

    def now(self, phase: str) -> None:
        """Says what is done from now on, in words that begin with "starting", "loading" or the like, until images are
        shown to discriminators.
        """
        self._phase = phase
        if self._view is None and phase not in self._phases_said and not self.is_training():
            self._phases_said.add(phase)
            self._shown = time.monotonic()
            self.tell(f"[{_duration(self._shown - self._started)}] {phase}")

    def show(self, snapshot: Snapshot) -> None:
        """Takes in where the sweep stands, and shows it when an update is due."""
        now = time.monotonic()
        self._points.append((now, snapshot.images))
        while now - self._points[0][0] > RATE_WINDOW_SECONDS and len(self._points) > 2:
            self._points.popleft()
        for note in snapshot.notes:
            if note not in self._noted:
                self.say(f"gan-sweep: warning: {note}")
        self._noted.update(snapshot.notes)
        finished = self._is_finished(snapshot)
        self._phase = "" if self.is_training() else self._phase
        news = {self._doing(snapshot)} - self._phases_said - {TRAINING, ""}
        if self._ended or not (self.due() or finished or news):
            return
        self._shown, self._ended, self._latest = now, finished, snapshot
        self._phases_said |= news
        if self._view is None:
            self.tell(self._line(snapshot))

    def images_per_second(self) -> float:
        """Over the last RATE_WINDOW_SECONDS, all lanes together; 0 before anything was shown."""
        if not self._points:
            return 0.0
        (start, before), (end, after) = self._points[0], self._points[-1]
        return (after - before) / (end - start) if end > start else 0.0

    def is_training(self) -> bool:
        """Whether there is a speed to speak of."""
        return self.images_per_second() >= SLOWEST_IMAGES_PER_SECOND

    def _doing(self, snapshot: Snapshot) -> str:
        """What is waited for where nothing moves; nothing where something does, or all is done."""
        if self.is_training() or self._is_finished(snapshot):
            return ""
        return snapshot.phase or self._phase or TRAINING

    def _is_finished(self, snapshot: Snapshot) -> bool:
        return snapshot.done == snapshot.trials and snapshot.confirmed == snapshot.confirmations

    def seconds_left(self, snapshot: Snapshot) -> float:
        """A guess, NaN until there is a rate, and when nothing is left. A trial that is training is taken to be half
        done, and those that wait to cost what the others do; before any has ended, the ladder's expectation stands for
        that. Confirmations, which begin when all trials have ended, go up the whole ladder.
        """
        if self._is_finished(snapshot):
            return math.nan
        searching = snapshot.done < snapshot.trials
        begun = snapshot.done + snapshot.running / 2
        expected = self.ladder.expected_images(snapshot.trials) - snapshot.images
        if snapshot.done:
            expected = snapshot.images / begun * (snapshot.trials - begun)
        unconfirmed = snapshot.confirmations - snapshot.confirmed - (0 if searching else snapshot.running / 2)
        images = (max(0.0, expected) if searching else 0.0) + unconfirmed * self.ladder.rungs_images[-1]
        rate = self.images_per_second()
        return images / rate if rate > 0 else math.nan

    def _facts(self, snapshot: Snapshot) -> dict[str, str]:
        """What there is to say, what matters most first; nothing where there is nothing."""
        best = "none yet"
        if snapshot.best_trial is not None:
            best = f"{snapshot.best_score:.4g} (trial {snapshot.best_trial})"
        left, ended = self.seconds_left(snapshot), ("pruned", "diverged", "collapsed", "failed", "out_of_memory")
        counts = {end: snapshot.outcomes.get(end, 0) for end in ended}
        facts = {
            "trials": f"{snapshot.done}/{snapshot.trials} done, {snapshot.running} running",
            f"best {self.objective}": best,
            "now": self._doing(snapshot),
            "confirmed": f"{snapshot.confirmed}/{snapshot.confirmations}" if snapshot.confirmations else "",
            "budget used": snapshot.budget_used,
            "time left": f"about {_duration(left)}" if math.isfinite(left) else "",
            "spent": _device_hours(snapshot.device_seconds) if snapshot.device_seconds else "",
            "defaults": f"{snapshot.baseline_score:.4g}" if math.isfinite(snapshot.baseline_score) else "",
            "ended early": ", ".join(f"{count} {end.replace('_', ' ')}" for end, count in counts.items() if count),
            "speed": f"{self.images_per_second():,.0f} images/s" if self.is_training() else "",
        }
        return {printable(name): printable(fact) for name, fact in facts.items() if fact}

    def _line(self, snapshot: Snapshot) -> str:
        line = f"[{_duration(time.monotonic() - self._started)}]"
        for number, (name, fact) in enumerate(self._facts(snapshot).items()):
            part = f"{'; ' if number else ' '}{name} {fact}"
            if number < 2 or len(line) + len(part) <= LONGEST_LINE:
                line += part
        return line

    def _picture(self) -> "RenderableType":
        """What a terminal shows at any time."""
        from rich.text import Text

        if self._latest is not None:
            return self._panel(self._latest)
        return Text(f"{_duration(time.monotonic() - self._started)}  {printable(self._phase)}")

    def _panel(self, snapshot: Snapshot) -> "RenderableType":
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        panel = Table.grid(padding=(0, 2))
        panel.add_column(no_wrap=True)
        panel.add_column()
        panel.add_row("sweep", ProgressBar(total=snapshot.trials, completed=snapshot.done, width=PANEL_BAR))
        for name, fact in self._facts(snapshot).items():
            panel.add_row(name, Text(fact))
        config = {name: snapshot.best_config[name] for name in self.searched if name in snapshot.best_config}
        if config:
            panel.add_row(
                "with", Text(printable(", ".join(f"{k.rpartition('.')[2]} {_short(v)}" for k, v in config.items())))
            )
        panel.add_row("elapsed", _duration(time.monotonic() - self._started))
        return panel


def _duration(seconds: float) -> str:
    """Minutes and seconds, with hours where there are any: 0:38, 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _device_hours(seconds: float) -> str:
    hours = seconds / 3600
    if hours < 0.1:
        return f"{seconds / 60:.1f} device-minutes"
    return f"{hours:.2f} device-hours" if hours < 10 else f"{hours:,.0f} device-hours"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
