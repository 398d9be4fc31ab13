"""What a person watches while a sweep runs: a live view in a terminal, plain lines elsewhere."""

import math
import sys
import time
from collections import deque
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO

from sweep.ladder import Ladder

if TYPE_CHECKING:
    from rich.console import RenderableType


LIVE_SECONDS, PLAIN_SECONDS = 0.5, 5.0  # between two updates
RATE_WINDOW_SECONDS = 20.0


@dataclass(frozen=True)
class Snapshot:
    """Where a sweep stands. images: real images shown to all lanes so far; best: of the best trial, or None."""

    trials: int
    done: int
    running: int
    outcomes: dict[str, int]
    images: int
    best_trial: int | None
    best_score: float
    best_config: dict[str, Any]
    baseline_score: float
    device_seconds: float = 0.0
    budget_left: str = ""
    confirmations: int = 0
    confirmed: int = 0
    notes: tuple[str, ...] = ()


class Watch:
    """Shows snapshots of a sweep. Use as a context; `show` is cheap to call often where `due` says so."""

    def __init__(self, ladder: Ladder, objective: str, searched: list[str], stream: TextIO | None = None) -> None:
        self.ladder, self.objective, self.searched = ladder, objective, searched
        self.stream = stream or sys.stdout
        self.live = self.stream.isatty()
        self._period = LIVE_SECONDS if self.live else PLAIN_SECONDS
        self._started = self._shown = time.monotonic()
        self._points: deque[tuple[float, int]] = deque()
        self._view: Any = None
        self._last_line = ""

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        if self.live:
            from rich.console import Console
            from rich.live import Live

            self._view = Live(console=Console(file=self.stream), refresh_per_second=4, transient=True)
            self._view.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._view is not None:
            self._view.__exit__(kind, error, trace)

    def due(self) -> bool:
        """Whether the last update is old enough for another."""
        return time.monotonic() - self._shown >= self._period

    def say(self, text: str) -> None:
        """A line that stays."""
        if self._view is not None:
            self._view.console.print(text, highlight=False)
        else:
            print(text, file=self.stream, flush=True)

    def show(self, snapshot: Snapshot) -> None:
        """Takes in where the sweep stands, and shows it when an update is due."""
        now = time.monotonic()
        self._points.append((now, snapshot.images))
        while now - self._points[0][0] > RATE_WINDOW_SECONDS and len(self._points) > 2:
            self._points.popleft()
        finished = snapshot.done == snapshot.trials
        if not self.due() and not finished:
            return
        self._shown = now
        if self._view is not None:
            self._view.update(self._panel(snapshot))
        elif (line := self._line(snapshot)) != self._last_line:
            self._last_line = line
            print(line, file=self.stream, flush=True)

    def images_per_second(self) -> float:
        """Over the last RATE_WINDOW_SECONDS, all lanes together."""
        (start, before), (end, after) = self._points[0], self._points[-1]
        return (after - before) / (end - start) if end > start else 0.0

    def seconds_left(self, snapshot: Snapshot) -> float:
        """A guess, NaN until there is a rate. A trial that is training is taken to be half done, and those that wait to
        cost what the others do; before any has ended, the ladder's expectation stands for that.
        """
        begun = snapshot.done + snapshot.running / 2
        expected = self.ladder.expected_images(snapshot.trials) - snapshot.images
        if snapshot.done:
            expected = snapshot.images / begun * (snapshot.trials - begun)
        rate = self.images_per_second()
        return max(0.0, expected) / rate if rate > 0 else math.nan

    def _facts(self, snapshot: Snapshot) -> dict[str, str]:
        counts = snapshot.outcomes
        trials = f"{snapshot.done}/{snapshot.trials} done, {snapshot.running} running, {counts['pruned']} pruned"
        trials += f", {counts['diverged']} diverged"
        trials += "".join(f", {counts[end]} {end}" for end in ("collapsed", "failed") if counts[end])
        best = "none yet"
        if snapshot.best_trial is not None:
            best = f"{snapshot.best_score:.4g} (trial {snapshot.best_trial}"
            if math.isfinite(snapshot.baseline_score):
                best += f"; defaults {snapshot.baseline_score:.4g}"
            best += ")"
        left = self.seconds_left(snapshot)
        speed = f"{self.images_per_second():,.0f} images/s"
        speed += f", about {_duration(left)} left" if math.isfinite(left) else ""
        return {"trials": trials, f"best {self.objective}": best, "speed": speed}

    def _line(self, snapshot: Snapshot) -> str:
        elapsed = _duration(time.monotonic() - self._started)
        return f"[{elapsed}] " + "; ".join(f"{k} {v}" for k, v in self._facts(snapshot).items())

    def _panel(self, snapshot: Snapshot) -> "RenderableType":
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        facts = Table.grid(padding=(0, 2))
        facts.add_row("sweep", ProgressBar(total=snapshot.trials, completed=snapshot.done, width=50))
        for name, value in self._facts(snapshot).items():
            facts.add_row(name, value)
        config = {name: snapshot.best_config[name] for name in self.searched if name in snapshot.best_config}
        if config:
            facts.add_row("with", ", ".join(f"{k.rpartition('.')[2]} {_short(v)}" for k, v in config.items()))
        facts.add_row("elapsed", _duration(time.monotonic() - self._started))
        return facts


def _duration(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 60}:{whole % 60:02d}"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
