"""The largest increments, where they are, and the station nearest to each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from phyda_cli.constants import EARTH_RADIUS
from phyda_cli.fields.remap import to_grid
from phyda_cli.names import VARIABLES, Channel
from phyda_cli.observations.table import QC
from phyda_cli.verification.channels import common_channels
from phyda_cli.verification.collected import Collected
from phyda_cli.verification.readable import READABLE
from phyda_cli.verification.summary import SHOWN

__all__ = ["LargeIncrement", "largest_increments"]

_APART_KM = 1500.0  # two increments nearer than this are one


@dataclass(frozen=True)
class LargeIncrement:
    """An increment in readable ``units``, ``times`` the field's rms, and the nearest station that
    was used, ``distance_km`` away."""

    channel: str
    value: float
    units: str
    times: float
    latitude: float
    longitude: float
    station: str | None
    distance_km: float | None

    def as_cells(self) -> dict[str, str]:
        """Texts for a table."""
        station = "–"
        if self.station is not None:
            station = f"{self.station}, {self.distance_km:.0f} km"
        return {
            "name": self.channel,
            "value": f"{self.value:+.3g}".replace("-", "−") + f" {self.units}",
            "times": f"{self.times:.1f}",
            "place": place(self.latitude, self.longitude),
            "station": station,
        }


def place(latitude: float, longitude: float) -> str:
    """``52°N 13°E``."""
    longitude = (longitude + 180) % 360 - 180
    return (
        f"{abs(latitude):.0f}°{'N' if latitude >= 0 else 'S'} "
        f"{abs(longitude):.0f}°{'E' if longitude >= 0 else 'W'}"
    )


def largest_increments(found: Collected, most: int = 5) -> list[LargeIncrement]:
    """The ``most`` largest increments of the usual fields, none near a larger one."""
    if found.last is None or found.background is None:
        return []
    fields = found.last.fields
    channels = common_channels(fields, found.background)
    chosen = [c for c in channels if c.key in SHOWN] or channels
    grid = fields.grid
    after, before = (to_grid(f, chosen, grid)[0] for f in (fields, found.background))
    change = after - before
    weights = grid.point_weights[None]
    known = np.isfinite(change)
    rms = np.sqrt(
        (weights * np.nan_to_num(change) ** 2).sum((1, 2)) / (weights * known).sum((1, 2)).clip(1)
    )
    times = np.abs(np.nan_to_num(change)) / np.where(rms > 0, rms, np.inf)[:, None, None]
    out: list[LargeIncrement] = []
    latitude, longitude = grid.mesh
    while len(out) < most and times.max() > 0:
        c, i, j = np.unravel_index(int(times.argmax()), times.shape)
        lat, lon = float(latitude[i, j]), float(longitude[i, j])
        name, distance = _nearest(found.rows, chosen[c], lat, lon)
        units, factor = _readable(chosen[c])
        out.append(
            LargeIncrement(
                chosen[c].key,
                factor * float(change[c, i, j]),
                units,
                float(times[c, i, j]),
                lat,
                lon,
                name,
                distance,
            )
        )
        times[:, _distance_km(lat, lon, latitude, longitude) < _APART_KM] = 0
        times[c] = 0
    return out


def _readable(channel: Channel) -> tuple[str, float]:
    units = VARIABLES[channel.variable].units
    return READABLE.get(units, (units, 1.0))


def _nearest(
    rows: pd.DataFrame | None, channel: Channel, latitude: float, longitude: float
) -> tuple[str | None, float | None]:
    """The nearest station that was used for the variable, else for any."""
    if rows is None:
        return None, None
    used = rows[(rows["EffectiveQC"] == QC.PASS).to_numpy()]
    own = used[(used["variable"] == channel.variable).to_numpy()]
    used = own if len(own) else used
    if not len(used):
        return None, None
    away = _distance_km(
        latitude, longitude, used["latitude"].to_numpy(float), used["longitude"].to_numpy(float)
    )
    k = int(np.argmin(away))
    return str(used["station_id"].iloc[k]), float(away[k])


def _distance_km(
    latitude: float, longitude: float, latitudes: np.ndarray, longitudes: np.ndarray
) -> np.ndarray:
    a, b = np.deg2rad(latitude), np.deg2rad(latitudes)
    turn = np.deg2rad(longitudes - longitude)
    h = np.sin((b - a) / 2) ** 2 + np.cos(a) * np.cos(b) * np.sin(turn / 2) ** 2
    return np.asarray(2 * EARTH_RADIUS / 1000 * np.arcsin(np.sqrt(np.clip(h, 0, 1))))
