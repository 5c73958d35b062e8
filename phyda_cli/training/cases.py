"""Training cases: a pair, a random network, and what becomes of the observations, cached on disk.

That is what stage 1 makes of them, or the evidence of their innovations.

As in an analysis, increments are in units of the background error as the innovations of the case
show it (see :mod:`phyda_cli.analysis.background_scale`): backgrounds of every quality look alike to
the networks. A case is a pure function of (settings, its number), so the cache resumes after any
interruption.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from scipy import sparse

from phyda_cli.analysis.background_scale import DEVIATION, BackgroundScale, estimate_scale
from phyda_cli.analysis.errors_of_the_day import ErrorsOfTheDay, observed_evidence
from phyda_cli.analysis.reconstruction import Ensemble, Virtual, reconstruct
from phyda_cli.fields.state import StateSpec
from phyda_cli.files.publish import publish
from phyda_cli.model.background_spread import BackgroundSpread
from phyda_cli.model.encoder import conditions
from phyda_cli.model.evidence import N_MAPS
from phyda_cli.preprocessing.store import PairStore
from phyda_cli.settings.training import TrainingSettings
from phyda_cli.simulation.observing_network import Network, draw_network
from phyda_cli.training.members import MemberPool
from phyda_cli.training.statistics import difference

if TYPE_CHECKING:  # a simulation needs no processes
    from phyda_cli.parallel.training import World

__all__ = [
    "Batch",
    "Cases",
    "EvidenceBatch",
    "Maker",
    "StageOne",
    "build_cases",
    "evidence_maps",
    "innovations",
    "scaled",
    "simulate",
]

CHUNK = 32
PARTS = ("increment", "spread", "residual", "information")
Reports = tuple[
    sparse.csr_matrix, np.ndarray, np.ndarray, np.ndarray, np.ndarray
]  # of :func:`reconstruct`


def innovations(
    spec: StateSpec, truth: np.ndarray, network: Network, rng: np.random.Generator
) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Operator (P, C*H*W) on the normalised increment and simulated innovations (P,) of the
    increment ``truth`` (C, H, W)."""
    scale = np.broadcast_to(spec.column("background_std"), truth.shape).ravel()
    matrix = (network.matrix @ sparse.diags_array(scale)).tocsr()
    return matrix, matrix @ truth.ravel() + network.error * rng.standard_normal(
        network.error.size
    ).astype(np.float32)


def scaled(
    ensemble: Ensemble,
    spec: StateSpec,
    network: Network,
    matrix: sparse.csr_matrix,
    innovation: np.ndarray,
    prior: float = 1.0,
    deviation: float = DEVIATION,
) -> tuple[BackgroundScale, np.ndarray, sparse.csr_matrix]:
    """The scale of the background error, its factor for each channel (C, 1, 1), and the operator
    (P, C*H*W) on increments so scaled."""
    sigma_b = ensemble.spread_at(matrix)
    names = np.array([c.variable for c in spec.channel_list])
    where = network.latitude, network.longitude
    scale = estimate_scale(
        names[network.channel], innovation, network.error, sigma_b, *where, prior, deviation
    )
    factor = scale.of(list(names)).astype(np.float32)[:, None, None]
    return (
        scale,
        factor,
        (matrix @ sparse.diags_array(np.repeat(factor.ravel(), spec.grid.size))).tocsr(),
    )


def simulate(
    ensemble: Ensemble,
    spec: StateSpec,
    truth: np.ndarray,
    network: Network,
    rng: np.random.Generator,
    draws: int = 0,
    seed: int = 0,
    today: ErrorsOfTheDay | None = None,
) -> tuple[Virtual, np.ndarray]:
    """Stage 1, with ``draws`` perturbations, on simulated observations of the normalised increment
    ``truth`` (C, H, W); ``today`` scales the members to the errors of the day.

    Times the factors (C, 1, 1) that come with it, the result is in the units of ``truth``.
    """
    matrix, innovation = innovations(spec, truth, network, rng)
    _, factor, operator = scaled(ensemble, spec, network, matrix, innovation)
    if today is not None:
        ensemble = today.ensemble(ensemble, operator, innovation, network.error)
    return reconstruct(
        ensemble,
        operator,
        innovation,
        network.error,
        network.latitude,
        network.longitude,
        draws,
        seed,
    ), factor


