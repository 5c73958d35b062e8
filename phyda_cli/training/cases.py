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
from typing import Protocol

import numpy as np
import torch

from phyda_cli.analysis.background_scale import BackgroundScale
from phyda_cli.analysis.errors_of_the_day import observed_evidence
from phyda_cli.analysis.model_grid import ModelGridSettings, Networks, analyse, scaled_to_today
from phyda_cli.analysis.prior import Prior, normalised
from phyda_cli.analysis.reconstruction import Observations
from phyda_cli.fields.state import StateSpec
from phyda_cli.files.publish import publish
from phyda_cli.model.background_spread import BackgroundSpread
from phyda_cli.model.encoder import conditions
from phyda_cli.model.evidence import N_MAPS
from phyda_cli.parallel.ranks import Ranks
from phyda_cli.preprocessing.store import PairStore
from phyda_cli.settings.training import TrainingSettings
from phyda_cli.simulation.observing_network import draw_network
from phyda_cli.simulation.simulate import simulate
from phyda_cli.training.members import MemberPool
from phyda_cli.training.statistics import difference

__all__ = [
    "Batch",
    "CaseBuilder",
    "Cases",
    "EvidenceBatch",
    "StageOne",
    "build_cases",
    "evidence_maps",
]

CHUNK = 32
PARTS = 4  # fields of C channels that the encoder sees of stage 1


def build_cases(
    folder: Path,
    store: PairStore,
    states: np.ndarray,
    spec: StateSpec,
    pool: MemberPool,
    pairs: np.ndarray,
    settings: TrainingSettings,
    report: Callable[[str], None],
    ranks: Ranks | None = None,
    builder: CaseBuilder | None = None,
) -> None:
    """Simulate a case for each of ``pairs`` into chunk files of ``folder``, the factors beside;
    complete chunks are kept.

    ``builder`` makes the parts, those of stage 1 without errors of the day where it is not given.

    One thread a core, each with single-threaded algebra: a case is too small to share. The
    processes of ``ranks`` divide the chunks.
    """
    ranks = ranks or Ranks()
    folder.mkdir(parents=True, exist_ok=True)

    def build(index: int) -> None:
        path = folder / f"{index:05d}.npy"
        if path.exists():
            return
        numbers = range(index * CHUNK, min((index + 1) * CHUNK, pairs.size))
        parts, factors = zip(
            *(
                _case(store, states, spec, pool, int(pairs[n]), n, settings, builder or StageOne())
                for n in numbers
            ),
            strict=True,
        )
        for target, values in ((_factor_file(path), factors), (path, parts)):
            with publish(target, overwrite=True) as temporary, temporary.open("wb") as file:
                np.save(file, np.stack(values))

    own = range(ranks.rank, -(-pairs.size // CHUNK), ranks.size)
    threads = max(1, (os.cpu_count() or 1) // ranks.local_size)
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as executor:
        for done, _ in enumerate(executor.map(build, own), 1):
            if done % 10 == 0 or done == len(own):
                report(
                    f"{min(done * CHUNK * ranks.size, pairs.size)} of {pairs.size} cases simulated"
                )


def _case(
    store: PairStore,
    states: np.ndarray,
    spec: StateSpec,
    pool: MemberPool,
    pair: int,
    number: int,
    settings: TrainingSettings,
    build: CaseBuilder,
) -> tuple[np.ndarray, np.ndarray]:
    """The parts of one case (parts, C, H, W) float16, and its factors (C,)."""
    rng = np.random.default_rng([settings.seed, number])
    network = draw_network(
        spec,
        store.statics["lsm"],
        rng,
        settings.reports,
        kind=settings.network_kind,
    )
    truth = difference(store, states, pair) / spec.column("background_std")
    time = store.time[store.pairs[pair, 1]]
    prior = Prior.of(
        state=states[store.pairs[pair, 0]],
        spec=spec,
        statics=store.statics,
        time=time,
        lead_hours=float(store.lead[pair]),
        ensemble=pool.ensemble(time),
    )
    parts, scale = build(prior, simulate(spec, truth, network, rng), ModelGridSettings())
    return parts.astype(np.float16), scale.of_channels(prior.spec.channel_list).astype(np.float32)


def conditions_of(store: PairStore, pair: int) -> np.ndarray:
    """The conditions (N_CONDITIONS, H, W) of a pair."""
    time = store.time[store.pairs[pair, 1]]
    return conditions(
        store.grid, store.statics["orography"], store.statics["lsm"], time, store.lead[pair]
    )


class CaseBuilder(Protocol):
    """Makes the parts of a case (parts, C, H, W) of its prior and its observations; returns the
    scale of the background's errors too."""

    def __call__(
        self, prior: Prior, observations: Observations, settings: ModelGridSettings
    ) -> tuple[np.ndarray, BackgroundScale]: ...


@dataclass(frozen=True)
class StageOne:
    """What the encoder sees of stage 1, with the errors of the day that ``spread`` finds."""

    spread: BackgroundSpread | None = None

    def __call__(
        self, prior: Prior, observations: Observations, settings: ModelGridSettings
    ) -> tuple[np.ndarray, BackgroundScale]:
        found = analyse(prior, observations, Networks(errors_of_the_day=self.spread), settings)
        assert found.virtual is not None
        return np.stack([part.numpy() for part in found.virtual.seen]), found.scale


def evidence_maps(
    prior: Prior, observations: Observations, settings: ModelGridSettings
) -> tuple[np.ndarray, BackgroundScale]:
    """What the network of the background spread sees of the observations."""
    prior, observations, scale = scaled_to_today(prior, observations, settings)
    maps = observed_evidence(prior.ensemble, observations)
    return maps.reshape(N_MAPS, *prior.state.shape), scale


def _factor_file(path: Path) -> Path:
    return path.with_suffix(".factor.npy")


@dataclass(frozen=True)
class Batch:
    """Inputs and target of some cases, (B, C, H, W) but ``conditions``; ``state`` is the background
    in physical units, and ``unit`` (B, C, 1, 1) what one of the target is."""

    background: torch.Tensor
    parts: tuple[torch.Tensor, ...]
    conditions: torch.Tensor
    target: torch.Tensor
    state: torch.Tensor
    unit: torch.Tensor

    @property
    def inputs(self) -> tuple[torch.Tensor, ...]:
        """Arguments of the encoder."""
        return (self.background, *self.parts, self.conditions)

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
        return self.background, self.conditions, torch.cat(self.parts, dim=1)

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

    def batch(self, numbers: np.ndarray, device: torch.device) -> Batch:
        """Cases ``numbers`` (B,) on ``device``."""
        spec, store = self._spec, self._store
        pairs = self._pairs[numbers]
        parts = np.stack([self._chunks[n // CHUNK][n % CHUNK] for n in numbers], axis=1)
        state = self._states[store.pairs[pairs, 0]]
        unit = np.stack([self._factors[n // CHUNK][n % CHUNK] for n in numbers])[
            :, :, None, None
        ] * spec.column("background_std")
        target = np.stack([difference(store, self._states, int(p)) for p in pairs]) / unit
        known = np.stack([conditions_of(store, int(p)) for p in pairs])

        def to(values: np.ndarray) -> torch.Tensor:
            # float16 is faster to send, and torch to convert
            return torch.from_numpy(np.ascontiguousarray(values)).to(device).float()

        return self._kind(
            to(normalised(state, spec)),
            tuple(to(part) for part in parts),
            to(known),
            to(target),
            to(state),
            to(unit),
        )
