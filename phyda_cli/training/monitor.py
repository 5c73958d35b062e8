"""How a training goes while it runs: on the screen, in a table of text, and as event files for
TensorBoard where that is installed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["Curves", "Lines", "Monitor", "Status", "figures"]


@dataclass(frozen=True)
class Status:
    """A phase after a step: the ``terms`` of its loss, the last ``scores`` on validation cases,
    ``rate`` in steps a second, the share of the time ``waiting`` for data and whether the step was
    ``saved``."""

    phase: str
    step: int
    total: int
    terms: Mapping[str, float]
    scores: Mapping[str, float]
    learning_rate: float
    rate: float
    waiting: float
    saved: bool

    @property
    def seconds_left(self) -> float:
        """To the end of the schedule, at the pace so far."""
        return (self.total - self.step) / max(self.rate, 1e-9)


class Monitor(Protocol):
    """What shows the training to the user."""

    def say(self, message: str) -> None:
        """Show a message that stays."""
        ...

    def step(self, status: Status) -> None:
        """Show the status after a step."""
        ...


class Lines:
    """A monitor of plain lines: messages, and one for every saved step."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def say(self, message: str) -> None:
        """Show ``message`` unchanged."""
        self._say(message)

    def step(self, status: Status) -> None:
        """Show step and loss of saved steps."""
        if status.saved:
            self._say(f"{status.phase} step {status.step}/{status.total} " + figures(status.terms))


def figures(values: Mapping[str, float]) -> str:
    """``name 0.1234`` for each."""
    return " ".join(f"{name} {value:.4f}" for name, value in values.items())


class Curves:
    """``NAME.log.tsv``, a row for every saved step, and ``tensorboard/NAME``, a point for every
    step.

    Both are cut at ``step``, from which the phase goes on: what came after it in a run that was
    stopped comes again.
    """

    def __init__(self, folder: Path, name: str, step: int) -> None:
        self._table = folder / f"{name}.log.tsv"
        if self._table.exists():
            lines = self._table.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [
                row for row in lines[1:] if row.endswith("\n") and int(row.split("\t")[0]) <= step
            ]
            self._table.write_text("".join([lines[0], *kept]) if kept else "", encoding="utf-8")
        self._writer = _writer(folder / "tensorboard" / name, step)

    def add(self, status: Status, seconds: float) -> None:
        """The figures of a step, ``seconds`` after the start."""
        self._points({f"loss/{k}": v for k, v in status.terms.items()}, status.step)
        values = {"learning_rate": status.learning_rate, "steps_per_second": status.rate}
        self._points(values | {"waiting": status.waiting}, status.step)
        if status.saved:
            self._row(status, seconds)

    def scores(self, scores: Mapping[str, float], step: int) -> None:
        """Errors on validation cases."""
        self._points({f"validation/{k}": v for k, v in scores.items()}, step)

    def close(self) -> None:
        """Write what is left."""
        if self._writer:
            self._writer.close()

    def _points(self, values: Mapping[str, float], step: int) -> None:
        if self._writer:
            for key, value in values.items():
                self._writer.add_scalar(key, value, step)

    def _row(self, status: Status, seconds: float) -> None:
        with self._table.open("a", encoding="utf-8") as log:
            if log.tell() == 0:
                log.write("step\tseconds\tlearning_rate\t" + "\t".join(status.terms) + "\n")
            values = "\t".join(f"{v:.6g}" for v in status.terms.values())
            log.write(f"{status.step}\t{seconds:.0f}\t{status.learning_rate:.3g}\t{values}\n")


def _writer(folder: Path, step: int) -> SummaryWriter | None:
    """None without the extra ``tensorboard``: the table of text is always there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return None
    return SummaryWriter(str(folder), purge_step=step + 1 if step else None)