def build_cases(
    folder: Path,
    store: PairStore,
    states: np.ndarray,
    spec: StateSpec,
    pool: MemberPool,
    pairs: np.ndarray,
    settings: TrainingSettings,
    report: Callable[[str], None],
    world: World | None = None,
    make: Maker | None = None,
) -> None:
    """Simulate a case for each of ``pairs`` into chunk files of ``folder``, the factors beside;
    complete chunks are kept.

    ``make`` is what becomes of the observations, stage 1 without errors of the day where it is not
    given.

    One thread a core, each with single-threaded algebra: a case is too small to share. The
    processes of ``world`` divide the chunks.
    """
    rank, size, local = (world.rank, world.size, world.local_size) if world else (0, 1, 1)
    folder.mkdir(parents=True, exist_ok=True)

    def build(index: int) -> None:
        path = folder / f"{index:05d}.npy"
        if path.exists():
            return
        numbers = range(index * CHUNK, min((index + 1) * CHUNK, pairs.size))
        parts, factors = zip(
            *(
                _case(store, states, spec, pool, int(pairs[n]), n, settings, make or StageOne())
                for n in numbers
            ),
            strict=True,
        )
        for target, values in ((_factor_file(path), factors), (path, parts)):
            with publish(target, overwrite=True) as temporary, temporary.open("wb") as file:
                np.save(file, np.stack(values))

    own = range(rank, -(-pairs.size // CHUNK), size)
    threads = max(1, (os.cpu_count() or 1) // local)
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as executor:
        for done, _ in enumerate(executor.map(build, own), 1):
            if done % 10 == 0 or done == len(own):
                report(f"{min(done * CHUNK * size, pairs.size)} of {pairs.size} cases simulated")


def _case(
    store: PairStore,
    states: np.ndarray,
    spec: StateSpec,
    pool: MemberPool,
    pair: int,
    number: int,
    settings: TrainingSettings,
    make: Maker,
) -> tuple[np.ndarray, np.ndarray]:
    """The parts of one case (parts, C, H, W) float16, and its factors (C,)."""
    rng = np.random.default_rng([settings.seed, number])
    network = draw_network(
        spec,
        store.statics["lsm"],
        rng,
        settings.reports,
        complete=settings.complete_reports,
        error_factor=settings.error_factor,
    )
    truth = difference(store, states, pair) / spec.column("background_std")
    matrix, innovation = innovations(spec, truth, network, rng)
    ensemble = pool.ensemble(store.time[store.pairs[pair, 1]])
    _, factor, operator = scaled(
        ensemble, spec, network, matrix, innovation, deviation=settings.solver.scale_deviation
    )
    state = (states[store.pairs[pair, 0]] - spec.column("mean")) / spec.column("std")
    parts = make(
        ensemble,
        (operator, innovation, network.error, network.latitude, network.longitude),
        state,
        place_of(store, pair),
    )
    return parts.astype(np.float16), factor.ravel()


def place_of(store: PairStore, pair: int) -> np.ndarray:
    """The conditions (N_CONDITIONS, H, W) of a pair."""
    time = store.time[store.pairs[pair, 1]]
    return conditions(
        store.grid, store.statics["orography"], store.statics["lsm"], time, store.lead[pair]
    )


class Maker(Protocol):
    """Makes the parts of a case (parts, C, H, W) of stage 1's static members, the observations, the
    normalised background and its place."""

    def __call__(
        self, ensemble: Ensemble, reports: Reports, state: np.ndarray, place: np.ndarray
    ) -> np.ndarray: ...


@dataclass(frozen=True)
class StageOne:
    """What the encoder sees of stage 1, with the errors of the day that ``spread`` finds."""

    spread: BackgroundSpread | None = None

    def __call__(
        self, ensemble: Ensemble, reports: Reports, state: np.ndarray, place: np.ndarray
    ) -> np.ndarray:
        if self.spread is not None:
            ensemble = ErrorsOfTheDay(self.spread, state, place).ensemble(ensemble, *reports[:3])
        virtual = reconstruct(ensemble, *reports)
        return np.stack([getattr(virtual, name).numpy() for name in PARTS])


def evidence_maps(
    ensemble: Ensemble, reports: Reports, state: np.ndarray, place: np.ndarray
) -> np.ndarray:
    """What the network of the background spread sees of the observations."""
    return observed_evidence(ensemble, *reports[:3]).reshape(N_MAPS, *ensemble.members.shape[1:])


def _factor_file(path: Path) -> Path:
    return path.with_suffix(".factor.npy")


@dataclass(frozen=True)
class Batch:
    """Inputs and target of some cases, (B, C, H, W) but ``place``; ``state`` is the background in
    physical units, and ``unit`` (B, C, 1, 1) what one of the target is."""

    background: torch.Tensor
    parts: tuple[torch.Tensor, ...]
    place: torch.Tensor
    target: torch.Tensor
    state: torch.Tensor
    unit: torch.Tensor

    @property
    def inputs(self) -> tuple[torch.Tensor, ...]:
        """Arguments of the encoder."""
        return (self.background, *self.parts, self.place)

    def turned(self, sign: torch.Tensor) -> Batch:
        """The same with errors and innovations times ``sign`` (B,), 1 or -1: as likely, and exactly
        what stage 1, which is odd, makes of them. A network cannot learn by heart which error each
        background had."""
        s = sign[:, None, None, None].to(self.target)
        increment, spread, residual, information = self.parts
        return replace(
            self, parts=(s * increment, spread, s * residual, information), target=s * self.target
        )


class EvidenceBatch(Batch):
    """With the evidence of the innovations for parts."""

    @property
    def inputs(self) -> tuple[torch.Tensor, ...]:
        """Arguments of the background spread's network."""
        return self.background, self.place, torch.cat(self.parts, dim=1)

    def turned(self, sign: torch.Tensor) -> EvidenceBatch:
        """The same: the evidence is of squares."""
        return self


class Cases:
    """Random access to cached cases, as batches of ``kind``."""

    def __init__(
        self,
        folder: Path,
        store: PairStore,
        states: np.ndarray,
        spec: StateSpec,
        pairs: np.ndarray,
        kind: type[Batch] = Batch,
    ) -> None:
        self._kind = kind
        files = sorted(folder.glob("?????.npy"))
        self._chunks = [np.load(p, mmap_mode="r") for p in files]
        self._factors = [np.load(_factor_file(p)) for p in files]
        self._store, self._states, self._spec, self._pairs = store, states, spec, pairs
        self.shape = (spec.n_channels, *spec.grid.shape)
        self.count = min(pairs.size, sum(c.shape[0] for c in self._chunks))

    def batch(
        self, numbers: np.ndarray, device: torch.device, channels_last: bool = False
    ) -> Batch:
        """Cases ``numbers`` (B,) on ``device``; ``channels_last`` is only an order in memory."""
        spec, store = self._spec, self._store
        pairs = self._pairs[numbers]
        parts = np.stack([self._chunks[n // CHUNK][n % CHUNK] for n in numbers], axis=1)
        state = self._states[store.pairs[pairs, 0]]
        unit = np.stack([self._factors[n // CHUNK][n % CHUNK] for n in numbers])[
            :, :, None, None
        ] * spec.column("background_std")
        target = np.stack([difference(store, self._states, int(p)) for p in pairs]) / unit
        place = np.stack([place_of(store, int(p)) for p in pairs])

        def to(values: np.ndarray) -> torch.Tensor:
            made = (
                torch.from_numpy(np.ascontiguousarray(values)).to(device).float()
            )  # float16 is faster to send, and torch to convert
            return made.to(memory_format=torch.channels_last) if channels_last else made

        background = (state - spec.column("mean")) / spec.column("std")
        return self._kind(
            to(background),
            tuple(to(part) for part in parts),
            to(place),
            to(target),
            to(state),
            to(unit),
        )
