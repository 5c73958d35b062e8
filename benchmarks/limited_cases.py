"""Cases of a limited area: yesterday's analysis as background, simulated stations, and the tool's
own analysis of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from phyda_cli.analysis.analyse import analyse, pose
from phyda_cli.analysis.prior import as_fields
from phyda_cli.fields.grid import Fields
from phyda_cli.fields.state import StateSpec
from phyda_cli.model.checkpoint import Checkpoint
from phyda_cli.names import Channel
from phyda_cli.observations import table as observations
from phyda_cli.preprocessing.store import PairStore
from phyda_cli.settings.analysis import AnalysisSettings
from phyda_cli.simulation.observing_network import (
    Network,
    channel_errors,
    observe_channels,
    uniform_positions,
)
from phyda_cli.verification.scores import crps_ensemble, crps_gaussian

__all__ = ["Case", "cases", "score", "stations"]


@dataclass(frozen=True, eq=False)
class Case:
    """``background`` and ``truth`` (C, H, W) of ``time``, and what ``network`` observed of the
    truth, ``value`` (P,)."""

    background: np.ndarray
    truth: np.ndarray
    time: np.datetime64
    lead: float
    network: Network
    value: np.ndarray


def stations(spec: StateSpec, count: int, rng: np.random.Generator) -> Network:
    """``count`` stations at random places, each reporting every channel with the default error
    (z500 100 m2 s-2, t850 1 K, msl 100 Pa)."""
    latitude, longitude = (
        np.repeat(a, spec.n_channels) for a in uniform_positions(spec.grid, count, rng)
    )
    channel = np.tile(np.arange(spec.n_channels), count)
    return observe_channels(spec, latitude, longitude, channel, channel_errors(spec, channel))


def cases(store: PairStore, spec: StateSpec, count: int, every: int) -> Iterator[Case]:
    """Every ``every``-th pair of the store with ``count`` stations; places and noise are functions
    of pair and ``count``."""
    for pair in range(0, len(store.pairs), every):
        rng = np.random.default_rng([50, count, pair])
        network = stations(spec, count, rng)
        background, truth = (
            np.asarray(store.states[int(i)], np.float32) for i in store.pairs[pair]
        )
        value = network.matrix @ truth.ravel().astype(
            np.float64
        ) + network.error * rng.standard_normal(network.error.size)
        yield Case(
            background,
            truth,
            store.time[store.pairs[pair, 1]],
            float(store.lead[pair]),
            network,
            value,
        )


def score(case: Case, checkpoint: Checkpoint, settings: AnalysisSettings) -> dict[str, np.ndarray]:
    """Area means by channel of the squared error of analysis and background, the squared spread and
    the CRPS."""
    spec = checkpoint.state
    empty = Fields(spec.grid, case.time, np.zeros(0), {}, {}, case.lead)
    background = as_fields(case.background, spec, empty, np.ones(spec.n_channels, bool))
    problem = pose(background, _table(case, spec), checkpoint, settings)
    analysis = analyse(problem, keep_members=settings.method == "phyda")
    truth = case.truth.astype(np.float64)
    mean, before, spread = (_stack(f, spec) for f in (analysis.fields, background, analysis.spread))
    if analysis.members:
        crps = crps_ensemble(np.stack([_stack(m, spec) for m in analysis.members]), truth)
    else:
        crps = crps_gaussian(mean, spread, truth)
    weights = spec.grid.area_weights[:, None]
    parts = {
        "square": (mean - truth) ** 2,
        "prior": (before - truth) ** 2,
        "width": spread**2,
        "crps": crps,
    }
    return {name: (values * weights).mean(axis=(1, 2)) for name, values in parts.items()}


def _table(case: Case, spec: StateSpec) -> pd.DataFrame:
    network = case.network
    channels = [spec.channel_list[i] for i in network.channel]
    return observations.make(
        station_id=[
            f"{a:.3f} {b:.3f}" for a, b in zip(network.latitude, network.longitude, strict=True)
        ],
        time=case.time,
        latitude=network.latitude,
        longitude=network.longitude,
        variable=[c.variable for c in channels],
        pressure=np.array([np.nan if c.pressure is None else c.pressure for c in channels]),
        value=case.value,
        error=network.error.astype(float),
    )


def _stack(fields: Fields, spec: StateSpec) -> np.ndarray:
    """The channels (C, H, W) of fields on the model grid."""

    def of(channel: Channel) -> np.ndarray:
        if channel.pressure is None:
            return fields.surface[channel.variable]
        return fields.upper[channel.variable][int(np.searchsorted(fields.levels, channel.pressure))]

    return np.stack([of(c) for c in spec.channel_list]).astype(np.float64)
