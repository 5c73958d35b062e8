"""A perfect-model cycle for training data: analyses every 6 h, forecasts with jcm, random networks.

The nature run is the truth. The forecasts from each analysis, against the nature run, are
background errors as a cycle makes them: they follow the flow, and the network of the last days.
Only the model grid is involved in the analysis. Analyses are stage 1's, or the mean of phyda's: a
network that has seen the errors that its own analyses leave does not let them grow.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from phyda_cli import (
    cf,
    libproj,  # noqa: F401  some versions of xarray load every plug-in on opening
)
from phyda_cli.analysis.background_scale import BackgroundScale
from phyda_cli.analysis.correction_weight import CorrectionWeight
from phyda_cli.analysis.lagged import with_lagged
from phyda_cli.analysis.localisation import Localisation
from phyda_cli.analysis.model_grid import ModelGridSettings, Networks, analyse
from phyda_cli.analysis.prior import Prior, expected_error
from phyda_cli.errors import UsageError
from phyda_cli.fields.state import StateSpec
from phyda_cli.files.arrays import read_arrays, write_arrays
from phyda_cli.files.resume import claim
from phyda_cli.model.checkpoint import Checkpoint
from phyda_cli.settings.analysis import EnsembleSettings
from phyda_cli.settings.data import TwinSettings
from phyda_cli.simulation.incremental_update import IncrementalUpdate
from phyda_cli.simulation.jcm import (
    STEPS_PER_DAY,
    Native,
    SpeedyModel,
    chunk_paths,
    load_states,
)
from phyda_cli.simulation.nature_files import write_netcdf
from phyda_cli.simulation.observing_network import Network, draw_network
from phyda_cli.simulation.simulate import simulate
from phyda_cli.simulation.speedy_link import SpeedyLink

__all__ = ["Step", "cycle_errors", "cycle_network", "network_size", "rms", "run_twin_cycle"]

HOURS = 24 // STEPS_PER_DAY
# Networks learn from, and are chosen by, the errors that they leave when nothing holds them back.
WHOLE = CorrectionWeight.uniform(1.0)
LAGGED_WEIGHT = EnsembleSettings().lagged_weight
# attributes of the forecasts' variables, in their units: rms errors, and the spread stated
ERRORS = ("background_rmse", "analysis_rmse", "analysis_spread")
FIRST_SCALE = (
    2.0  # of the background error before there is an estimate: the first background is days old
)


@dataclass(frozen=True, eq=False)
class Step:
    """One cycle. ``path`` is the file of its forecasts and ``scale`` that of the background's
    errors. ``background`` and ``analysis`` are the mean square errors by channel (C,), and
    ``claimed`` the variance that the analysis states, all in background-error variances."""

    path: Path
    scale: BackgroundScale
    background: np.ndarray
    analysis: np.ndarray
    claimed: np.ndarray


def rms(squares: np.ndarray) -> float:
    """Root of the mean of ``squares`` (C,) over channels."""
    return float(np.sqrt(np.mean(squares)))


@dataclass
class _Position:
    """Where a cycle stands: the index of the nature state to analyse next, the background for it,
    and what the estimate of the background-error scale starts from, the one before."""

    index: int
    background: Native
    prior: float

    def save(self, path: Path) -> None:
        index, prior = np.array(self.index), np.array(self.prior)
        write_arrays(path, index=index, prior=prior, **self.background)

    def restore(self, path: Path) -> None:
        arrays = read_arrays(path, ("index", "prior", *self.background))
        self.index, self.prior = int(arrays.pop("index")), float(arrays.pop("prior"))
        self.background = arrays


def network_size(settings: TwinSettings, index: int) -> tuple[int, int]:
    """Bounds of the number of reports at nature state ``index``, around a size drawn log-uniformly
    for its regime of days."""
    regime = index // (settings.regime_days * STEPS_PER_DAY)
    low, high = np.log(settings.reports)
    total = float(np.exp(np.random.default_rng([settings.seed, 1, regime]).uniform(low, high)))
    return max(1, int(0.8 * total)), int(1.25 * total) + 1


def forecast_path(folder: Path, start: np.datetime64) -> Path:
    """The file of the forecast from ``start``."""
    return folder / f"forecast_{str(start)[:13]}.nc"


def cycle_errors(folder: Path) -> dict[str, np.ndarray]:
    """``ERRORS`` by time and channel (T, C) of the cycle in ``folder``."""
    found = []
    for path in sorted(folder.glob("forecast_*.nc")):
        with xr.open_dataset(path) as data:
            found.append([[v.attrs[name] for v in data.data_vars.values()] for name in ERRORS])
    return dict(zip(ERRORS, np.array(found).swapaxes(0, 1), strict=True))


def cycle_network(spec: StateSpec, land: np.ndarray, settings: TwinSettings, index: int) -> Network:
    """The network of one analysis: of its regime's size, its places drawn anew. ``land`` is the
    land fraction (H, W)."""
    return draw_network(
        spec, land, np.random.default_rng([settings.seed, 2, index]), network_size(settings, index)
    )


class _TwinCycle:
    def __init__(
        self,
        nature: Path,
        out: Path,
        link: SpeedyLink,
        checkpoint: Checkpoint,
        settings: TwinSettings,
    ) -> None:
        self.out = out
        chunks = [load_states(path) for path in chunk_paths(nature)]
        self.times = np.concatenate([times for times, _ in chunks])
        self.truth: list[Native] = [state for _, states in chunks for state in states]
        self.checkpoint, self.settings, self.spec, self.link = (
            checkpoint,
            settings,
            checkpoint.state,
            link,
        )
        self.localisation = Localisation.of(self.spec, checkpoint.metadata.solver)
        self.model = SpeedyModel(self.times[0], settings.forecast_hours / 24)
        lag = settings.lag_days * STEPS_PER_DAY
        if len(self.truth) <= lag:
            raise UsageError(
                f"the nature run in {nature} has {len(self.truth) / STEPS_PER_DAY:g} days; a "
                f"cycle starts after {settings.lag_days}",
                hint="extend it with `phyda download --source nature --days N` in the same folder",
            )
        first, self.end = lag, len(self.truth)
        if settings.first is not None:
            first = int(np.searchsorted(self.times, np.datetime64(settings.first)))
        if settings.last is not None:
            self.end = int(np.searchsorted(self.times, np.datetime64(settings.last)))
        if not lag <= first < self.end:
            raise UsageError(
                f"no cycle from {settings.first or 'the start'} to {settings.last or 'the end'}: "
                f"the nature run in {nature} has {self.times[0]} to {self.times[-1]}, and a cycle "
                f"starts after {settings.lag_days} days",
                hint="see --first and --last",
            )
        self.position = _Position(first, dict(self.truth[first - lag]), FIRST_SCALE)
        self.update: IncrementalUpdate | None = None
        if settings.iau_parts:
            self.update = IncrementalUpdate(link, self.times[0], settings.iau_parts)
        self.networks = Networks.of(checkpoint) if settings.method == "phyda" else None

    def analyse(self, index: int, background: Native) -> tuple[np.ndarray, Step]:
        """The increment (C, H, W) [physical units] at nature state ``index``, and how good the
        analysis is."""
        spec, checkpoint, time = self.spec, self.checkpoint, self.times[index]
        state, truth = self.link.stack([background, self.truth[index]])
        correction = expected_error(checkpoint, state, time)
        if correction is not None:
            state = state + correction
        network = cycle_network(spec, checkpoint.statics["lsm"], self.settings, index)
        rng = np.random.default_rng([self.settings.seed, 3, index])
        error = (truth - state) / spec.column("background_std")
        prior = Prior.static(checkpoint, state, time, HOURS, self.localisation)
        if differences := [forecast - state for forecast in self.lagged(time)]:
            prior = with_lagged(prior, np.stack(differences), LAGGED_WEIGHT)
        found = analyse(
            prior,
            simulate(spec, error, network, rng),
            self.networks,
            ModelGridSettings(expected_scale=self.position.prior, weight=WHOLE),
        )
        increment = found.mean * found.unit
        left, claimed = truth - state - increment, found.spread * found.unit
        step = Step(
            forecast_path(self.out, time),
            found.scale,
            *(self._mean_square(field) for field in (truth - state, left, claimed)),
        )
        if correction is not None:
            increment = increment + correction
        return increment, step

    def forecast(
        self, background: Native, increment: np.ndarray, time: np.datetime64
    ) -> list[Native]:
        """States every 6 h from the analysis at ``time``."""
        if self.update is None:
            return self.model.forecast(self.link.add(background, increment), time)
        next_one = self.update.forecast(background, increment, time)[-1]
        later = self.model.forecast(next_one, time + np.timedelta64(HOURS, "h"))
        return [next_one, *later[:-1]]

    def _mean_square(self, field: np.ndarray) -> np.ndarray:
        """Mean over the area (C,) of the square of ``field`` (C, H, W) [physical units], in
        background-error variances."""
        square = (field / self.spec.column("background_std")) ** 2
        found: np.ndarray = (square * self.spec.grid.area_weights[:, None]).mean(axis=(1, 2))
        return found

    def lagged(self, time: np.datetime64) -> Iterator[np.ndarray]:
        """Forecasts (C, H, W) of earlier analyses than the background's, valid at ``time``."""
        for step in range(2, 2 + self.settings.lagged):
            start = time - np.timedelta64(step * HOURS, "h")
            path = forecast_path(self.out, start)
            if path.exists():
                with xr.open_dataset(path) as data:
                    yield np.stack([data[key].values[step - 1] for key in self.spec.channels])

    def dataset(self, index: int, step: Step, forecast: list[Native]) -> xr.Dataset:
        """Forecasts from the analysis at ``index`` on the model grid, one variable a channel, which
        says how good that analysis is."""
        stack = self.link.stack(forecast)
        leads = (
            (HOURS * (1 + np.arange(len(forecast))))
            .astype("timedelta64[h]")
            .astype("timedelta64[ns]")
        )
        squares = dict(zip(ERRORS, (step.background, step.analysis, step.claimed), strict=True))
        sizes = {
            name: np.sqrt(square) * self.spec.column("background_std").ravel()
            for name, square in squares.items()
        }
        fields = {
            key: (
                ("step", "latitude", "longitude"),
                stack[:, i],
                {name: float(size[i]) for name, size in sizes.items()},
            )
            for i, key in enumerate(self.spec.channels)
        }
        grid = self.spec.grid
        coordinates = {
            "step": leads,
            "latitude": grid.latitude,
            "longitude": grid.longitude,
            "time": self.times[index].astype("datetime64[ns]"),
        }
        ds = xr.Dataset(
            fields,
            coords=coordinates,
            attrs={"source": f"jcm, cycled with {self.settings.method} on random networks"},
        )
        ds["time"].attrs, ds["step"].attrs = dict(cf.START), dict(cf.LEAD)
        return ds


