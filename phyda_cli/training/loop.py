"""A training phase: one network, one loss, over cached cases; resumable at any step, on any number
of processes."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from phyda_cli.errors import GateError, UsageError
from phyda_cli.parallel.training import World, local, scattered, whole
from phyda_cli.settings.training import TrainingSettings
from phyda_cli.training import snapshots
from phyda_cli.training.cases import Cases
from phyda_cli.training.curves import Curves
from phyda_cli.training.loader import Loader, shares
from phyda_cli.training.objectives import Draw, Loss, Objective, Share, no_draws
from phyda_cli.training.progress import Status, Watch, figures

__all__ = ["Check", "Pace", "Phase"]

MEASURED_STEPS = 12
WARM_UP = 100
Check = Callable[[], dict[str, float]]


@dataclass(frozen=True)
class Pace:
    """``seconds`` a step, those of them spent ``waiting`` for data, and ``cpu`` seconds: what it
    would take where nothing else runs."""

    seconds: float
    waiting: float
    cpu: float


class Phase:
    """Train one network by ``loss``; it ends with the averaged weights, those of the best check
    where there is one.

    Every random draw is a function of (seed, step), so a phase that was stopped continues as if it
    had not been. The network itself holds averaged weights, at checks and at the end; a copy is
    trained, which FSDP may divide among the processes.
    """

    def __init__(
        self,
        name: str,
        network: nn.Module,
        loss: Loss,
        cases: Cases,
        settings: TrainingSettings,
        epochs: float,
        folder: Path,
        world: World,
        draw: Draw = no_draws,
    ) -> None:
        if settings.batch < world.size * settings.accumulate:
            raise UsageError(
                f"a batch of {settings.batch} cases cannot be divided among {world.size} "
                f"processes in {settings.accumulate} parts each",
                hint="raise batch, or lower accumulate",
            )
        self.name, self.network, self.cases, self.settings, self.folder, self.world = (
            name,
            network,
            cases,
            settings,
            folder,
            world,
        )
        self._shares = partial(shares, cases, settings, draw, world)
        self._trained = copy.deepcopy(network)
        if settings.channels_last:
            self._trained.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if settings.compile:
            self._trained.compile()
        self._module = world.module(Objective(self._trained, loss))
        self._optimizer = torch.optim.AdamW(
            self._trained.parameters(),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
        )
        self._average = {k: v.detach().clone() for k, v in self._trained.state_dict().items()}
        self.planned = max(1, round(epochs * cases.count / settings.batch))
        self.total = self.planned
        self._best = whole(self._average)
        self._best_score, self._best_step, self._stale = math.inf, 0, 0
        self.step, self.seconds, self.waited = 0, 0.0, 0.0
        self.scores: dict[str, float] = {}
        if state := world.first(partial(snapshots.newest, self._states, name)):
            self._restore(state)

    @property
    def _states(self) -> Path:
        return self.folder / "states"

    @property
    def finished(self) -> bool:
        """At the end of the schedule, or no better for as many checks as ``patience`` allows."""
        return self.step >= self.total or bool(
            self.settings.patience and self._stale >= self.settings.patience
        )

    def run(self, watch: Watch, check: Check | None = None, keep_best: bool = True) -> None:
        """Train to the end of the schedule and load the weights to keep into the network.

        ``check`` scores the network on validation cases now and then; its entry under the phase's
        name is to be small, and those weights are kept for which it was smallest, or with
        ``keep_best`` false the last.
        """
        if not self.finished:
            self._trained.train()
            curves = Curves(self.folder, self.name, self.step) if self.world.rank == 0 else None
            self._settle()
            with Loader(self._shares, self.step) as loader:
                self._fit(loader, watch, check, curves)
            if curves:
                curves.close()
        self.network.load_state_dict(self._best if check and keep_best else whole(self._average))

    def pace(self, steps: int) -> Pace:
        """Of ``steps`` steps after two that do not count, for the slowest process; writes
        nothing."""
        self._trained.train()
        self._settle()
        with Loader(self._shares, self.step) as loader:
            for _ in range(2):
                self._one_step(loader.next())
            began, busy, waited = time.monotonic(), time.process_time(), loader.waited
            for _ in range(steps):
                self._one_step(loader.next())
            spent = time.monotonic() - began, loader.waited - waited, time.process_time() - busy
        return Pace(*(max(self.world.gathered(s)) / steps for s in spent))

    def _fit(
        self, loader: Loader, watch: Watch, check: Check | None, curves: Curves | None
    ) -> None:
        first, before, spent = self.step, self.seconds, 0.0
        while not self.finished:
            began = time.monotonic()
            self._fit_to_budget()
            terms = self._one_step(loader.next())
            spent += time.monotonic() - began
            checking = check is not None and (
                self.step % self.settings.check_every == 0 or self.step == self.total
            )
            if check and checking:
                self._keep_best(check, watch)
                if curves:
                    curves.scores(self.scores, self.step)
            self.seconds += time.monotonic() - began
            saving = checking or self.finished or self.step % self.settings.save_every == 0
            rate, waiting = (self.step - first) / spent, loader.waited / spent
            status = Status(
                self.name,
                self.step,
                self.total,
                terms,
                self.scores,
                self._learning_rate(),
                rate,
                waiting,
                saving,
            )
            if curves:
                curves.add(status, self.seconds)
            if saving:
                self._save()
            watch.step(status)
        steps, longest = self.step - first, max(self.world.gathered(loader.waited))
        watch.say(
            f"{self.name}: {steps} steps of {spent / steps:.3g} s, {1 - longest / spent:.1%} of "
            f"it computing, {longest / spent:.1%} "
            f"waiting for data; checks and files {self.seconds - before - spent:.0f} s"
            + (
                f"; ended early, no better since step {self._best_step}"
                if self.step < self.total
                else ""
            )
        )

    def _keep_best(self, check: Check, watch: Watch) -> None:
        average = whole(self._average)
        self.network.load_state_dict(average)
        self.scores = check()
        self._stale += 1
        if self.scores[self.name] < self._best_score:
            self._best_score, self._best_step, self._stale = self.scores[self.name], self.step, 0
            self._best = {k: v.clone() for k, v in average.items()}
        watch.say(f"{self.name} step {self.step} validation " + figures(self.scores))

    def _settle(self) -> None:
        """The first backward pass decides in which order DDP sums gradients: it is thrown away, so
        that all that count are summed alike."""
        if self.world.size > 1:
            for share in self._shares(self.step):
                self.world.fabric.backward(self._module(share)[0])
            self._optimizer.zero_grad(set_to_none=True)

    def _one_step(self, parts: list[Share]) -> dict[str, float]:
        for group in self._optimizer.param_groups:
            group["lr"] = self._learning_rate()
        self._optimizer.zero_grad(set_to_none=True)
        found = [self._backward(share, last=share is parts[-1]) for share in parts]
        terms = {k: torch.stack([f[k] for f in found]).sum() for k in found[0]}
        total = self.world.total(torch.stack(list(terms.values())).float())
        try:
            norm = whole(
                self.world.fabric.clip_gradients(
                    self._module, self._optimizer, max_norm=1.0, error_if_nonfinite=True
                )
            )
        except RuntimeError as error:
            if "non-finite" not in str(error):
                raise
            hint = "lower learning_rate, or train with precision float32"
            raise GateError(
                f"{self.name}: the gradient of step {self.step + 1} is not finite", hint=hint
            ) from error
        self._optimizer.step()
        self.step += 1
        decay = min(self.settings.ema, (1 + self.step) / (10 + self.step))
        for key, value in self._trained.state_dict().items():
            local(self._average[key]).lerp_(local(value.detach()), 1 - decay)
        return dict(zip(terms, total.tolist(), strict=True)) | {"gradient": float(norm)}

    def _backward(self, share: Share, last: bool) -> dict[str, Tensor]:
        """Add a share's gradient, weighted so that the mean over the processes is that of the whole
        batch; returns weighted terms."""
        fabric = self.world.fabric
        with (
            nullcontext()
            if self.world.size == 1
            else fabric.no_backward_sync(self._module, enabled=not last)
        ):
            loss, terms = self._module(share)
            fabric.backward(loss * (share.weight * self.world.size))
        return {k: v * share.weight for k, v in terms.items()}

    def _learning_rate(self) -> float:
        warm = min(1.0, (self.step + 1) / WARM_UP)
        return (
            self.settings.learning_rate
            * warm
            * 0.5
            * (1 + math.cos(math.pi * self.step / self.total))
        )

    def _fit_to_budget(self) -> None:
        """Fit the schedule, up to the planned one, to what the measured pace affords within
        ``max_minutes``."""
        if (
            self.settings.max_minutes
            and self.step >= MEASURED_STEPS
            and self.step % MEASURED_STEPS == 0
        ):
            affordable = int(
                self.step * self.settings.max_minutes * 60 / self.world.same(self.seconds)
            )
            self.total = max(self.step + 1, min(self.planned, affordable))

    def _save(self) -> None:
        state = {
            "network": whole(self._trained.state_dict()),
            "average": whole(self._average),
            "optimizer": whole(self._optimizer.state_dict()),
            "best": self._best,
            "best_score": self._best_score,
            "best_step": self._best_step,
            "stale": self._stale,
            "scores": self.scores,
            "step": self.step,
            "total": self.total,
            "seconds": self.seconds,
        }
        if self.world.rank == 0:
            snapshots.save(self._states, self.name, state, self.settings.keep)

    def _restore(self, state: dict[str, Any]) -> None:
        own = self._trained.state_dict()
        with torch.no_grad():
            for key, value in own.items():
                local(value).copy_(local(scattered(state["network"][key], value)))
                local(self._average[key]).copy_(local(scattered(state["average"][key], value)))
        moments = state["optimizer"]["state"]
        for number, parameter in enumerate(self._trained.parameters()):
            of_shape = {
                k: scattered(v, parameter)
                for k, v in moments[number].items()
                if v.shape == parameter.shape
            }
            moments[number] |= of_shape
        self._optimizer.load_state_dict(state["optimizer"])
        self._best = {k: v.to(self.world.device) for k, v in state["best"].items()}
        self._best_score, self._best_step, self._stale = (
            state["best_score"],
            state["best_step"],
            state["stale"],
        )
        self.step, self.total, self.seconds, self.scores = (
            state["step"],
            state["total"],
            state["seconds"],
            state["scores"],
        )
