"""Nature runs and twin forecasts with jcm (SPEEDY physics on the dinosaur core, T31, 8 sigma
levels).

A nature run is the truth of an observing-system simulation experiment; a twin forecast is the same
model started from a perturbed nature state, and its difference from the nature run is a background
error with a known answer. Needs the extra ``phyda[nature]``; no network, boundary data ships inside
jcm.

Native states are dictionaries of float32 arrays, sigma levels from the top down, latitude
ascending: ``u v t q z`` (8, lon, lat), ``ps`` surface pressure in Pa, ``t2m u10 v10`` near-surface
fields, all (lon, lat) [SI]. ``q`` is what the waves of the model add up to, in places a little
below zero: a forecast from one that ends at zero would begin too moist, by some percent aloft.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from phyda_cli import libproj  # noqa: F401  some versions of xarray load every plug-in on opening
from phyda_cli.errors import UsageError
from phyda_cli.files.arrays import read_arrays, write_arrays

__all__ = [
    "Native",
    "SpeedyModel",
    "chunk_paths",
    "load_states",
    "read_arrays",
    "run_nature",
    "run_twins",
    "statics",
]

Native = dict[str, np.ndarray]

SIGMA = np.array([0.025, 0.095, 0.20, 0.34, 0.51, 0.685, 0.835, 0.95])
PROGNOSTIC = ("u", "v", "t", "q", "z", "ps")
DIAGNOSTIC = {"t2m": "t0", "u10": "u0", "v10": "v0"}
STEPS_PER_DAY = 4
MAX_LAG_DAYS = 2
CLIPPED_WAVENUMBERS = 2  # jcm.dycore.dinosaur
WIND_PASSES = 5  # more change nothing


def _boundary_folder() -> Path:
    try:
        import jcm
    except ImportError as error:
        raise UsageError(
            "the nature run needs the jcm package", hint="pip install 'phyda[nature]'"
        ) from error
    return Path(jcm.__file__).parent / "data" / "bc" / "t30" / "clim"


@cache
def statics() -> dict[str, np.ndarray]:
    """Latitude, longitude [degrees], orography [m] and land fraction [1] of the model; fields are
    (lat, lon).

    The orography is the one of the dynamics, which surface pressure and geopotential belong to: the
    terrain file's without the waves that the model's core leaves out. It ripples beside high
    mountains, down to -500 m over sea.
    """
    import xarray as xr

    with xr.open_dataset(_boundary_folder() / "terrain.nc") as ds:
        return {
            "latitude": ds["lat"].values,
            "longitude": ds["lon"].values,
            "orography": _of_the_dynamics(ds["orog"].values).T,
            "land_sea_mask": ds["lsm"].values.T,
        }


def _of_the_dynamics(terrain: np.ndarray) -> np.ndarray:
    """Heights (lon, lat) [m] truncated as jcm's dynamical core does it."""
    from dinosaur.spherical_harmonic import Grid

    grid = Grid.T31()
    modal = grid.clip_wavenumbers(grid.to_modal(terrain), n=CLIPPED_WAVENUMBERS)
    return np.asarray(grid.to_nodal(modal), np.float32)


