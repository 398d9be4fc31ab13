"""Displays how far a sweep is: a live panel in a terminal, plain lines elsewhere."""

import math
import os
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO

from results.objectives import score_name
from results.printable import printable, printable_lines
from sweep.ladder.ladder import Ladder
from sweep.ledger.failures import in_words
from sweep.ledger.snapshot import Snapshot
from sweep.runners.node_lines import node_lines
from sweep.runners.notebook import notebook_line
from sweep.runners.progress_file import ProgressFile

if TYPE_CHECKING:
    from rich.console import RenderableType


LIVE_SECONDS, PLAIN_SECONDS = 0.5, 5.0  # between two updates
RATE_WINDOW_SECONDS = 20.0
SLOWEST_IMAGES_PER_SECOND = 1.0  # below this speed a person sees nothing move
TRAINING = "training"  # shown where nothing moves and no reason is known: a block of steps takes long
LONGEST_LINE, LONGEST_DETAILED = 120, 80  # characters of a plain line; the least important facts are left out
PANEL_BAR = 50  # characters: with its label it fits a terminal of 80 columns


class ProgressDisplay:
    """Displays snapshots of a sweep. Use it as a context. Taking a snapshot costs something, so `due` tells whether the
    display would show one.

    In a terminal that can move its cursor, the display is a panel that fits 80 columns. In a file or a pipe it is a
    line of at most LONGEST_LINE characters every PLAIN_SECONDS, and in a notebook such a line that is renewed in its
    place; rich is not loaded for these. While no images are shown to discriminators, it tells what the sweep waits for
    instead of a speed of 0, at once where that is new. silent: only warnings are displayed. detailed: the panel also
    says what each node and each cohort does, and a line has at most LONGEST_DETAILED characters. `kept_in` keeps a file
    up to date, for those who watch from elsewhere.
    """

    def __init__(
        self,
        ladder: Ladder,
        objective: str,
        searched: list[str],
        stream: TextIO | None = None,
        *,
        silent: bool = False,
        detailed: bool = False,
    ) -> None:
        self.ladder, self.objective, self.searched = ladder, score_name(objective), searched
        self.stream = stream or sys.stdout
        self.silent, self.detailed = silent, detailed
        self._file: ProgressFile | None = None
        self.live = (
            not silent and self.stream.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")
        )
        self._notebook = notebook_line() if stream is None and not silent and not self.live else None
        self._period = LIVE_SECONDS if self.live or self._notebook else PLAIN_SECONDS
        self._started = self._shown = time.monotonic()
        self._points: deque[tuple[float, int]] = deque()
        self._view: Any = None
        self._latest: Snapshot | None = None
        self._phase = ""  # what this process does, until something is trained
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
            with suppress(OSError) if error else nullcontext():  # perhaps the closed terminal ended us
                self._view.__exit__(kind, error, trace)

    @contextmanager
    def kept_in(self, file: ProgressFile) -> Iterator[None]:
        """Within this context the file says what is displayed."""
        self._file = file
        try:
            yield
        finally:
            self._file = None
            file.remove()

    def begin(self, seconds_ago: float) -> None:
        """Counts the time from so many seconds ago on, instead of from when the display was entered, and displays the
        next snapshot at once.
        """
        self._started, self._shown = time.monotonic() - seconds_ago, -math.inf

    def due(self) -> bool:
        """Whether the last update is old enough for another."""
        return time.monotonic() - self._shown >= self._period

    def say(self, text: str) -> None:
        """Prints a line, or several, that stay."""
        text = printable_lines(text)
        if self._view is not None:
            self._view.console.print(text, highlight=False, markup=False)
        else:
            print(text, file=self.stream, flush=True)

    def tell(self, text: str) -> None:
        """Prints a line that stays, unless the display is silent."""
        if not self.silent:
            self.say(text)

    def now(self, phase: str) -> None:
        """Displays what is done from now on, until images are shown to discriminators. phase: begins with a verb:
        "starting", "loading".
        """
        self._phase = phase
        if self._view is None and phase not in self._phases_said and not self.is_training():
            self._phases_said.add(phase)
            self._shown = time.monotonic()
            self._print(f"[{_duration(self._shown - self._started)}] {phase}")

    def show(self, snapshot: Snapshot) -> None:
        """Takes a snapshot in, and displays it when an update is due. New warnings are displayed at once."""
        now = time.monotonic()
        if (file := self._file) is not None:  # another thread may show the last snapshot
            file.keep(snapshot, now - self._started)
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
            self._print(self._line(snapshot))

    def _print(self, line: str) -> None:
        """Prints how far the sweep is, in a notebook in place of what was said of it before."""
        if self._notebook is None:
            self.tell(line)
        else:
            self._notebook.show(printable(line))

    def images_per_second(self) -> float:
        """The speed of all lanes together over the last RATE_WINDOW_SECONDS; 0 before the first snapshot."""
        if not self._points:
            return 0.0
        (start, before), (end, after) = self._points[0], self._points[-1]
        return (after - before) / (end - start) if end > start else 0.0

    def is_training(self) -> bool:
        """Whether images are shown to discriminators at a speed that a person notices."""
        return self.images_per_second() >= SLOWEST_IMAGES_PER_SECOND

    def _doing(self, snapshot: Snapshot) -> str:
        """What the sweep waits for; empty while it trains and when all is done."""
        if self.is_training() or self._is_finished(snapshot):
            return ""
        return snapshot.phase or self._phase or TRAINING

    def _is_finished(self, snapshot: Snapshot) -> bool:
        return snapshot.done == snapshot.trials and snapshot.confirmed == snapshot.confirmations

    def seconds_left(self, snapshot: Snapshot) -> float:
        """An estimate of the seconds to the end; NaN until a speed is known, and when nothing is left. A trial that is
        training counts as half done, and one that waits as costing what the others cost on average, or what the ladder
        expects as long as none has ended. Confirmations begin when all trials have ended, and climb the whole ladder.
        The speed is what the devices in use have done so far, or that of the last seconds before the first row.
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
        learnt = snapshot.images_per_second
        rate = learnt if math.isfinite(learnt) else self.images_per_second()
        return images / rate if rate > 0 else math.nan

    def _facts(self, snapshot: Snapshot) -> dict[str, str]:
        """The facts to display, the most important first. Empty ones are left out."""
        best = "none yet"
        if snapshot.best_trial is not None:
            best = f"{snapshot.best_score:.4g} (trial {snapshot.best_trial})"
        if snapshot.best_breaks:
            first = snapshot.best_breaks.partition(" and ")[0].removeprefix("class balance: ")
            best = f"none keeps the limits; nearest: trial {snapshot.best_trial}, {first}"
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
            if number < 2 or len(line) + len(part) <= (LONGEST_DETAILED if self.detailed else LONGEST_LINE):
                line += part
        return line

    def _picture(self) -> "RenderableType":
        """What the terminal shows: the panel, or the phase before the first snapshot."""
        from rich.text import Text

        if self._latest is not None:
            panel = self._panel(self._latest)
            if not self.detailed:
                return panel
            from rich.console import Group

            return Group(panel, *map(Text, node_lines(self._latest, self._view.console.width)))
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
        if found := in_words(snapshot.best_config, self.searched):
            panel.add_row("with", Text(printable(found)))
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
