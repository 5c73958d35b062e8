"""``phyda train``: statistics, static members, simulated cases, the two networks, and the checkpoint they make."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from phyda_cli.config import TrainingSettings
from phyda_cli.errors import UsageError
from phyda_cli.model.checkpoint import Checkpoint, build_networks, save_checkpoint
from phyda_cli.model.denoiser import Denoiser
from phyda_cli.model.encoder import Encoder
from phyda_cli.model.state import StateSpec
from phyda_cli.training.cases import Cases, build_cases
from phyda_cli.training.loop import Phase, Physics, calibrate, denoiser_loss, encoder_loss, validate
from phyda_cli.training.pool import MemberPool
from phyda_cli.training.record import claim
from phyda_cli.training.statistics import Split, choose_members, physics_scale, split_pairs, state_spec
from phyda_cli.training.store import PairStore

__all__ = ["train"]

VALIDATION_CASES = 128
Report = Callable[[str], None]


def train(
    data: Path, run: Path, settings: TrainingSettings, device: torch.device, report: Report, init_from: Checkpoint | None = None
) -> Path:
    """Train on the store ``data`` in the folder ``run``, from the weights of ``init_from`` where it is given; returns the checkpoint
    folder ``run/checkpoint``.

    A second call with the same settings continues where the first stopped. Raises UsageError when ``run`` holds a run
    with other settings, or ``init_from`` does not fit the data.
    """
    began = time.monotonic()
    store = PairStore.open(data)
    record = {"data": str(data.resolve()), "settings": settings.model_dump(mode="json")}
    claim(run, record if init_from is None else record | {"init_from": init_from.sha256})
    states = store.load_states()
    split = split_pairs(store, settings.validation_fraction)
    spec, members, times = _prepare(run, store, states, split, settings)
    report(f"{len(split.training)} training pairs, {len(split.validation)} for validation, {members.shape[0]} static members")
    cases, validation = _cases(run, store, states, split, spec, members, times, settings, report)

    torch.manual_seed(settings.seed)
    encoder, denoiser = build_networks(spec, settings.network) if init_from is None else _networks_of(init_from, spec, settings)
    encoder.to(device)
    denoiser.to(device)
    area = torch.from_numpy(store.grid.area_weights[:, None].astype(np.float32)).to(device)

    def check() -> dict[str, float]:
        return validate(encoder.eval(), validation, area)

    scale = physics_scale(store, states, spec, split.training, np.random.default_rng([settings.seed, 2]))
    physics = Physics(spec, scale)
    loss = encoder_loss(encoder, area, physics, settings.encoder_physics, settings.precision)
    Phase("encoder", encoder, loss, cases, settings, settings.encoder_epochs, run).run(device, report, check)
    encoder.eval().requires_grad_(False)
    calibration = calibrate(encoder, validation, area)
    scores = check()
    report(f"validation oi {scores['oi']:.4f} encoder {scores['encoder']:.4f}; spread calibration {float(calibration.mean()):.3f}")

    loss = denoiser_loss(encoder, denoiser, area, physics, settings.physics, settings.precision)
    Phase("denoiser", denoiser, loss, cases, settings, settings.denoiser_epochs, run).run(device, report)

    summary = {
        "data": data.name, "source": store.attributes.get("source", ""), "pairs_kind": store.attributes.get("pairs_kind", ""),
        "first": str(store.time.min()), "last": str(store.time.max()), "pairs": len(split.training),
        "settings": settings.model_dump(mode="json"), "validation": scores, "hardware": _hardware(device),
        "seconds_of_this_call": round(time.monotonic() - began),
    }  # fmt: skip
    metadata = {
        "name": run.name, "state": spec, "solver": settings.solver, "sampler": settings.sampler, "network": settings.network,
        "member_times": times, "physics_scale": scale, "training": summary,
    }  # fmt: skip
    return save_checkpoint(run / "checkpoint", metadata, store.statics, members, encoder.cpu(), denoiser.cpu())


def _networks_of(start: Checkpoint, spec: StateSpec, settings: TrainingSettings) -> tuple[Encoder, Denoiser]:
    """The networks of ``start``, to be trained on."""
    same_state = start.state.channels == spec.channels and start.state.grid.same_as(spec.grid)
    if not same_state or start.metadata.network != settings.network:
        raise UsageError(
            f"training cannot start from {start.path}: its channels, grid or network sizes are others than those of the data",
            hint="see `phyda train --config` for network sizes, or train from the beginning",
        )
    encoder, denoiser = start.networks()
    return encoder.train().requires_grad_(True), denoiser.train().requires_grad_(True)


def _prepare(
    run: Path, store: PairStore, states: np.ndarray, split: Split, settings: TrainingSettings
) -> tuple[StateSpec, torch.Tensor, tuple[str, ...]]:
    """State statistics and static members, computed once a run."""
    path, members_path = run / "state.json", run / "members.safetensors"
    if path.exists():
        record = json.loads(path.read_text(encoding="utf-8"))
        return StateSpec.model_validate(record["state"]), load_file(str(members_path))["members"], tuple(record["member_times"])
    rng = np.random.default_rng([settings.seed, 0])
    genuine = split.training[store.scale[split.training] == store.scale[split.training].max()]
    spec = state_spec(store, states, genuine, rng)
    members, times = choose_members(store, states, spec, genuine, settings.members, rng)
    save_file({"members": members.contiguous()}, str(members_path))
    path.write_text(json.dumps({"state": spec.model_dump(), "member_times": times}), encoding="utf-8")
    return spec, members, times


def _cases(
    run: Path,
    store: PairStore,
    states: np.ndarray,
    split: Split,
    spec: StateSpec,
    members: torch.Tensor,
    times: tuple[str, ...],
    settings: TrainingSettings,
    report: Report,
) -> tuple[Cases, Cases]:
    """Training cases, with as many members as ``case_members`` allows, and validation cases with all of them, as in use."""
    pools = {
        "validation": MemberPool(members, times, spec, settings.solver),
        "training": MemberPool(members, times, spec, settings.solver, settings.case_members),
    }
    chosen = _drawn(split.training, settings.samples, np.random.default_rng([settings.seed, 3]))
    held = _drawn(split.validation, min(VALIDATION_CASES, split.validation.size), np.random.default_rng([settings.seed, 4]))
    out = []
    for name, pairs in (("validation", held), ("training", chosen)):
        folder = run / "cases" / name
        build_cases(folder, store, states, spec, pools[name], pairs, settings, _prefixed(report, name))
        out.append(Cases(folder, store, states, spec, pairs))
    return out[1], out[0]


def _drawn(pairs: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """``count`` of ``pairs``, each as often as any other but for one; a larger ``count`` continues a smaller one."""
    rounds = -(-count // max(pairs.size, 1))
    return np.concatenate([rng.permutation(pairs) for _ in range(rounds)])[:count]


def _prefixed(report: Report, name: str) -> Report:
    return lambda message: report(f"{name}: {message}")


def _hardware(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{os.cpu_count()} CPU cores, {platform.machine()}"