class SpeedyModel:
    """jcm with a fixed run length; one compiled program serves every start."""

    def __init__(
        self, start: np.datetime64, days: float, saved_per_day: int = STEPS_PER_DAY
    ) -> None:
        boundary = _boundary_folder()
        from jcm import configurations

        self.start = start.astype("datetime64[s]")
        self.days = days
        self._saves = round(days * saved_per_day)
        self._carry: Any = None
        self._experiment = configurations.load(
            "speedy-t31",
            **{
                "terrain.file": str(boundary / "terrain.nc"),
                "terrain.interpolate": False,
                "forcing.file": str(boundary / "forcing.nc"),
                "run.total_time": 1 / saved_per_day,
                "run.save_interval": 1 / saved_per_day,
                "run.start_time": str(self.start),
            },
        )

    def cold_start(self, seed: int) -> Native:
        """An isothermal rest state with a seeded temperature perturbation, integrated for ``days``
        (the spin-up)."""
        rest = self._experiment.model.initial_state(random_seed=seed)
        return self._integrate(self._start(rest, self.start))[1][-1]

    def forecast(self, state: Native, time: np.datetime64) -> list[Native]:
        """Integrate from ``state`` valid at ``time``; native states every 6 h (or as set), the
        initial time not included."""
        return self._integrate(self._start(self._spectral(state), time))[1]

    def nudged(
        self, state: Native, towards: Native, time: np.datetime64, parts: int
    ) -> list[Native]:
        """As :meth:`forecast`, ``parts`` times in a row. Each time begins with an equal part of the
        way from ``state`` to ``towards`` added to what the model has become.

        The model goes on from its own spectral state: a wind that leaves and enters as fields loses
        its smallest scales (vorticity 3 %, divergence 15 %).
        """
        import jax

        current, aim = self._spectral(state), self._spectral(towards)
        share = jax.tree_util.tree_map(lambda a, b: (b - a) / parts, current, aim)
        run, states = self._start(current, time), []
        for _ in range(parts):
            pushed = jax.tree_util.tree_map(jax.numpy.add, run.dynamics, share)
            run, more = self._integrate(run.replace(dynamics=pushed))
            states += more
        return states

    def _spectral(self, state: Native) -> Any:
        """The model's own state for these fields.

        jcm's first answer has another wind than ``state``, so what is left is added again.
        """
        import jax.numpy as jnp
        from dinosaur.spherical_harmonic import uv_nodal_to_vor_div_modal, vor_div_to_uv_nodal
        from jcm.physics_interface import PhysicsState

        gridded = {k: state[k] for k in PROGNOSTIC} | {"ps": state["ps"] / 1e5}
        start = PhysicsState(*(jnp.asarray(gridded[k]) for k in PROGNOSTIC))
        model = self._experiment.model
        grid, found = model.dycore.coords.horizontal, model.initial_state(start)
        for _ in range(WIND_PASSES):
            u, v = vor_div_to_uv_nodal(grid, found.vorticity, found.divergence)
            more = uv_nodal_to_vor_div_modal(grid, start.u_wind - u, start.v_wind - v)
            found = found.replace(
                vorticity=found.vorticity + more[0], divergence=found.divergence + more[1]
            )
        return found

    def _integrate(self, run: Any) -> tuple[Any, list[Native]]:
        """The model after its run length, and its states on the way."""
        states = []
        for _ in range(self._saves):
            run, prediction = self._advance(run)
            states.append(self._native(run, prediction))
        return run, states

    def _start(self, dycore_state: Any, time: np.datetime64) -> Any:
        import jax.numpy as jnp
        import jax_datetime as jdt
        from jcm.model import RunState

        model = self._experiment.model
        seconds = int((time.astype("datetime64[s]") - self.start) / np.timedelta64(1, "s"))
        if self._carry is None:  # the fresh carry is the same for every start, and slow to build
            model.bootstrap_state(dycore_state)
            self._carry = model.physics_carry
        at = model.start_time + jdt.to_timedelta(seconds, "s")
        return RunState(dynamics=dycore_state, physics=self._carry, time=at, step=jnp.int32(0))

    def _advance(self, run: Any) -> tuple[Any, Any]:
        kwargs = self._experiment.run_kwargs
        result: tuple[Any, Any] = self._experiment.model.run_from_state_with_carry(
            initial_state=run.dynamics,
            forcing=kwargs["forcing"],
            save_interval=kwargs["save_interval"],
            total_time=kwargs["total_time"],
            initial_physics_state=run.physics,
            initial_time=run.time,
            initial_step=run.step,
        )
        return result

    def _native(self, run: Any, prediction: Any) -> Native:
        """The state of ``run``, of which ``prediction`` is what jcm shows: no humidity below
        zero."""
        d, flux = prediction.dynamics, prediction.physics["_surface_flux"]
        humidity = run.dynamics.tracers["specific_humidity"]
        fields = {
            "u": d.u_wind[0],
            "v": d.v_wind[0],
            "t": d.temperature[0],
            "q": self._experiment.model.dycore.coords.horizontal.to_nodal(humidity),
            "z": d.geopotential[0],
            "ps": np.asarray(d.normalized_surface_pressure[0]) * 1e5,
        }
        fields |= {name: getattr(flux, source)[0] for name, source in DIAGNOSTIC.items()}
        return {k: np.asarray(v, np.float32) for k, v in fields.items()}


def lagged_perturbation(states: list[Native], rng: np.random.Generator, u_rms: float) -> Native:
    """A scaled difference of two states one or two days apart, drawn from ``states``; ``u_rms``
    [m/s] is its size.

    Whole days keep the diurnal cycle out of the perturbation.
    """
    lag = STEPS_PER_DAY * int(rng.integers(1, MAX_LAG_DAYS + 1))
    i = int(rng.integers(lag, len(states)))
    difference = {k: states[i][k] - states[i - lag][k] for k in PROGNOSTIC}
    scale = u_rms / float(np.sqrt(np.mean(difference["u"] ** 2))) * rng.choice([-1.0, 1.0])
    return {k: np.float32(scale) * v for k, v in difference.items()}


