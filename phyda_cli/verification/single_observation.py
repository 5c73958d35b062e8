"""What one observation does: the response where it is, and how far it reaches."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from phyda_cli.constants import EARTH_RADIUS
from phyda_cli.errors import InputError
from phyda_cli.fields.grid import Fields
from phyda_cli.observations.table import QC
from phyda_cli.verification.analysis_file import AnalysisFile

__all__ = ["SingleObservation", "single_observation"]


@dataclass(frozen=True)
class SingleObservation:
    """``response`` of the analysis at the observation and ``expected``, sigma_b^2 / (sigma_b^2 +
    sigma_o^2) times the innovation [``units`` of the observation]; distances [km] east, west, north
    and south at which the increment falls to half of its largest, None where it does not within
    the area; ``half_log_p`` up and down likewise in log pressure, empty for surface variables."""

    station: str
    variable: str
    innovation: float
    response: float
    expected: float
    half_width_km: dict[str, float | None]
    half_log_p: dict[str, float | None]

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self)

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
    increment, level = _increment(file.fields, background, name, float(row["pressure"]))
    grid = file.fields.grid
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
    widths = {
        "east": _half(east, dx),
        "west": _half(west, dx),
        "north": _half(north, dy),
        "south": _half(south, dy),
    }
    depth: dict[str, float | None] = {}
    if len(increment) > 1:
        log_p = np.log(np.sort(file.fields.levels))
        column = increment[:, i, j]
        for direction, order in (("up", slice(level, None, -1)), ("down", slice(level, None))):
            depth[direction] = _half_at(column[order], np.abs(log_p[order] - log_p[level]))
    return SingleObservation(
        str(row["station_id"]), name, innovation, response, expected, widths, depth
    )


def _increment(
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


def _half(values: np.ndarray, step: float) -> float | None:
    """Where values (n,) at multiples of ``step`` first fall to half of the first one."""
    return _half_at(values, step * np.arange(values.size))


def _half_at(values: np.ndarray, distance: np.ndarray) -> float | None:
    if values.size < 2 or not values[0]:
        return None
    relative = values / values[0]
    below = np.flatnonzero(relative <= 0.5)
    if not below.size:
        return None
    k = int(below[0])
    part = (relative[k - 1] - 0.5) / (relative[k - 1] - relative[k])
    return float(distance[k - 1] + part * (distance[k] - distance[k - 1]))
