"""Training cases: members that do not know the answer, a cache that resumes, and what a batch
holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from synthetic import GRID, spec

from phyda_cli.analysis.model_grid import Increment, ModelGridSettings, Networks, analyse
from phyda_cli.analysis.prior import Prior
from phyda_cli.errors import InputError
from phyda_cli.model.encoder import conditions
from phyda_cli.settings.model import SolverSettings
from phyda_cli.settings.training import TrainingSettings
from phyda_cli.simulation.observing_network import Network, draw_network
from phyda_cli.simulation.simulate import simulate
from phyda_cli.training.cases import CHUNK, Batch, Cases, build_cases
from phyda_cli.training.members import FOLDS, WINDOW_DAYS, MemberPool
from phyda_cli.training.statistics import difference

if TYPE_CHECKING:
    from conftest import Opened

DAY = np.timedelta64(1, "D")
YEAR = np.datetime64("2010-01-01", "s") + 3 * DAY * np.arange(240)  # two years


def fold(times: np.ndarray) -> np.ndarray:
    return times.astype("datetime64[D]").astype(int) // WINDOW_DAYS % FOLDS


def numbered_pool(season_days: int | None) -> MemberPool:
    """Member i is i everywhere."""
    members = torch.arange(YEAR.size, dtype=torch.float32)[:, None, None, None].expand(
        -1, 1, *GRID.shape
    )
    return MemberPool(
        members, tuple(map(str, YEAR)), spec(), SolverSettings(season_days=season_days)
    )


def numbers(pool: MemberPool, time: np.datetime64) -> np.ndarray:
    members = pool.ensemble(time).members[:, 0, 0, 0]
    return np.round((members * members.numel() ** 0.5).numpy()).astype(int)


def test_a_case_never_meets_members_of_its_own_dates() -> None:
    pool = numbered_pool(None)
    for time in YEAR[::7] + np.timedelta64(17, "h"):
        found = numbers(pool, time)
        own = fold(np.array([time]))[0]
        assert found.size > 0.8 * YEAR.size
        assert (fold(YEAR[found]) != own).all()
        assert set(found) == set(np.flatnonzero(fold(YEAR) != own))


def test_seasonal_members_are_of_the_season_and_other_dates() -> None:
    pool = numbered_pool(45)
    for time in YEAR[::11]:
        found = numbers(pool, time)
        assert found.size >= 20
        assert (fold(YEAR[found]) != fold(np.array([time]))[0]).all()
        apart = np.abs((YEAR[found] - time) / DAY) % 365.25
        assert np.minimum(apart, 365.25 - apart).max() <= 45 + 17


def test_pairs_of_a_few_days_leave_no_member() -> None:
    week = YEAR[0] + DAY * np.arange(6)
    members = torch.ones(6, 1, *GRID.shape)
    pool = MemberPool(members, tuple(map(str, week)), spec(), SolverSettings())
    with pytest.raises(InputError, match="no static member is left for 2010-01-01"):
        pool.ensemble(week[0])


def test_ensembles_are_made_once_and_scaled() -> None:
    pool = numbered_pool(None)
    assert pool.ensemble(YEAR[0]) is pool.ensemble(YEAR[1])
    members = torch.randn(64, 2, *GRID.shape, generator=torch.Generator().manual_seed(0))
    times = tuple(map(str, YEAR[:64]))
    chosen = MemberPool(members, times, spec(), SolverSettings()).ensemble(YEAR[100]).members
    assert 0.9 < float(chosen.square().sum(0).mean()) < 1.1


def build(
    folder: Path, opened: Opened, settings: TrainingSettings, said: list[str] | None = None
) -> dict[str, bytes]:
    report = (said if said is not None else []).append
    build_cases(
        folder,
        opened.store,
        opened.states,
        opened.spec,
        opened.pool,
        opened.pairs[:40],
        settings,
        report,
    )
    return {p.name: p.read_bytes() for p in sorted(folder.glob("[0-9]*"))}


def test_the_cache_resumes(tmp_path: Path, opened: Opened, tiny_settings: TrainingSettings) -> None:
    said: list[str] = []
    whole = build(tmp_path / "cases", opened, tiny_settings, said)
    assert sorted(whole) == ["00000.factor.npy", "00000.npy", "00001.factor.npy", "00001.npy"]
    assert said[-1] == "40 of 40 cases simulated"
    (tmp_path / "cases" / "00001.npy").unlink()
    (tmp_path / "cases" / ".00001.npy.0123456789ab.part").write_bytes(b"interrupted")
    kept = (tmp_path / "cases" / "00000.npy").stat().st_mtime_ns
    assert build(tmp_path / "cases", opened, tiny_settings) == whole
    assert (tmp_path / "cases" / "00000.npy").stat().st_mtime_ns == kept
    other = tiny_settings.model_copy(update={"seed": 1})
    assert build(tmp_path / "other", opened, other) != whole


def analysed(
    opened: Opened,
    pair: int,
    network: Network,
    rng: np.random.Generator,
    sign: float = 1.0,
    networks: Networks | None = None,
) -> Increment:
    """Stage 1 of what ``network`` observes of the error of a pair's background, times ``sign``."""
    spec, store = opened.spec, opened.store
    target = difference(store, opened.states, pair) / spec.column("background_std")
    start, end = store.pairs[pair]
    time, lead = store.time[end], float(store.lead[pair])
    ensemble = opened.pool.ensemble(time)
    prior = Prior.of(opened.states[start], spec, store.statics, time, lead, ensemble)
    return analyse(
        prior, simulate(spec, sign * target, network, rng), networks, ModelGridSettings()
    )


