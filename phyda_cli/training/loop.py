"""A training phase: one network, one loss, over cached cases; resumable at any step, on any number
of processes."""

from __future__ import annotations

import copy
import math
import pickle
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from phyda_cli.errors import GateError, InputError, UsageError
from phyda_cli.files.publish import publish
from phyda_cli.parallel.training import averaged, without_sync
from phyda_cli.training.cases import Cases
from phyda_cli.training.loader import Loader, mini_batches
from phyda_cli.training.monitor import Curves, Status, figures
from phyda_cli.training.objectives import Draw, Loss, MiniBatch, Objective, no_draws
from phyda_cli.training.run import Run

__all__ = ["Check", "Pace", "Phase", "newest_state", "save_state"]

MEASURED_STEPS = 12
WARM_UP = 100
DAMAGED = (OSError, RuntimeError, EOFError, pickle.UnpicklingError, KeyError, ValueError)
Check = Callable[[], dict[str, float]]


@dataclass(frozen=True)
class Pace:
    """``seconds`` a step, those of them spent ``waiting`` for data, and ``cpu`` seconds: what it
    would take where nothing else runs."""

    seconds: float
    waiting: float
    cpu: float


@dataclass
class Best:
    """The averaged ``weights`` that scored best, at which ``step``; ``stale`` checks since then
    were no better."""

    weights: dict[str, Tensor]
    score: float = math.inf
    step: int = 0
    stale: int = 0


