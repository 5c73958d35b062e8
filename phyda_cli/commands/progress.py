"""Progress of downloads and trainings: bars and tables that change on a terminal, lines
elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from phyda_cli.commands.console import console, say
from phyda_cli.commands.tables import new_table
from phyda_cli.sources.pieces import Progress, readable
from phyda_cli.training.monitor import Lines as TrainingLines
from phyda_cli.training.monitor import Monitor, Status

if TYPE_CHECKING:
    from rich.live import Live
    from rich.progress import Progress as RichProgress
    from rich.table import Table

    from phyda_cli.training.estimate import Estimate

__all__ = [
    "Lines",
    "download_progress",
    "estimate_table",
    "estimate_text",
    "status_table",
    "training_monitor",
]


@contextmanager
def download_progress(received: Callable[[], int]) -> Iterator[Progress]:
    """Where a download shows its work; ``received`` gives the bytes that have come over the
    network."""
    if not sys.stderr.isatty():
        yield Lines(received)
        return
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Shown

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Shown(*columns, console=console()) as shown:
        yield _Bar(shown, received)


class Lines:
    """A line for each file, with the rate so far and the time left."""

    def __init__(self, received: Callable[[], int]) -> None:
        self._received = received
        self._begun = time.monotonic()
        self._total = self._done = 0

    def begin(self, nbytes: int) -> None:
        """Bytes of all fields to come."""
        self._total, self._begun = nbytes, time.monotonic()

    def start(self, name: str, done: int, total: int) -> None:
        """Tell which file is begun."""
        seconds = time.monotonic() - self._begun
        left = f", {spoken(seconds * (self._total / self._done - 1))} left" if self._done else ""
        rate = f", {_rate(self._received(), seconds)}" if self._done else ""
        say(f"{name} ({done + 1} of {total}{rate}{left})")

    def advance(self, nbytes: int) -> None:
        """Count; a line for each block would be too many."""
        self._done += nbytes


class _Bar:
    def __init__(self, shown: RichProgress, received: Callable[[], int]) -> None:
        self._shown, self._received = shown, received
        self._begun, self._before = time.monotonic(), received()
        self._task = shown.add_task("", rate="")

    def begin(self, nbytes: int) -> None:
        self._begun, self._before = time.monotonic(), self._received()
        self._shown.update(self._task, total=nbytes)

    def start(self, name: str, done: int, total: int) -> None:
        self._shown.update(self._task, description=f"{name} ({done + 1} of {total})")

    def advance(self, nbytes: int) -> None:
        rate = _rate(self._received() - self._before, time.monotonic() - self._begun)
        self._shown.update(self._task, advance=nbytes, rate=rate)


def _rate(nbytes: int, seconds: float) -> str:
    return f"{readable(nbytes / max(seconds, 1e-3))}/s"


def spoken(seconds: float) -> str:
    """``2 h 05 min``."""
    minutes = round(seconds / 60)
    return (
        f"{seconds:.0f} s"
        if seconds < 100
        else f"{minutes} min"
        if minutes < 100
        else f"{minutes // 60} h {minutes % 60:02d} min"
    )


@contextmanager
def training_monitor(live: bool) -> Iterator[Monitor]:
    """What shows a training; ``live`` is for the one process that has the screen."""
    if not (live and sys.stderr.isatty()):
        yield TrainingLines(say)
        return
    from rich.live import Live

    with Live(console=console(), refresh_per_second=4) as shown:
        yield _Screen(shown)


class _Screen:
    def __init__(self, live: Live) -> None:
        self._live = live

    def say(self, message: str) -> None:
        self._live.console.print(message, highlight=False, markup=False)

    def step(self, status: Status) -> None:
        self._live.update(status_table(status))


def status_table(status: Status) -> Table:
    """Where a phase is: step, loss, learning rate, pace, errors on validation cases against stage
    1's, time left."""
    columns = {"phase": status.phase, "step": f"{status.step}/{status.total}"}
    columns |= {name: f"{value:.4f}" for name, value in status.terms.items()}
    columns |= {
        "lr": f"{status.learning_rate:.2e}",
        "steps/s": f"{status.rate:.2f}",
        "data wait": f"{status.waiting:.1%}",
    }
    columns |= {f"validation {name}": f"{value:.4f}" for name, value in status.scores.items()}
    if "oi" in status.scores and status.phase in status.scores:
        columns["against oi"] = f"{status.scores[status.phase] / status.scores['oi'] - 1:+.1%}"
    columns["left"] = spoken(status.seconds_left)
    table = new_table("", (), list(columns))
    table.add_row(*columns.values())
    return table


def estimate_text(found: Estimate, minutes: float | None) -> str:
    """How long a training will take, as a sentence; ``minutes`` is its limit, where it has one."""
    parts = {"cases": found.simulating} | {p.name: p.seconds for p in found.phases}
    each = ", ".join(f"{name} {spoken(seconds)}" for name, seconds in parts.items())
    text = f"this takes about {spoken(found.seconds)} in all: {each}"
    if minutes and found.seconds > 60 * minutes:
        text += f"; with fewer cases and steps it ends within {spoken(60 * minutes)}"
    return text


def estimate_table(found: Estimate) -> Table:
    """What a training would take."""
    processes = f"{found.processes} process{'es' * (found.processes > 1)}"
    memory = f"{readable(found.memory)} (states {readable(found.states)})"
    memory += f", {readable(found.device_memory)} on the GPU" if found.device_memory else ""
    title = f"{processes}; memory of each {memory}; disk {readable(found.disk)}"
    columns = ("parameters", "steps", "s a step", "data wait", "time")
    table = new_table(title, ("",), columns)
    each = found.simulating / found.cases
    table.add_row("cases", "", f"{found.cases}", f"{each:.3f}", "", spoken(found.simulating))
    for p in found.phases:
        waiting = f"{p.waiting / p.step:.1%}"
        numbers = (f"{p.parameters:,}", f"{p.steps}", f"{p.step:.3f}", waiting)
        table.add_row(p.name, *numbers, spoken(p.seconds))
    parameters = f"{sum(p.parameters for p in found.phases):,}"
    table.add_row("in all", parameters, "", "", "", spoken(found.seconds))
    return table
