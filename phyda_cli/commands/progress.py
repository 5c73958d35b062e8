"""Progress of a download: a bar with rate and time left on a terminal, a line for each file
elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from phyda_cli.commands.console import console, say
from phyda_cli.sources.pieces import Progress, readable

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

__all__ = ["Lines", "download_progress", "spoken"]


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
