"""How good an encoder is in a cycle of its own over the validation season.

Single cases cannot show it: in a cycle an analysis meets the errors that the ones before have left,
so that a small one may grow for weeks.
"""

from __future__ import annotations

import copy
import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from phyda_cli.errors import UsageError
from phyda_cli.files.publish import publish_text
from phyda_cli.files.resume import read_record
from phyda_cli.model.background_spread import BackgroundSpread
from phyda_cli.model.checkpoint import Checkpoint, save_checkpoint
from phyda_cli.model.denoiser import Denoiser
from phyda_cli.model.encoder import Encoder
from phyda_cli.settings.data import TwinSettings
from phyda_cli.simulation.jcm import STEPS_PER_DAY
from phyda_cli.simulation.twin_cycle import cycle_errors, run_twin_cycle
from phyda_cli.training.data import TrainingData
from phyda_cli.training.run import Run

__all__ = ["OwnCycle"]

Method = Literal["oi", "phyda"]
SETTLING_DAYS = 5  # until the first background, which is old, is forgotten
TOLERATED = 1.02  # RMSE of a channel over oi's


@dataclass(frozen=True)
class Score:
    """``rmse`` of the analyses of a cycle over the usual background's, and by channel: the same
    (``errors``), and the ``ratio`` of their rms error to their rms spread."""

    rmse: float
    errors: tuple[float, ...]
    ratio: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class OwnCycle:
    """Cycles over the nature run in ``nature``, with what all encoders of ``run`` share. Scores are
    kept in the run's folder under the hash of the weights, so that no cycle is run twice."""

    run: Run
    nature: Path
    data: TrainingData
    spread: BackgroundSpread | None
    denoiser: Denoiser

    @property
    def folder(self) -> Path:
        """Where scores are kept."""
        return self.run.folder / "cycles"

    def check(self, encoder: Encoder) -> dict[str, float]:
        """The RMSE of the analyses over the usual background's, of oi and of ``encoder``."""
        return {"oi": self._score(encoder, "oi").rmse, "encoder": self._score(encoder).rmse}

    def leave_out_worse(self, encoder: Encoder) -> list[str]:
        """The channels whose error in the cycle of ``encoder`` is more than ``TOLERATED`` times
        that in oi's: ``encoder`` leaves them to stage 1 from now on."""
        own, oi = (np.array(self._score(encoder, m).errors) for m in ("phyda", "oi"))
        worse = own > TOLERATED * oi
        encoder.leave_to_stage_one(torch.from_numpy(worse).to(encoder.calibration.device))
        return [key for key, one in zip(self.data.spec.channels, worse, strict=True) if one]

    def calibrate(self, encoder: Encoder) -> torch.Tensor:
        """Multiply the ``calibration`` of ``encoder`` by the ratio of rms error to rms spread by
        channel (C,) of its analyses."""
        encoder.calibration.mul_(encoder.calibration.new_tensor(self._score(encoder).ratio))
        return encoder.calibration

    def _score(self, encoder: Encoder, method: Method = "phyda") -> Score:
        return Score(**self.run.ranks.first(lambda: self._kept(encoder, method)))

    def _kept(self, encoder: Encoder, method: Method) -> dict[str, Any]:
        """The score of a cycle with ``method`` from its file, which is made unless it is there."""
        checkpoint = self._checkpoint(self.folder / "checkpoint", encoder)
        name = f"{method}-{checkpoint.sha256[:12]}"
        kept, out = (
            self.folder / f"{name if method == 'phyda' else method}.json",
            self.folder / name,
        )
        if not kept.exists():
            for _ in run_twin_cycle(self.nature, out, checkpoint, self._settings(method)):
                pass
            publish_text(kept, json.dumps(asdict(self._of_cycle(out))))
            shutil.rmtree(out)
        return read_record(kept)

    def _of_cycle(self, folder: Path) -> Score:
        """The score of the analyses in ``folder``, without those that settle."""
        errors, settling = cycle_errors(folder), SETTLING_DAYS * STEPS_PER_DAY
        if len(errors["analysis_rmse"]) <= settling:
            raise UsageError(
                f"the nature run in {self.nature} has {SETTLING_DAYS} days or fewer from the first "
                "date for validation on; a cycle takes as long to settle",
                hint="extend it with `phyda download --source nature --days N` in the same folder",
            )
        error, spread = (
            np.sqrt((errors[name][settling:] ** 2).mean(axis=0))
            for name in ("analysis_rmse", "analysis_spread")
        )
        relative = error / self.data.spec.column("background_std").ravel()
        rmse = float(np.sqrt(np.mean(relative**2)))
        return Score(rmse, tuple(relative.tolist()), tuple((error / spread).tolist()))

    def _settings(self, method: Method) -> TwinSettings:
        store = self.data.store
        first = store.time[store.pairs[self.data.split.validation, 1]].min()
        days = SETTLING_DAYS + self.run.settings.cycle_days
        last = first + np.timedelta64(days, "D")
        return TwinSettings(
            seed=self.run.settings.seed,
            method=method,
            forecast_hours=6,
            reports=self.run.settings.reports,
            first=str(first),
            last=str(last),
        )

    def _checkpoint(self, folder: Path, encoder: Encoder) -> Checkpoint:
        """``encoder`` with what the cycle needs beside it."""
        settings = self.run.settings
        metadata: dict[str, object] = {
            "name": "cycle",
            "state": self.data.spec,
            "solver": settings.solver,
            "sampler": settings.sampler,
            "network": settings.network,
            "member_times": self.data.times,
            "physics_scale": {},
            "training": {},
        }
        encoder, denoiser = copy.deepcopy(encoder).cpu(), copy.deepcopy(self.denoiser).cpu()
        store, made = self.data.store, (encoder, denoiser, self.spread, self.data.mean_error)
        save_checkpoint(folder, metadata, store.statics, self.data.members, *made)
        return Checkpoint.open(folder)