class Phase:
    """Train one network by ``loss``; it ends with the averaged weights, those of the best check
    where there is one.

    Every random draw is a function of (seed, step), so a phase that was stopped continues as if it
    had not been. The network itself holds averaged weights, at checks and at the end; a copy is
    trained.
    """

    def __init__(
        self,
        name: str,
        network: nn.Module,
        loss: Loss,
        cases: Cases,
        epochs: float,
        run: Run,
        draw: Draw = no_draws,
    ) -> None:
        settings = run.settings
        if settings.batch < run.ranks.size * settings.accumulate:
            raise UsageError(
                f"a batch of {settings.batch} cases cannot be divided among {run.ranks.size} "
                f"processes in {settings.accumulate} parts each",
                hint="raise batch, or lower accumulate",
            )
        self.name, self.network = name, network
        self._run, self._settings, self._ranks = run, settings, run.ranks
        self._mini_batches = partial(mini_batches, cases, run, draw)
        self._trained = copy.deepcopy(network).to(run.device)
        if settings.compile:
            self._trained.compile()
        self._module = averaged(Objective(self._trained, loss), run.ranks, run.device)
        self._optimizer = torch.optim.AdamW(
            self._trained.parameters(),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
        )
        self._average = {k: v.detach().clone() for k, v in self._trained.state_dict().items()}
        self.planned = max(1, round(epochs * cases.count / settings.batch))
        self.total = self.planned
        self._best = Best(self._average)
        self.step, self.seconds = 0, 0.0
        self._limit: float | None = None  # seconds
        self.scores: dict[str, float] = {}
        if state := run.ranks.first(partial(newest_state, self._states, name)):
            self._restore(state)

    @property
    def _states(self) -> Path:
        return self._run.folder / "states"

    @property
    def finished(self) -> bool:
        """At the end of the schedule, or no better for as many checks as ``patience`` allows."""
        patience = self._settings.patience
        return self.step >= self.total or bool(patience and self._best.stale >= patience)

    def run(self, check: Check | None = None, keep_best: bool = True) -> None:
        """Train to the end of the schedule and load the weights to keep into the network.

        ``check`` scores the network on validation cases now and then; its entry under the phase's
        name is to be small, and those weights are kept for which it was smallest, or with
        ``keep_best`` false the last.
        """
        if not self.finished:
            self._trained.train()
            if (plan := self._run.plan) is not None:
                self._limit = self.seconds + self._ranks.broadcast(plan.share(self.name))
            first = self._ranks.rank == 0
            curves = Curves(self._run.folder, self.name, self.step) if first else None
            self._settle()
            with Loader(self._mini_batches, self.step) as loader:
                self._fit(loader, check, curves)
            if curves:
                curves.close()
        self.network.load_state_dict(self._best.weights if check and keep_best else self._average)

    def pace(self, steps: int) -> Pace:
        """The pace of ``steps`` steps after two that do not count, of the slowest process; writes
        nothing."""
        self._trained.train()
        self._settle()
        with Loader(self._mini_batches, self.step) as loader:
            for _ in range(2):
                self._one_step(loader.next())
            began, busy, waited = time.monotonic(), time.process_time(), loader.waited
            for _ in range(steps):
                self._one_step(loader.next())
            spent = time.monotonic() - began, loader.waited - waited, time.process_time() - busy
        return Pace(*(max(self._ranks.agree(s)) / steps for s in spent))

    def _fit(self, loader: Loader, check: Check | None, curves: Curves | None) -> None:
        first, before, spent = self.step, self.seconds, 0.0
        every = self._settings.check_every
        while not self.finished:
            began = time.monotonic()
            self._fit_to_budget()
            terms = self._one_step(loader.next())
            spent += time.monotonic() - began
            checking = check is not None and (self.step % every == 0 or self.step == self.total)
            if check and checking:
                self._keep_best(check)
                if curves:
                    curves.scores(self.scores, self.step)
            self.seconds += time.monotonic() - began
            saving = checking or self.finished or self.step % self._settings.save_every == 0
            status = Status(
                self.name,
                self.step,
                self.total,
                terms,
                self.scores,
                self._learning_rate(),
                rate=(self.step - first) / spent,
                waiting=loader.waited / spent,
                saved=saving,
            )
            if curves:
                curves.add(status, self.seconds)
            if saving:
                self._save()
            self._run.monitor.step(status)
        longest = max(self._ranks.agree(loader.waited))
        self._say_pace(self.step - first, spent, longest, self.seconds - before - spent)

    def _say_pace(self, steps: int, spent: float, waited: float, other: float) -> None:
        message = (
            f"{self.name}: {steps} steps of {spent / steps:.3g} s, {1 - waited / spent:.1%} of it "
            f"computing, {waited / spent:.1%} waiting for data; checks and files {other:.0f} s"
        )
        if self.step < self.total:
            message += f"; ended early, no better since step {self._best.step}"
        self._run.monitor.say(message)

    def _keep_best(self, check: Check) -> None:
        self.network.load_state_dict(self._average)
        self.scores = check()
        score = self.scores[self.name]
        if score < self._best.score:
            weights = {k: v.clone() for k, v in self._average.items()}
            self._best = Best(weights, score, self.step)
        else:
            self._best.stale += 1
        self._run.monitor.say(f"{self.name} step {self.step} validation {figures(self.scores)}")

    def _settle(self) -> None:
        """The first backward pass decides in which order the processes sum gradients: it is thrown
        away, so that all that count are summed alike."""
        if self._ranks.size > 1:
            for mini_batch in self._mini_batches(self.step):
                self._module(mini_batch)[0].backward()
            self._optimizer.zero_grad(set_to_none=True)

    def _one_step(self, batch: list[MiniBatch]) -> dict[str, float]:
        for group in self._optimizer.param_groups:
            group["lr"] = self._learning_rate()
        self._optimizer.zero_grad(set_to_none=True)
        found = [self._backward(b, last=b is batch[-1]) for b in batch]
        terms = {k: torch.stack([f[k] for f in found]).sum() for k in found[0]}
        total = self._ranks.total(torch.stack(list(terms.values())).float())
        norm = nn.utils.clip_grad_norm_(self._module.parameters(), max_norm=1.0)
        if not norm.isfinite():
            raise GateError(
                f"{self.name}: the gradient of step {self.step + 1} is not finite",
                hint="lower learning_rate, or train with precision float32",
            )
        self._optimizer.step()
        self.step += 1
        decay = min(self._settings.ema, (1 + self.step) / (10 + self.step))
        for key, value in self._trained.state_dict().items():
            self._average[key].lerp_(value.detach(), 1 - decay)
        return dict(zip(terms, total.tolist(), strict=True)) | {"gradient": float(norm)}

    def _backward(self, batch: MiniBatch, last: bool) -> dict[str, Tensor]:
        """Add the gradient of a mini-batch, weighted so that the mean over the processes is the
        whole batch's; returns weighted terms."""
        with nullcontext() if last else without_sync(self._module):
            loss, terms = self._module(batch)
            (loss * (batch.weight * self._ranks.size)).backward()
        return {k: v * batch.weight for k, v in terms.items()}

    def _learning_rate(self) -> float:
        warm = min(1.0, (self.step + 1) / WARM_UP)
        cosine = 1 + math.cos(math.pi * self.step / self.total)
        return self._settings.learning_rate * warm * 0.5 * cosine

    def _fit_to_budget(self) -> None:
        """Fit the schedule, up to the planned one, to what the measured pace affords within the
        time that the plan gives."""
        if self._limit and self.step >= MEASURED_STEPS and self.step % MEASURED_STEPS == 0:
            affordable = int(self.step * self._limit / self._ranks.broadcast(self.seconds))
            self.total = max(self.step + 1, min(self.planned, affordable))

    def _save(self) -> None:
        if self._ranks.rank > 0:
            return
        state = {
            "network": self._trained.state_dict(),
            "average": self._average,
            "optimizer": self._optimizer.state_dict(),
            "best": self._best.weights,
            "best_score": self._best.score,
            "best_step": self._best.step,
            "stale": self._best.stale,
            "scores": self.scores,
            "step": self.step,
            "total": self.total,
            "seconds": self.seconds,
        }
        save_state(self._states, self.name, state, self._settings.keep)

    def _restore(self, state: dict[str, Any]) -> None:
        device = self._run.device
        self._trained.load_state_dict(state["network"])
        self._average = {k: v.to(device) for k, v in state["average"].items()}
        self._optimizer.load_state_dict(state["optimizer"])
        best = {k: v.to(device) for k, v in state["best"].items()}
        self._best = Best(best, state["best_score"], state["best_step"], state["stale"])
        self.step, self.total = state["step"], state["total"]
        self.seconds, self.scores = state["seconds"], state["scores"]


def save_state(folder: Path, name: str, state: dict[str, Any], keep: int) -> Path:
    """Write ``state`` under its ``step``; of the files of ``name`` the last ``keep`` stay, and the
    one of its ``best_step``."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{state['step']:07d}.pt"
    with publish(path, overwrite=True) as temporary:
        torch.save(state, temporary)
    best = folder / f"{name}-{state['best_step']:07d}.pt"
    for old in sorted(folder.glob(f"{name}-*.pt"))[:-keep]:
        if old != best:
            old.unlink()
    return path


def newest_state(folder: Path, name: str) -> dict[str, Any] | None:
    """The last state of ``name`` that can be read, on the CPU; None where there is no file. Raises
    InputError where none can be read."""
    files = sorted(folder.glob(f"{name}-*.pt"), reverse=True)
    for path in files:
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            return state
        except DAMAGED:
            continue
    if files:
        raise InputError(
            f"{files[0]} cannot be read, nor any older state",
            hint=f"remove {folder} to train again from the start",
        )
    return None
