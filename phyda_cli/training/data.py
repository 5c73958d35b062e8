"""What a training works with: statistics, static members and simulated cases, made once a run and
kept in its folder."""

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
from phyda_cli.model.checkpoint import Checkpoint
from phyda_cli.model.mean_error import MeanError
from phyda_cli.parallel.training import World
from phyda_cli.preprocessing.store import PairStore
from phyda_cli.settings.training import TrainingSettings
from phyda_cli.training.cases import Batch, CaseBuilder, Cases, StageOne, build_cases
from phyda_cli.training.mean_error import corrected
from phyda_cli.training.members import MemberPool
from phyda_cli.training.objectives import Physics
from phyda_cli.training.statistics import (
    Split,
    choose_members,
    physics_scale,
    split_pairs,
    state_spec,
)
from phyda_cli.training.warm_start import same_state

__all__ = ["Basis", "Material", "cases_of", "simulated", "statistics"]

Report = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Basis:
    """The ``store`` of the pairs and its ``states`` (state, C, H, W), both with backgrounds
    corrected by ``mean_error`` where that is wanted; their ``split``, statistics, and static
    ``members`` (N, C, H, W) valid at ``times``."""

    store: PairStore
    mean_error: MeanError | None
    states: np.ndarray
    split: Split
    spec: StateSpec
    members: torch.Tensor
    times: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Material:
    """``cases`` for training with as many members as ``case_members`` allows, ``validation`` with
    all of them, as in use; ``scale`` is V_k of ``physics``; ``area`` (H, 1) has mean one."""

    basis: Basis
    cases: Cases
    validation: Cases
    scale: dict[str, list[float]]
    physics: Physics
    area: torch.Tensor


def statistics(
    run: Path,
    store: PairStore,
    settings: TrainingSettings,
    world: World,
    report: Report,
    init_from: Checkpoint | None = None,
) -> Basis:
    """Statistics and members from the folder ``run``, made by the first process where they are not
    there yet, or those of ``init_from`` where the settings keep them. Raises UsageError when these
    are of another state."""
    states = store.load_states()
    split = split_pairs(store, settings.validation_fraction)
    mean_error = None
    if settings.mean_error_patterns:  # cheap and repeatable, so nothing is kept
        first = state_spec(store, states, split.training, np.random.default_rng([settings.seed, 5]))
        count, products = settings.mean_error_patterns, settings.mean_error_products
        store, states, mean_error = corrected(store, states, first, split.training, count, products)
    if settings.keep_statistics:
        kept = same_state(init_from, store.channels, store.grid)
        world.first(lambda: _keep(run, kept.state, kept.all_members(), kept.metadata.member_times))
    else:
        world.first(lambda: _prepare(run, store, states, split, settings))
    record = json.loads((run / "state.json").read_text(encoding="utf-8"))
    spec, times = StateSpec.model_validate(record["state"]), tuple(record["member_times"])
    members = load_file(str(run / "members.safetensors"))["members"]
    report(
        f"{len(split.training)} training pairs, {len(split.validation)} for validation, "
        f"{members.shape[0]} static members"
    )
    return Basis(store, mean_error, states, split, spec, members, times)


def cases_of(
    folder: Path,
    basis: Basis,
    settings: TrainingSettings,
    world: World,
    report: Report,
    builder: CaseBuilder,
    kind: type[Batch] = Batch,
    held: int | None = None,
) -> tuple[Cases, Cases]:
    """Cases for training, and ``held`` for validation (``validation_cases`` of them if not given),
    in ``folder``; those not there yet are divided among the processes."""
    store, split, spec = basis.store, basis.split, basis.spec
    held = settings.validation_cases if held is None else held
    training = drawn(split.training, settings.samples, np.random.default_rng([settings.seed, 3]))
    validation = drawn(
        split.validation,
        min(held, split.validation.size),
        np.random.default_rng([settings.seed, 4]),
    )
    made = {}
    for name, pairs, most in (
        ("validation", validation, None),
        ("training", training, settings.case_members),
    ):
        pool = MemberPool(
            basis.members, basis.times, spec, settings.solver, most, settings.case_eofs
        )
        build_cases(
            folder / name,
            store,
            basis.states,
            spec,
            pool,
            pairs,
            settings,
            _prefixed(report, name),
            world,
            builder,
        )
        world.meet()
        made[name] = Cases(folder / name, store, basis.states, spec, pairs, kind)
    return made["training"], made["validation"]


def simulated(
    run: Path,
    basis: Basis,
    settings: TrainingSettings,
    world: World,
    report: Report,
    spread: BackgroundSpread | None,
    held: int | None = None,
) -> Material:
    """Cases of stage 1 in the folder ``run``, with the errors of the day that ``spread`` finds, and
    what else training needs."""
    spec, store = basis.spec, basis.store
    cases, validation = cases_of(
        run / "cases", basis, settings, world, report, StageOne(spread), held=held
    )
    scale = physics_scale(
        store, basis.states, spec, basis.split.training, np.random.default_rng([settings.seed, 2])
    )
    area = torch.from_numpy(store.grid.area_weights[:, None].astype(np.float32)).to(world.device)
    return Material(basis, cases, validation, scale, Physics(spec, scale), area)


def _prepare(
    run: Path, store: PairStore, states: np.ndarray, split: Split, settings: TrainingSettings
) -> None:
    """State statistics and static members, unless they are there."""
    if (run / "state.json").exists():
        return
    rng = np.random.default_rng([settings.seed, 0])
    genuine = split.training[store.scale[split.training] == store.scale[split.training].max()]
    spec = state_spec(store, states, genuine, rng)
    members, times = choose_members(
        store, states, spec, genuine, settings.members, rng, settings.one_size
    )
    _keep(run, spec, members, times)


def _keep(run: Path, spec: StateSpec, members: torch.Tensor, times: tuple[str, ...]) -> None:
    """Write statistics and members, complete or not at all."""
    path = run / "state.json"
    if path.exists():
        return
    with publish(run / "members.safetensors", overwrite=True) as temporary:
        save_file({"members": members.contiguous()}, temporary)
    publish_text(path, json.dumps({"state": spec.model_dump(), "member_times": times}))


def drawn(pairs: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """``count`` of ``pairs``, each as often as any other but for one; a larger ``count`` continues
    a smaller one."""
    rounds = -(-count // max(pairs.size, 1))
    return np.concatenate([rng.permutation(pairs) for _ in range(rounds)])[:count]


def _prefixed(report: Report, name: str) -> Report:
    return lambda message: report(f"{name}: {message}")
