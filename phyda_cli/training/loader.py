"""The mini-batches of a step, read and drawn in a thread while the step before is computed."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from types import TracebackType

import numpy as np
import torch

from phyda_cli.training.cases import Cases
from phyda_cli.training.objectives import Draw, MiniBatch
from phyda_cli.training.run import Run

__all__ = ["Loader", "mini_batches"]

AHEAD = 2


def mini_batches(cases: Cases, run: Run, draw: Draw, step: int) -> list[MiniBatch]:
    """This process's part of the cases of ``step``, in ``accumulate`` mini-batches.

    Cases and draws of a whole step are functions of (seed, step) alone; how many processes divide
    them changes nothing. Where the last cases of an epoch are fewer than the mini-batches, some get
    a case that does not count.
    """
    settings, ranks = run.settings, run.ranks
    epoch, offset = divmod(step * settings.batch, cases.count)
    order = np.random.default_rng([settings.seed, 1, epoch]).permutation(cases.count)
    numbers = order[offset : offset + settings.batch]
    generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + step)
    sign = None
    if settings.network.odd:
        sign = 2.0 * torch.randint(2, (numbers.size,), generator=generator) - 1.0
    draws = draw(torch.Size((numbers.size, *cases.shape)), generator)
    divided = np.array_split(np.arange(numbers.size), ranks.size * settings.accumulate)
    out = []
    for part in divided[ranks.rank :: ranks.size]:
        taken = part if part.size else np.zeros(1, int)
        batch = cases.batch(numbers[taken], run.device)
        if sign is not None:
            batch = batch.turned(sign[taken])
        own = tuple(d[taken].to(run.device) for d in draws)
        out.append(MiniBatch(batch, own, part.size / numbers.size))
    return out


class Loader:
    """Makes the mini-batches of steps ``first``, ``first`` + 1, … ahead of their use; the training
    has ``waited`` so many seconds for them."""

    def __init__(self, make: Callable[[int], list[MiniBatch]], first: int) -> None:
        self._make, self._first = make, first
        self._made: queue.Queue[list[MiniBatch] | BaseException] = queue.Queue(AHEAD)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="loader", daemon=True)
        self.waited = 0.0

    def next(self) -> list[MiniBatch]:
        """The mini-batches of the next step. What failed in the thread is raised here."""
        began = time.perf_counter()
        found = self._made.get()
        self.waited += time.perf_counter() - began
        if isinstance(found, BaseException):
            raise found
        return found

    def _work(self) -> None:
        step = self._first
        while not self._over.is_set():
            try:
                made = self._make(step)
            except BaseException as error:
                return self._put(error)
            self._put(made)
            step += 1

    def _put(self, made: list[MiniBatch] | BaseException) -> None:
        while not self._over.is_set():
            try:
                self._made.put(made, timeout=0.5)
                return
            except queue.Full:
                continue

    def __enter__(self) -> Loader:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        while not self._made.empty():
            self._made.get_nowait()
        self._thread.join()