def factor(found: Increment, opened: Opened) -> np.ndarray:
    return found.unit / opened.spec.column("background_std")


def test_a_batch_is_what_was_simulated(opened: Opened, tiny_settings: TrainingSettings) -> None:
    chosen = np.array([3, CHUNK + 2])
    batch = opened.cases.batch(chosen, torch.device("cpu"))
    for row, n in enumerate(chosen):
        pair = int(opened.pairs[n])
        start, end = opened.store.pairs[pair]
        target = difference(opened.store, opened.states, pair) / opened.spec.column(
            "background_std"
        )
        np.testing.assert_array_equal(batch.state[row].numpy(), opened.states[start])
        normal = (opened.states[start] - opened.spec.column("mean")) / opened.spec.column("std")
        np.testing.assert_allclose(batch.background[row].numpy(), normal, rtol=1e-6)
        statics = opened.store.statics
        time = opened.store.time[end]
        np.testing.assert_array_equal(
            batch.conditions[row].numpy(),
            conditions(GRID, statics["orography"], statics["lsm"], time, 24.0),
        )
        rng = np.random.default_rng([tiny_settings.seed, int(n)])
        network = draw_network(opened.spec, statics["lsm"], rng, tiny_settings.reports)
        networks = Networks(errors_of_the_day=opened.spread)
        found = analysed(opened, pair, network, rng, networks=networks)
        np.testing.assert_allclose(
            batch.target[row].numpy(), target / factor(found, opened), rtol=1e-5
        )
        np.testing.assert_allclose(batch.unit[row].numpy(), found.unit, rtol=1e-6)
        assert found.virtual is not None
        for part, seen in zip(batch.parts, found.virtual.seen, strict=True):
            np.testing.assert_allclose(part[row].numpy(), seen.numpy(), rtol=1e-3, atol=1e-4)
    assert len(batch.inputs) == 6
    assert opened.cases.count == 64


def test_simulated_observations_pull_towards_the_truth(opened: Opened) -> None:
    rng = np.random.default_rng(0)
    ratios = []
    for pair in opened.pairs[:8]:
        target = difference(opened.store, opened.states, int(pair)) / opened.spec.column(
            "background_std"
        )
        network = draw_network(opened.spec, opened.store.statics["lsm"], rng, (50, 60), 0.0)
        found = analysed(opened, int(pair), network, rng)
        left = target - factor(found, opened) * found.mean
        ratios.append((left**2).mean() / (target**2).mean())
    assert np.mean(ratios) < 0.8


def test_cases_of_a_folder_that_is_not_finished(tmp_path: Path, opened: Opened) -> None:
    np.save(
        tmp_path / "00000.npy",
        np.zeros((CHUNK, 4, opened.spec.n_channels, *GRID.shape), np.float16),
    )
    np.save(tmp_path / "00000.factor.npy", np.ones((CHUNK, opened.spec.n_channels), np.float32))
    cases = Cases(tmp_path, opened.store, opened.states, opened.spec, opened.pairs)
    assert cases.count == CHUNK


def test_turned_cases_are_those_of_the_opposite_error(opened: Opened) -> None:
    pair = int(opened.pairs[0])
    target = difference(opened.store, opened.states, pair) / opened.spec.column("background_std")
    network = draw_network(
        opened.spec, opened.store.statics["lsm"], np.random.default_rng(0), (50, 60), 0.0
    )
    plain, opposite = (
        analysed(opened, pair, network, _Silent(), sign)  # type: ignore[arg-type]
        for sign in (1, -1)
    )
    assert plain.virtual is not None
    assert opposite.virtual is not None
    np.testing.assert_allclose(opposite.unit, plain.unit, rtol=1e-5)
    batch = opened.cases.batch(np.array([0, 1]), torch.device("cpu"))
    made = Batch(
        batch.background[:1],
        tuple(part[None] for part in plain.virtual.seen),
        batch.conditions[:1],
        torch.from_numpy(target / factor(plain, opened))[None],
        batch.state[:1],
        batch.unit[:1],
    )
    turned = made.turned(torch.tensor([-1.0]))
    for ours, theirs in zip(turned.parts, opposite.virtual.seen, strict=True):
        torch.testing.assert_close(ours[0], theirs, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(turned.target, -made.target)
    for part in ("background", "conditions", "state", "unit"):
        assert torch.equal(getattr(turned, part), getattr(made, part))
    both = batch.turned(torch.tensor([1.0, -1.0]))
    assert torch.equal(both.target[0], batch.target[0])
    assert torch.equal(both.target[1], -batch.target[1])


class _Silent:
    """A generator of observations without noise."""

    @staticmethod
    def standard_normal(size: int) -> np.ndarray:
        return np.zeros(size)
