"""From what instruments report to what models carry: wind components, specific humidity, station
pressure, geopotential.

The rule of counting: each raw row becomes exactly one row in its place, with its station, level,
file and row: wind_speed → u, wind_direction → v (u10, v10 at the surface), d2m or rh2m → q2m, td or
r → q, qnh → sp, gh → z, tv → t, tv2m → t2m. The one exception adds a row: a calm reported without a
direction has no raw row that could become its v, so one follows it. A raw row that cannot be
converted stays as it is with a code: 15 when a partner is lacking (a direction without speed), 16
when its report holds the derived variable already, or a better source of it (dew point rather than
relative humidity). A speed alone has its own operator. Where other rows of its file have directions
it is rejected (15): a direction left out in a weather report is a variable one, and the mean wind
is less than the mean speed.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from phyda_cli.constants import EPSILON, GRAVITY
from phyda_cli.fields.grid import Fields
from phyda_cli.observations.atmosphere import (
    specific_humidity_from_dew_point,
    specific_humidity_from_relative,
    standard_pressure,
    station_pressure,
    wind_components,
)
from phyda_cli.observations.operators import build_operator
from phyda_cli.observations.qc import bounds_check, set_codes
from phyda_cli.observations.table import LEVEL, QC, concat

__all__ = ["derive_table"]


def derive_table(table: pd.DataFrame, background: Fields | None = None) -> pd.DataFrame:
    """``table`` with its raw rows converted as described above; run it after the preliminary
    checks.

    Relative humidity uses the temperature of its own report, else that of ``background``; surface
    humidity the station pressure of its own report, else that of ``background``, else the standard
    atmosphere's at the elevation. The error of a derived value follows from the raw one by the
    derivative; that of a wind component is the speed's. Values derived out of range get QC 12.
    """
    work = _Work(table)
    work.replace_height()
    work.replace_qnh()
    work.replace_dew_point(background)
    work.replace_relative_humidity(background)
    work.replace_virtual_temperature(background)
    calm = work.replace_wind()
    result = bounds_check(work.table)
    if calm.size:
        result = result.assign(_order=np.arange(len(result)))
        extra = result.iloc[calm].assign(
            variable=result["variable"].iloc[calm].map({"u10": "v10", "u": "v"})
        )
        result = (
            concat([result, extra])
            .sort_values("_order", kind="stable", ignore_index=True)
            .drop(columns="_order")
        )
    return result


class _Work:
    """A table in conversion, and which of its rows belong to the same report and level."""

    def __init__(self, table: pd.DataFrame) -> None:
        self.table = table.reset_index(drop=True)
        place = ["station_id", "time", "latitude", "longitude", *LEVEL]
        self._groups = [
            self.table.groupby(keys, dropna=False, sort=False).ngroup().to_numpy()
            for keys in ([*place, "file", "row"], place)
        ]

    def rows(self, variable: str) -> np.ndarray:
        """Numbers of the passing rows of ``variable``."""
        return np.flatnonzero(
            (self.table["variable"] == variable).to_numpy()
            & (self.table["qc"] <= QC.PASSIVE).to_numpy()
        )

    def partner(self, rows: np.ndarray, *variables: str) -> np.ndarray:
        """For each of ``rows`` a passing row of ``variables`` in its line or message, else its
        report; -1 where there is none."""
        found = np.full(rows.size, -1)
        candidates = np.concatenate([self.rows(v) for v in variables])[
            ::-1
        ]  # the last assignment wins: the first variable
        for group in self._groups:
            lookup = np.full(group.max(initial=-1) + 1, -1)
            lookup[group[candidates]] = candidates
            found = np.where(found < 0, lookup[group[rows]], found)
        return found

    def take(self, raw: str, *better: str) -> np.ndarray:
        """Rows of ``raw`` to convert; those whose report has one of ``better`` are redundant
        (16)."""
        rows = self.rows(raw)
        redundant = self.partner(rows, *better) >= 0
        self.reject(rows[redundant], QC.THINNED)
        return rows[~redundant]

    def reject(self, rows: np.ndarray, code: QC) -> None:
        self.table = set_codes(self.table, np.isin(np.arange(len(self.table)), rows), code)

    def column(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Values of column ``name`` at ``rows``, NaN for row -1."""
        return np.where(rows < 0, np.nan, self.table[name].to_numpy()[rows])

    def put(
        self, rows: np.ndarray, variable: str | np.ndarray, value: np.ndarray, error: np.ndarray
    ) -> None:
        columns = self.table[["variable", "value", "error"]].copy()
        for name, new in (("variable", variable), ("value", value), ("error", error)):
            array = columns[name].to_numpy(object if name == "variable" else float).copy()
            array[rows] = new
            columns[name] = (
                array if name != "variable" else pd.Series(array, dtype=columns[name].dtype)
            )
        self.table = self.table.assign(**{name: columns[name] for name in columns})

    def replace_height(self) -> None:
        rows = self.take("gh", "z")
        self.put(
            rows, "z", self.column("value", rows) * GRAVITY, self.column("error", rows) * GRAVITY
        )

    def replace_qnh(self) -> None:
        rows = self.take("qnh", "sp")
        self.reject(rows[np.isnan(self.column("elevation", rows))], QC.H_FAILED)
        rows = self.rows("qnh")
        pressure = station_pressure(self.column("value", rows), self.column("elevation", rows))
        self.put(
            rows, "sp", pressure, self.column("error", rows) * pressure / self.column("value", rows)
        )

    def pressure(self, rows: np.ndarray, background: Fields | None) -> np.ndarray:
        """Pressure of the level, or of the station [Pa]; where it is not reported that of
        ``background``, else the standard atmosphere's."""
        level, reported = (
            self.column("pressure", rows),
            self.column("value", self.partner(rows, "sp")),
        )
        height, elevation = self.column("height", rows), self.column("elevation", rows)
        standard = standard_pressure(np.where(np.isnan(height), np.nan_to_num(elevation), height))
        found = np.where(np.isnan(level), reported, level)
        lacking = np.isnan(found) & np.isnan(height)
        if background is not None and lacking.any():
            found[lacking] = _background_at(background, self.table.iloc[rows[lacking]], "sp")
        return np.where(np.isnan(found), standard, found)

    def replace_dew_point(self, background: Fields | None) -> None:
        for raw, derived in (("d2m", "q2m"), ("td", "q")):
            rows = self.take(raw, derived)
            dew_point, pressure = self.column("value", rows), self.pressure(rows, background)
            humidity = specific_humidity_from_dew_point(dew_point, pressure)
            warmer = specific_humidity_from_dew_point(dew_point + 1, pressure)
            self.put(rows, derived, humidity, self.column("error", rows) * (warmer - humidity))

    def replace_relative_humidity(self, background: Fields | None) -> None:
        for raw, derived, temperature in (("rh2m", "q2m", "t2m"), ("r", "q", "t")):
            rows = self.take(raw, derived)
            own = self.column("value", self.partner(rows, temperature))
            lacking = np.isnan(own)
            if background is not None and lacking.any():
                own[lacking] = _background_at(
                    background, self.table.iloc[rows[lacking]], temperature
                )
            self.reject(rows[np.isnan(own)], QC.H_FAILED)
            rows, own = rows[~np.isnan(own)], own[~np.isnan(own)]
            pressure = self.pressure(rows, background)
            humidity = specific_humidity_from_relative(self.column("value", rows), own, pressure)
            slope = specific_humidity_from_relative(np.ones(rows.size), own, pressure)
            self.put(rows, derived, humidity, self.column("error", rows) * slope)

    def replace_virtual_temperature(self, background: Fields | None) -> None:
        for raw, derived, humidity in (("tv2m", "t2m", "q2m"), ("tv", "t", "q")):
            rows = self.take(raw, derived)
            own = self.column("value", self.partner(rows, humidity))
            lacking = np.isnan(own)
            if background is not None and lacking.any():
                own[lacking] = _background_at(background, self.table.iloc[rows[lacking]], humidity)
            self.reject(rows[np.isnan(own)], QC.H_FAILED)
            rows, own = rows[~np.isnan(own)], own[~np.isnan(own)]
            factor = 1 + (1 / EPSILON - 1) * own
            self.put(
                rows,
                derived,
                self.column("value", rows) / factor,
                self.column("error", rows) / factor,
            )

    def replace_wind(self) -> np.ndarray:
        """Convert pairs of speed and direction; returns the rows of u that are calms without a
        direction."""
        speeds = self.take("wind_speed", "u10", "u", "v10", "v")
        self.take("wind_direction", "u10", "u", "v10", "v")
        directions = self.partner(speeds, "wind_direction")
        same_place, file = self._groups[1], pd.factorize(self.table["file"])[0]
        given = (self.table["variable"] == "wind_direction").to_numpy()
        doubted = np.isin(same_place[speeds], same_place[given]) & (directions < 0)
        calm = (self.column("value", speeds) == 0) & (directions < 0) & ~doubted
        self.reject(
            speeds[(directions < 0) & ~calm & np.isin(file[speeds], file[given])], QC.H_FAILED
        )
        paired = directions >= 0
        eastward, northward = wind_components(
            self.column("value", speeds[paired]), self.column("value", directions[paired])
        )
        errors = self.column("error", speeds)
        at_level = ~np.isnan(self.column("pressure", speeds)) | ~np.isnan(
            self.column("height", speeds)
        )
        u, v = np.where(at_level, "u", "u10"), np.where(at_level, "v", "v10")
        self.put(directions[paired], v[paired], northward, errors[paired])
        self.put(speeds[paired], u[paired], eastward, errors[paired])
        self.put(speeds[calm], u[calm], np.zeros(int(calm.sum())), errors[calm])
        self.reject(self.rows("wind_direction"), QC.H_FAILED)
        return speeds[calm]


def _background_at(background: Fields, rows: pd.DataFrame, variable: str) -> np.ndarray:
    """The background's ``variable`` at the place of ``rows``, NaN where it has none."""
    operator = build_operator(background, rows.assign(variable=variable), None)
    return np.where(operator.ok, operator.apply(background.vector()), np.nan)
