"""Training cases: a pair, a random network, and what stage 1 makes of the observations, cached on disk.

As in an analysis, increments are in units of the background error as the innovations of the case show it (see
:mod:`phyda_cli.analysis.background_scale`): backgrounds of every quality look alike to the networks.
A case is a pure function of (settings, its number), so the cache resumes after any interruption.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy import sparse

from phyda_cli.analysis.background_scale import BackgroundScale, estimate_scale
from phyda_cli.analysis.reconstruction import Ensemble, Virtual, reconstruct
from phyda_cli.config import TrainingSettings
from phyda_cli.model.encoder import conditions
from phyda_cli.model.state import StateSpec
from phyda_cli.training.networks import Network, draw_network
from phyda_cli.training.pool import MemberPool
from phyda_cli.training.statistics import difference
from phyda_cli.training.store import PairStore

__all__ = ["Batch", "Cases", "build_cases", "innovations", "scaled", "simulate"]

CHUNK = 32
PARTS = ("increment", "spread", "residual", "information")


def innovations(spec: StateSpec, truth: np.ndarray, network: Network, rng: np.random.Generator) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Operator (P, C*H*W) on the normalised increment and simulated innovations (P,) of the increment ``truth`` (C, H, W)."""
    scale = np.broadcast_to(spec.column("background_std"), truth.shape).ravel()
    matrix = (network.matrix @ sparse.diags_array(scale)).tocsr()
    return matrix, matrix @ truth.ravel() + network.error * rng.standard_normal(network.error.size).astype(np.float32)


def scaled(
    ensemble: Ensemble, spec: StateSpec, network: Network, matrix: sparse.csr_matrix, innovation: np.ndarray, prior: float = 1.0
) -> tuple[BackgroundScale, np.ndarray, sparse.csr_matrix]:
    """The scale of the background error, its factor for each channel (C, 1, 1), and the operator (P, C*H*W) on increments so scaled."""
    sigma_b = np.sqrt((ensemble.observed(matrix) ** 2).sum(axis=1))
    names = np.array([c.variable for c in spec.channel_list])
    scale = estimate_scale(names[network.channel], innovation, network.error, sigma_b, network.latitude, network.longitude, prior)
    factor = scale.of(list(names)).astype(np.float32)[:, None, None]
    return scale, factor, (matrix @ sparse.diags_array(np.repeat(factor.ravel(), spec.grid.size))).tocsr()


def simulate(
    ensemble: Ensemble, spec: StateSpec, truth: np.ndarray, network: Network, rng: np.random.Generator, draws: int = 0, seed: int = 0
) -> tuple[Virtual, np.ndarray]:
    """Stage 1, with ``draws`` perturbations, on simulated observations of the normalised increment ``truth`` (C, H, W).

    Times the factors (C, 1, 1) that come with it, the result is in the units of ``truth``.
    """
    matrix, innovation = innovations(spec, truth, network, rng)
    _, factor, operator = scaled(ensemble, spec, network, matrix, innovation)
    return reconstruct(ensemble, operator, innovation, network.error, network.latitude, network.longitude, draws, seed), factor


