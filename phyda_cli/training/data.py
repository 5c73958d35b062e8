"""What a training works with: the pairs with their statistics, static members, and simulated
cases, made once a run and kept in its folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from phyda_cli.fields.state import StateSpec
from phyda_cli.files.publish import publish, publish_text
from phyda_cli.model.background_spread import BackgroundSpread
from phyda_cli.model.mean_error import MeanError
from phyda_cli.preprocessing.store import PairStore
from phyda_cli.training.cases import Batch, CaseBuilder, Cases, StageOne, build_cases
from phyda_cli.training.mean_error import corrected
from phyda_cli.training.members import MemberPool
from phyda_cli.training.objectives import Physics
from phyda_cli.training.run import Run
from phyda_cli.training.statistics import (
    Split,
    choose_members,
    genuine_pairs,
    measured,
    physics_scale,
    split_pairs,
    state_spec,
)

__all__ = [
    "TrainingCases",
    "TrainingData",
    "build",
    "build_held",
    "build_training",
    "simulate_cases",
    "training_data",
]


@dataclass(frozen=True, eq=False)
class TrainingData:
    """The ``store`` of the pairs and its ``states`` (state, C, H, W), both with backgrounds
    corrected by ``mean_error`` where that is wanted; their ``split``, statistics, and static
    ``members`` (N, C, H, W) valid at ``times``; ``area`` (H, 1), on the device, has mean one."""

    store: PairStore
    mean_error: MeanError | None
    states: np.ndarray
    split: Split
    spec: StateSpec
    members: torch.Tensor
    times: tuple[str, ...]
    area: torch.Tensor


@dataclass(frozen=True, eq=False)
class TrainingCases:
    """Cases for ``training`` with as many members as ``case_members`` allows, for ``validation``
    with all of them, as in use; ``scale`` is V_k of ``physics``."""

    training: Cases
    validation: Cases
    scale: dict[str, list[float]]
    physics: Physics


def training_data(run: Run, store: PairStore) -> TrainingData:
    """Statistics and members from the run's folder, made by the first process where they are not
    there yet."""
    settings = run.settings
    states = store.load_states()
    split = split_pairs(store, settings.validation_fraction)
    mean_error = None
    if settings.mean_error_patterns:  # cheap and repeatable, so nothing is kept
        store, states, mean_error = corrected(
            store,
            states,
            state_spec(store),
            split.training,
            settings.mean_error_patterns,
            settings.mean_error_products,
        )
    run.ranks.first(lambda: _prepare(run, store, states, split))
    record = json.loads((run.folder / "state.json").read_text(encoding="utf-8"))
    spec, times = StateSpec.model_validate(record["state"]), tuple(record["member_times"])
    members = load_file(str(run.folder / "members.safetensors"))["members"]
    run.monitor.say(
        f"{len(split.training)} training pairs, {len(split.validation)} for validation, "
        f"{members.shape[0]} static members"
    )
    area = torch.from_numpy(store.grid.area_weights[:, None].astype(np.float32)).to(run.device)
    return TrainingData(store, mean_error, states, split, spec, members, times, area)


def build(
    folder: Path,
    data: TrainingData,
    run: Run,
    builder: CaseBuilder,
    kind: type[Batch] = Batch,
    held: int | None = None,
) -> tuple[Cases, Cases]:
    """Cases for training, and ``held`` for validation (``validation_cases`` of them if not given),
    in ``folder``; those not there yet are divided among the processes."""
    validation = build_held(folder, data, run, builder, kind, held)
    return build_training(folder, data, run, builder, kind), validation


def build_training(
    folder: Path, data: TrainingData, run: Run, builder: CaseBuilder, kind: type[Batch] = Batch
) -> Cases:
    """The cases for training in ``folder``, each with some of the static members."""
    settings = run.settings
    rng = np.random.default_rng([settings.seed, 3])
    pairs = drawn(data.split.training, settings.samples, rng)
    return _built(folder / "training", data, run, builder, kind, pairs, settings.case_members)


def build_held(
    folder: Path,
    data: TrainingData,
    run: Run,
    builder: CaseBuilder,
    kind: type[Batch] = Batch,
    held: int | None = None,
) -> Cases:
    """The ``held`` cases for validation in ``folder``, each with all static members."""
    settings, split = run.settings, data.split
    held = min(settings.validation_cases if held is None else held, split.validation.size)
    pairs = drawn(split.validation, held, np.random.default_rng([settings.seed, 4]))
    return _built(folder / "validation", data, run, builder, kind, pairs, None)


def _built(
    folder: Path,
    data: TrainingData,
    run: Run,
    builder: CaseBuilder,
    kind: type[Batch],
    pairs: np.ndarray,
    most: int | None,
) -> Cases:
    build_cases(
        folder,
        data.store,
        data.states,
        data.spec,
        MemberPool(data.members, data.times, data.spec, run.settings.solver, most),
        pairs,
        run.settings,
        _prefixed(run.monitor.say, folder.name),
        run.ranks,
        builder,
    )
    run.ranks.agree()
    return Cases(folder, data.store, data.states, data.spec, pairs, kind)


def simulate_cases(
    run: Run, data: TrainingData, spread: BackgroundSpread | None, held: int | None = None
) -> TrainingCases:
    """Cases of stage 1 in the run's folder, with the errors of the day that ``spread`` finds, and
    what else training needs."""
    training, validation = build(run.folder / "cases", data, run, StageOne(spread), held=held)
    rng = np.random.default_rng([run.settings.seed, 2])
    scale = physics_scale(data.store, data.states, data.spec, data.split.training, rng)
    return TrainingCases(training, validation, scale, Physics(data.spec, scale))


def _prepare(run: Run, store: PairStore, states: np.ndarray, split: Split) -> None:
    """Write static members, then statistics, which say that both are complete, unless they are
    there."""
    path = run.folder / "state.json"
    if path.exists():
        return
    settings = run.settings
    genuine = genuine_pairs(store, split.training)
    spec = state_spec(store)
    if settings.mean_error_patterns:  # the store was measured with the backgrounds as they were
        spec = state_spec(store, measured(store, states, genuine))
    members, times = choose_members(
        store,
        states,
        spec,
        genuine,
        settings.members,
        np.random.default_rng([settings.seed, 0]),
    )
    with publish(run.folder / "members.safetensors", overwrite=True) as temporary:
        save_file({"members": members.contiguous()}, temporary)
    publish_text(path, json.dumps({"state": spec.model_dump(), "member_times": times}))


def drawn(pairs: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """``count`` of ``pairs``, where the numbers of times any two are drawn differ by one at most; a
    larger ``count`` continues a smaller one."""
    rounds = -(-count // max(pairs.size, 1))
    return np.concatenate([rng.permutation(pairs) for _ in range(rounds)])[:count]


def _prefixed(report: Callable[[str], None], name: str) -> Callable[[str], None]:
    return lambda message: report(f"{name}: {message}")
