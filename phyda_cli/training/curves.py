"""Curves of a training: a table of text, and event files for TensorBoard."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from phyda_cli.training.progress import Status

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["Curves"]


class Curves:
    """``NAME.log.tsv``, a row for every saved step, and ``tensorboard/NAME``, a point for every
    step.

    Both are cut at ``step``, from which the phase goes on: what came after it in a run that was
    stopped comes again.
    """

    def __init__(self, folder: Path, name: str, step: int) -> None:
        self._table = folder / f"{name}.log.tsv"
        if self._table.exists():
            header, *rows = self._table.read_text(encoding="utf-8").splitlines(keepends=True) or [
                ""
            ]
            kept = [row for row in rows if row.endswith("\n") and int(row.split("\t")[0]) <= step]
            self._table.write_text("".join([header, *kept]) if kept else "", encoding="utf-8")
        self._writer = _writer(folder / "tensorboard" / name, step)

    def add(self, status: Status, seconds: float) -> None:
        """The figures of a step, ``seconds`` after the start."""
        values = {
            "learning_rate": status.learning_rate,
            **{f"loss/{k}": v for k, v in status.terms.items()},
        }
        values |= {"steps_per_second": status.rate, "waiting": status.waiting}
        for key, value in values.items():
            self._writer.add_scalar(key, value, status.step)
        if status.saved:
            self._row(status, seconds)

    def scores(self, scores: dict[str, float], step: int) -> None:
        """Errors on validation cases."""
        for key, value in scores.items():
            self._writer.add_scalar(f"validation/{key}", value, step)

    def _row(self, status: Status, seconds: float) -> None:
        with self._table.open("a", encoding="utf-8") as log:
            if log.tell() == 0:
                log.write("step\tseconds\tlearning_rate\t" + "\t".join(status.terms) + "\n")
            values = "\t".join(f"{v:.6g}" for v in status.terms.values())
            log.write(f"{status.step}\t{seconds:.0f}\t{status.learning_rate:.3g}\t{values}\n")

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


def _writer(folder: Path, step: int) -> SummaryWriter:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.utils.tensorboard import SummaryWriter
    return SummaryWriter(str(folder), purge_step=step + 1 if step else None)