def build_cases(
    folder: Path,
    store: PairStore,
    states: np.ndarray,
    spec: StateSpec,
    pool: MemberPool,
    pairs: np.ndarray,
    settings: TrainingSettings,
    report: Callable[[str], None],
) -> None:
    """Simulate a case for each of ``pairs`` into chunk files of ``folder``, the factors beside; complete chunks are kept.

    One thread a core, each with single-threaded algebra: a case is too small to share.
    """
    folder.mkdir(parents=True, exist_ok=True)

    def build(index: int) -> None:
        path = folder / f"{index:05d}.npy"
        if path.exists():
            return
        numbers = range(index * CHUNK, min((index + 1) * CHUNK, pairs.size))
        parts, factors = zip(*(_case(store, states, spec, pool, int(pairs[n]), n, settings) for n in numbers), strict=True)
        for target, values in ((_factor_file(path), factors), (path, parts)):
            partial = path.with_suffix(".part.npy")
            np.save(partial, np.stack(values))
            partial.replace(target)

    chunks = -(-pairs.size // CHUNK)
    with ThreadPoolExecutor(os.cpu_count(), initializer=torch.set_num_threads, initargs=(1,)) as executor:
        for done, _ in enumerate(executor.map(build, range(chunks)), 1):
            if done % 10 == 0 or done == chunks:
                report(f"{min(done * CHUNK, pairs.size)} of {pairs.size} cases simulated")


def _case(
    store: PairStore, states: np.ndarray, spec: StateSpec, pool: MemberPool, pair: int, number: int, settings: TrainingSettings
) -> tuple[np.ndarray, np.ndarray]:
    """The parts of one case (len(PARTS), C, H, W) float16, and its factors (C,)."""
    rng = np.random.default_rng([settings.seed, number])
    network = draw_network(spec, store.statics["lsm"], rng, settings.reports)
    truth = difference(store, states, pair) / spec.column("background_std")
    virtual, factor = simulate(pool.ensemble(store.time[store.pairs[pair, 1]]), spec, truth, network, rng)
    return np.stack([getattr(virtual, name).numpy() for name in PARTS]).astype(np.float16), factor.ravel()


def _factor_file(path: Path) -> Path:
    return path.with_suffix(".factor.npy")


@dataclass(frozen=True)
class Batch:
    """Inputs and target of some cases, (B, C, H, W) but ``place``; ``state`` is the background in physical units, and ``unit``
    (B, C, 1, 1) what one of the target is."""

    background: torch.Tensor
    virtual: tuple[torch.Tensor, ...]
    place: torch.Tensor
    target: torch.Tensor
    state: torch.Tensor
    unit: torch.Tensor

    @property
    def inputs(self) -> tuple[torch.Tensor, ...]:
        """Arguments of the encoder."""
        return (self.background, *self.virtual, self.place)

    def turned(self, sign: torch.Tensor) -> Batch:
        """The same with errors and innovations times ``sign`` (B,), 1 or -1: as likely, and exactly what stage 1, which is odd, makes
        of them. A network cannot learn by heart which error each background had."""
        s = sign[:, None, None, None].to(self.target)
        increment, spread, residual, information = self.virtual
        return replace(self, virtual=(s * increment, spread, s * residual, information), target=s * self.target)


class Cases:
    """Random access to cached cases."""

    def __init__(self, folder: Path, store: PairStore, states: np.ndarray, spec: StateSpec, pairs: np.ndarray) -> None:
        files = sorted(folder.glob("?????.npy"))
        self._chunks = [np.load(p, mmap_mode="r") for p in files]
        self._factors = [np.load(_factor_file(p)) for p in files]
        self._store, self._states, self._spec, self._pairs = store, states, spec, pairs
        self.count = min(pairs.size, sum(c.shape[0] for c in self._chunks))

    def batch(self, numbers: np.ndarray, device: torch.device) -> Batch:
        """Cases ``numbers`` (B,) on ``device``."""
        spec, store = self._spec, self._store
        pairs = self._pairs[numbers]
        parts = np.stack([self._chunks[n // CHUNK][n % CHUNK] for n in numbers]).astype(np.float32)
        state = self._states[store.pairs[pairs, 0]]
        unit = np.stack([self._factors[n // CHUNK][n % CHUNK] for n in numbers])[:, :, None, None] * spec.column("background_std")
        target = np.stack([difference(store, self._states, int(p)) for p in pairs]) / unit
        place = np.stack(
            [
                conditions(spec.grid, store.statics["orography"], store.statics["lsm"], store.time[store.pairs[p, 1]], store.lead[p])
                for p in pairs
            ]
        )

        def to(values: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(np.ascontiguousarray(values)).to(device)

        background = (state - spec.column("mean")) / spec.column("std")
        return Batch(to(background), tuple(to(parts[:, i]) for i in range(len(PARTS))), to(place), to(target), to(state), to(unit))
