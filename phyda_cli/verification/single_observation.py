"""What one observation does: the response where it is, and how far it reaches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from phyda_cli.constants import EARTH_RADIUS
from phyda_cli.errors import InputError
from phyda_cli.fields.grid import Fields
from phyda_cli.fields.interpolate import on_covering
from phyda_cli.fields.mesh import Mesh
from phyda_cli.observations.table import QC
from phyda_cli.verification.analysis_file import AnalysisFile

__all__ = ["Cut", "SingleObservation", "increment_at", "single_observation"]


@dataclass(frozen=True, eq=False)
class Cut:
    """The increment (n,) from the observation on, at ``distance`` (n,) from it."""

    distance: np.ndarray
    values: np.ndarray

    @property
    def half(self) -> float | None:
        """Where it first falls to half of its first value; None where it does not."""
        if self.values.size < 2 or not self.values[0]:
            return None
        relative = self.values / self.values[0]
        below = np.flatnonzero(relative <= 0.5)
        if not below.size:
            return None
        k = int(below[0])
        part = (relative[k - 1] - 0.5) / (relative[k - 1] - relative[k])
        return float(self.distance[k - 1] + part * (self.distance[k] - self.distance[k - 1]))


@dataclass(frozen=True, eq=False)
class SingleObservation:
    """``response`` of the analysis at the observation and ``expected``, sigma_b^2 / (sigma_b^2 +
    sigma_o^2) times the innovation [``units`` of the observation]; ``horizontal`` cuts east, west,
    north and south by km, and ``vertical`` ones up and down by log pressure, none for surface
    variables."""

    station: str
    variable: str
    latitude: float
    longitude: float
    pressure: float
    nearest_level: float
    innovation: float
    response: float
    expected: float
    horizontal: dict[str, Cut]
    vertical: dict[str, Cut]

    @property
    def half_width_km(self) -> dict[str, float | None]:
        """Distances at which the increment falls to half, None where it does not in the area."""
        return {name: cut.half for name, cut in self.horizontal.items()}

    @property
    def half_log_p(self) -> dict[str, float | None]:
        """The same in log pressure."""
        return {name: cut.half for name, cut in self.vertical.items()}

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        names = ("station", "variable", "innovation", "response", "expected")
        own: dict[str, object] = {name: getattr(self, name) for name in names}
        return own | {"half_width_km": self.half_width_km, "half_log_p": self.half_log_p}

    def lines(self) -> list[str]:
        """The same in words."""

        def text(widths: dict[str, float | None], form: str) -> str:
            return ", ".join(
                f"{name} {'beyond' if v is None else format(v, form)}" for name, v in widths.items()
            )

        lines = [
            f"{self.variable} at {self.station}: O-B {self.innovation:.4g}, response "
            f"{self.response:.4g}, expected {self.expected:.4g}",
            f"half width [km]: {text(self.half_width_km, '.0f')}",
        ]
        if self.half_log_p:
            lines.append(f"half depth [log p]: {text(self.half_log_p, '.2f')}")
        return lines


def single_observation(
    file: AnalysisFile, background: Fields, feedback: pd.DataFrame
) -> SingleObservation:
    """The response to the one observation that was used. Raises InputError when another number
    was, or the field that it observes has no increment."""
    used = feedback[feedback["EffectiveQC"] == QC.PASS]
    if len(used) != 1:
        raise InputError(
            f"--single-observation needs one used observation, the feedback has {len(used)}",
            hint="assimilate a file with a single value",
        )
    row = used.iloc[0]
    innovation = float(row["ombg"])
    response = innovation - float(row["oman"])
    variances = float(row["hofx0_error"]) ** 2, float(row["EffectiveError"]) ** 2
    expected = variances[0] / sum(variances) * innovation
    name = str(row["variable"])
    increment, level = increment_at(file.fields, background, name, float(row["pressure"]))
    grid = file.fields.grid
    if isinstance(grid, Mesh):
        increment = np.stack([on_covering(grid, values) for values in increment])
        grid = grid.covering
    i = int(np.abs(grid.latitude - row["latitude"]).argmin())
    away = np.abs((grid.longitude - row["longitude"] + 180) % 360 - 180)
    j = int(away.argmin())
    flat = increment[level]
    degree = np.pi / 180 * EARTH_RADIUS / 1000
    east = np.roll(flat[i], -j) if grid.periodic else flat[i, j:]
    west = np.roll(flat[i][::-1], j + 1) if grid.periodic else flat[i, j::-1]
    dx = float(np.diff(grid.longitude).mean()) * degree * np.cos(np.deg2rad(grid.latitude[i]))
    dy = abs(float(np.diff(grid.latitude).mean())) * degree
    up, down = flat[i:, j], flat[i::-1, j]
    north, south = (up, down) if grid.latitude[-1] > grid.latitude[0] else (down, up)
    rays = {"east": (east, dx), "west": (west, dx), "north": (north, dy), "south": (south, dy)}
    vertical = {}
    if len(increment) > 1:
        log_p = np.log(np.sort(file.fields.levels))
        column = increment[:, i, j]
        for direction, order in (("up", slice(level, None, -1)), ("down", slice(level, None))):
            vertical[direction] = Cut(np.abs(log_p[order] - log_p[level]), column[order])
    return SingleObservation(
        str(row["station_id"]),
        name,
        float(row["latitude"]),
        float(row["longitude"]),
        float(row["pressure"]),
        float(np.sort(file.fields.levels)[level]) if vertical else np.nan,
        innovation,
        response,
        expected,
        {k: Cut(step * np.arange(values.size), values) for k, (values, step) in rays.items()},
        vertical,
    )


def increment_at(
    fields: Fields, background: Fields, name: str, pressure: float
) -> tuple[np.ndarray, int]:
    """The increment (L, H, W) of the observed variable, and the level nearest to ``pressure``."""
    if name in fields.upper and name in background.upper:
        values = np.asarray(fields.upper[name], float) - background.upper[name]
        order = np.argsort(fields.levels)
        level = int(np.abs(np.log(fields.levels[order] / pressure)).argmin())
        return values[order], level
    if name in fields.surface and name in background.surface:
        return (np.asarray(fields.surface[name], float) - background.surface[name])[None], 0
    raise InputError(f"the analysis has no increment of {name}, which the observation is of")