def perturbed(state: Native, perturbation: Native) -> Native:
    """``state`` plus ``perturbation``, which takes no humidity below zero."""
    out = {k: state[k] + perturbation[k] for k in PROGNOSTIC}
    out["q"] = np.maximum(out["q"], np.minimum(state["q"], 0.0))
    return out


def save_states(path: Path, times: np.ndarray, states: list[Native]) -> None:
    """Write native states to an ``.npz`` that appears complete or not at all."""
    arrays = {k: np.stack([s[k] for s in states]) for k in states[0]}
    write_arrays(path, time=times.astype("datetime64[s]"), **arrays)


def load_states(path: Path) -> tuple[np.ndarray, list[Native]]:
    """Times (datetime64[s]) and native states written by :func:`save_states`."""
    arrays = read_arrays(path, ("time", *PROGNOSTIC, *DIAGNOSTIC))
    times = arrays.pop("time")
    return times, [{k: v[i] for k, v in arrays.items()} for i in range(times.size)]


def _length(path: Path) -> int:
    """Number of states in a file of :func:`save_states`."""
    return int(read_arrays(path, ("time",))["time"].size)


def chunk_paths(folder: Path) -> list[Path]:
    """Native chunks of a nature run in time order."""
    return sorted(folder.glob("native_*.npz"))


def run_nature(
    folder: Path, days: int, start: np.datetime64, seed: int, spinup: int = 60, chunk: int = 30
) -> Iterator[Path]:
    """Integrate a nature run chunk by chunk; yields each chunk's path, existing ones included.

    Resumes from the last complete chunk after any interruption; a last chunk too short for ``days``
    is made again. ``start`` is the first output day; the spin-up of ``spinup`` days comes before
    it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    hour = np.timedelta64(24 // STEPS_PER_DAY, "h")
    model: SpeedyModel | None = None
    state: Native | None = None
    for index in range(-(-days // chunk)):
        path = folder / f"native_{index:04d}.npz"
        length = min(chunk, days - index * chunk)
        if path.exists() and _length(path) >= length * STEPS_PER_DAY:
            state = None
            yield path
            continue
        first = start + np.timedelta64(index * chunk, "D")
        if index == 0:
            begin = start - np.timedelta64(spinup, "D")
            state = SpeedyModel(begin, spinup).cold_start(seed)
        elif state is None:
            state = load_states(folder / f"native_{index - 1:04d}.npz")[1][-1]
        if model is None or model.days != length:
            model = SpeedyModel(start, length)
        states = model.forecast(state, first)
        times = first + hour * (1 + np.arange(len(states)))
        state = states[-1]
        save_states(path, times, states)
        yield path


def run_twins(
    folder: Path,
    members: int,
    every_hours: int,
    hours: int,
    seed: int,
    u_rms: tuple[float, float] = (1.0, 1.7),
) -> Iterator[tuple[Path, np.datetime64, list[list[Native]]]]:
    """Twin forecasts from every ``every_hours`` of the nature run in ``folder`` that have no file
    yet.

    Yields the forecast file to write, the initial time, and for each member the states every 6 h up
    to ``hours``. ``u_rms`` bounds the size of the initial wind error [m/s].
    """
    model: SpeedyModel | None = None
    steps_apart = every_hours * STEPS_PER_DAY // 24
    pool: list[Native] = []
    for chunk_index, chunk_path in enumerate(chunk_paths(folder)):
        times, states = load_states(chunk_path)
        if len(states) > MAX_LAG_DAYS * STEPS_PER_DAY:
            pool = states  # lagged differences of the chunk itself are errors of the same season
        if not pool:
            raise UsageError(
                f"twins need a nature run of more than {MAX_LAG_DAYS} days to draw "
                "perturbations from"
            )
        for i in range(0, len(states), steps_apart):
            path = folder / f"forecast_{str(times[i])[:13]}.nc"
            if path.exists():
                continue
            rng = np.random.default_rng([seed, chunk_index, i])
            model = model or SpeedyModel(times[0], hours / 24)
            sizes = rng.uniform(*u_rms, members)
            starts = [
                perturbed(states[i], lagged_perturbation(pool, rng, float(size))) for size in sizes
            ]
            yield path, times[i], [model.forecast(start, times[i]) for start in starts]