def run_twin_cycle(
    nature: Path, out: Path, checkpoint: Checkpoint, settings: TwinSettings
) -> Iterator[Step]:
    """Cycle over the nature run in ``nature``, writing forecast files to ``out``; yields each step.

    Continues after the last complete cycle, also to a later end than before. Raises UsageError
    without a nature run, with a model jcm cannot be cycled with, or when ``out`` holds another
    cycle.
    """
    if not chunk_paths(nature):
        raise UsageError(
            f"no nature run in {nature}", hint="make one with `phyda download --source nature`"
        )
    if out.resolve() == nature.resolve():
        raise UsageError(
            f"{out} is the nature run's own folder, where twins have the same names",
            hint="choose another --out",
        )
    cycle = _TwinCycle(nature, out, SpeedyLink(checkpoint.state), checkpoint, settings)
    record = {
        "nature": str(nature.resolve()),
        "checkpoint": checkpoint.sha256,
        "settings": settings.model_dump(mode="json", exclude={"last"}),  # a later one extends it
    }
    claim(out, record)
    position, state_file = cycle.position, out / "cycle_state.npz"
    if state_file.exists():
        position.restore(state_file)
    while position.index < cycle.end:
        time = cycle.times[position.index]
        increment, step = cycle.analyse(position.index, position.background)
        forecast = cycle.forecast(position.background, increment, time)
        write_netcdf(cycle.dataset(position.index, step, forecast), step.path)
        position.background = forecast[0]
        position.index += 1
        position.prior = step.scale.pooled
        position.save(state_file)
        yield step
