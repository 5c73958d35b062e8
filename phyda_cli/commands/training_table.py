"""A training on the screen: a table that changes with every step on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from phyda_cli.commands.console import console, say
from phyda_cli.commands.progress import spoken
from phyda_cli.commands.tables import new_table
from phyda_cli.sources.pieces import readable
from phyda_cli.training.progress import Lines, Status, Watch

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

    from phyda_cli.training.estimate import Estimate

__all__ = ["estimate_table", "status_table", "training_watch"]


@contextmanager
def training_watch(live: bool) -> Iterator[Watch]:
    """Where a training tells of itself; ``live`` is for the one process that has the screen."""
    if not (live and sys.stderr.isatty()):
        yield Lines(say)
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
    from rich.box import SIMPLE
    from rich.table import Table

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
    table = Table(box=SIMPLE)
    for name in columns:
        table.add_column(name, justify="right")
    table.add_row(*columns.values())
    return table


def estimate_table(found: Estimate) -> Table:
    """What a training would take."""
    processes = f"{found.processes} process{'es' * (found.processes > 1)}"
    memory = f"{readable(found.memory)} (states {readable(found.states)})"
    memory += f", {readable(found.device_memory)} on the GPU" if found.device_memory else ""
    title = f"{processes}; memory of each {memory}; disk {readable(found.disk)}"
    columns = ("parameters", "steps", "s a step", "data wait", "time")
    table = new_table(title, ("",), columns)
    seconds = found.cases * found.case_seconds
    table.add_row("cases", "", f"{found.cases}", f"{found.case_seconds:.3f}", "", spoken(seconds))
    for p in found.phases:
        waiting = f"{p.waiting / p.step:.1%}"
        numbers = (f"{p.parameters:,}", f"{p.steps}", f"{p.step:.3f}", waiting)
        table.add_row(p.name, *numbers, spoken(p.seconds))
    parameters = f"{sum(p.parameters for p in found.phases):,}"
    table.add_row("in all", parameters, "", "", "", spoken(found.seconds))
    return table
