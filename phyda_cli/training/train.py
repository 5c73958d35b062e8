"""``phyda train``: statistics, static members, simulated cases, the three networks, and the
checkpoint they make."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from phyda_cli.files.resume import claim
from phyda_cli.model.checkpoint import save_checkpoint
from phyda_cli.model.climate import fit_climate
from phyda_cli.model.encoder import Encoder
from phyda_cli.preprocessing.store import PairStore
from phyda_cli.training.data import TrainingCases, TrainingData, simulate_cases, training_data
from phyda_cli.training.estimate import Estimate, estimate
from phyda_cli.training.monitor import Lines, figures
from phyda_cli.training.own_cycle import OwnCycle
from phyda_cli.training.phases import denoiser_phase, encoder_phase, networks
from phyda_cli.training.plan import kept_plan
from phyda_cli.training.run import Run
from phyda_cli.training.scores import calibrate, expected_weights, validate, validate_members
from phyda_cli.training.spread import trained_spread
from phyda_cli.training.warm_start import require_fit

__all__ = ["no_better", "train"]

_WORTH = 0.005  # of stage 1's mean square error: below it chance decides which is better

# Settings of how a run is made, not of what comes out: a run may go on with others.
FREE = {"accumulate", "compile", "keep", "license", "save_every"}


def train(run: Run, store_path: Path, found: Estimate | None = None) -> Path:
    """Train on the store ``store_path``; returns the checkpoint folder, ``checkpoint`` in the run's
    folder. Of several processes the first alone writes, and is shown. ``found`` is what it would
    take, where that is known already.

    A second call with the same settings continues where the first stopped. Raises UsageError when
    the folder holds a run with other settings, or the checkpoint to start from does not fit the
    data.
    """
    began = time.monotonic()
    if run.ranks.rank > 0:
        run = replace(run, monitor=Lines(lambda _: None))
    store = PairStore.open(store_path)
    record = _record(run, store_path)
    run.ranks.first(lambda: claim(run.folder, record))
    if run.settings.max_minutes:
        run = kept_plan(run, lambda: found or estimate(run, store_path))
    data = training_data(run, store)
    if run.start is not None:
        require_fit(run.start, data.spec, run.settings.network)
    spread = trained_spread(run, data)
    cases = simulate_cases(run, data, spread)
    encoder, denoiser = networks(run, data.spec)

    own = OwnCycle(run, run.nature, data, spread, denoiser) if run.nature else None

    def check() -> dict[str, float]:
        if own:
            return own.check(encoder.eval())
        return validate(encoder.eval(), cases.validation, data.area, run.ranks)

    def check_members() -> dict[str, float]:
        return validate_members(encoder, denoiser.eval(), cases.validation, data.area, run.ranks)

    encoder_phase(encoder, run, data, cases).run(check)
    encoder.eval().requires_grad_(False)
    scores, calibration = _judged(encoder, run, data, cases, own)
    variables = [c.variable for c in data.spec.channel_list]
    correction = expected_weights(encoder, cases.validation, data.area, variables, run.ranks)
    run.monitor.say(
        f"validation {figures(scores)}; spread calibration {float(calibration.mean()):.3f}; the "
        f"encoder's mean square error is {_compared(_gain(scores))} that of oi"
    )
    if warning := no_better(scores):
        run.monitor.say(f"WARNING: {warning}")
    # The last averaged weights stay: the score of a few sampled members differs by chance more than
    # it gains.
    denoiser_phase(encoder, denoiser, run, data, cases).run(check_members, keep_best=False)

    summary = _summary(run, store_path, store, data, scores, time.monotonic() - began)
    metadata = _metadata(run, data, cases.scale)
    metadata |= {"correction": correction, "training": summary}
    truths = np.unique(store.pairs[data.split.training, 1])
    climate = fit_climate(data.states, truths, store.time[truths])
    made = encoder.cpu(), denoiser.cpu(), spread, data.mean_error, climate
    folder = run.folder / "checkpoint"
    return run.ranks.first(
        lambda: save_checkpoint(folder, metadata, store.statics, data.members, *made)
    )


def _judged(
    encoder: Encoder, run: Run, data: TrainingData, cases: TrainingCases, own: OwnCycle | None
) -> tuple[dict[str, float], torch.Tensor]:
    """The scores of ``encoder``, and the calibration (C,) of its spread, which is set. Channels
    that it makes worse in a cycle are left to stage 1."""
    if own is None:
        scores = validate(encoder, cases.validation, data.area, run.ranks)
        return scores, calibrate(encoder, cases.validation, data.area, run.ranks)
    if worse := own.leave_out_worse(encoder):
        run.monitor.say(f"left to stage 1, which is better in a cycle: {', '.join(worse)}")
    scores = validate(encoder, cases.validation, data.area, run.ranks)
    scores |= {f"{name} in a cycle": score for name, score in own.check(encoder).items()}
    return scores, own.calibrate(encoder)


def _gain(scores: dict[str, float]) -> float:
    """The part of stage 1's mean square error that the encoder takes off."""
    return 1 - scores["encoder"] / scores["oi"]


def _compared(gain: float) -> str:
    return f"{100 * abs(gain):.1f} % {'below' if gain >= 0 else 'ABOVE'}"


def no_better(scores: dict[str, float]) -> str:
    """What to tell the user where the encoder hardly beats stage 1 on the validation cases."""
    if _gain(scores) >= _WORTH:
        return ""
    return (
        f"on the validation cases the encoder ({scores['encoder']:.4f}) is hardly better than oi "
        f"({scores['oi']:.4f}), or worse: use --method oi with this checkpoint, or train with more "
        "pairs, more cases or more time"
    )


def _record(run: Run, store: Path) -> dict[str, Any]:
    """What makes this run itself: another call continues it only with the same."""
    settings = run.settings.model_dump(mode="json", exclude=FREE)
    record: dict[str, Any] = {"data": str(store.resolve()), "settings": settings}
    if run.nature is not None:
        record["nature"] = str(run.nature.resolve())
    return record if run.start is None else record | {"init_from": run.start.sha256}


def _metadata(run: Run, data: TrainingData, scale: dict[str, list[float]]) -> dict[str, object]:
    """What ``model.json`` says of the model itself."""
    return {
        "name": run.folder.name,
        "state": data.spec,
        "solver": run.settings.solver,
        "sampler": run.settings.sampler,
        "network": run.settings.network,
        "member_times": data.times,
        "physics_scale": scale,
        "license": run.settings.license or "",
    }


def _summary(
    run: Run,
    path: Path,
    store: PairStore,
    data: TrainingData,
    scores: dict[str, float],
    seconds: float,
) -> dict[str, Any]:
    """How the checkpoint was made, for its metadata."""
    return {
        "data": path.name,
        "source": store.attributes.get("source", ""),
        "pairs_kind": store.attributes.get("pairs_kind", ""),
        "data_license": store.attributes.get("license", ""),
        "references": store.attributes.get("references", ""),
        "first": str(store.time.min()),
        "last": str(store.time.max()),
        "pairs": len(data.split.training),
        "settings": run.settings.model_dump(mode="json"),
        "validation": scores,
        "hardware": _hardware(run),
        "seconds_of_this_call": round(seconds),
    }


def _hardware(run: Run) -> str:
    size = run.ranks.size
    if run.device.type == "cuda":
        return f"{size} x {torch.cuda.get_device_name(run.device)}"
    processes = f", {size} processes" if size > 1 else ""
    return f"{os.cpu_count()} CPU cores, {platform.machine()}{processes}"
