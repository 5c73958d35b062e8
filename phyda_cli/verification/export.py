"""Tidy rows as CSV and NetCDF, and withheld observations in the layout of WFRT/verif."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pandas as pd

from phyda_cli.errors import InputError
from phyda_cli.files.publish import publish
from phyda_cli.observations.table import QC
from phyda_cli.verification.tidy import ROW_FIELDS, Row, units_of

__all__ = ["SCHEMA", "write_csv", "write_netcdf", "write_verif"]

SCHEMA = 2


def write_csv(path: Path, rows: Sequence[Row], overwrite: bool = False) -> None:
    """One line for each number. Raises OutputError."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["schema", *ROW_FIELDS])
    for row in rows:
        values = (getattr(row, name) for name in ROW_FIELDS)
        writer.writerow([SCHEMA, *("" if v is None else v for v in values)])
    with publish(path, overwrite) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")


def write_netcdf(
    path: Path, rows: Sequence[Row], attributes: Mapping[str, str], overwrite: bool = False
) -> None:
    """One entry for each number along ``row``. Raises OutputError."""
    with publish(path, overwrite) as temporary, netCDF4.Dataset(temporary, "w") as data:
        data.setncatts({"title": "scores", "schema": SCHEMA, **attributes})
        data.createDimension("row", len(rows))
        for name in ROW_FIELDS:
            values = [getattr(row, name) for row in rows]
            if name in ("value", "n", "low", "high"):
                variable = data.createVariable(name, "f8", ("row",), compression="zlib")
                variable[:] = [np.nan if v is None else v for v in values]
            else:
                text = data.createVariable(name, str, ("row",))
                for i, value in enumerate(values):
                    text[i] = str(value)


def write_verif(
    path: Path,
    feedbacks: Sequence[tuple[np.datetime64, pd.DataFrame]],
    variable: str,
    overwrite: bool = False,
) -> None:
    """The layout of WFRT/verif (NetCDF): ``obs`` and ``fcst`` (time, leadtime, location) of surface
    ``variable``, where the forecast is the analysis at stations that it has not used.

    Raises InputError when there is no such observation, OutputError.
    """
    parts = []
    for time, rows in feedbacks:
        chosen = rows[
            (rows["variable"] == variable)
            & (rows["EffectiveQC"] == QC.PASSIVE)
            & rows["pressure"].isna()
        ]
        parts.append(chosen.drop_duplicates("station_id").assign(_time=time))
    table = pd.concat(parts) if parts else pd.DataFrame()
    if table.empty:
        raise InputError(
            f"no withheld observation of {variable} for verif",
            hint="withhold stations with --withhold, and name the variable with --field",
        )
    stations = table.drop_duplicates("station_id").sort_values("station_id")
    times = np.unique(table["_time"].to_numpy())
    at = {name: i for i, name in enumerate(stations["station_id"])}
    shape = (times.size, 1, len(stations))
    observed, forecast = np.full(shape, np.nan), np.full(shape, np.nan)
    i = np.searchsorted(times, table["_time"].to_numpy())
    j = table["station_id"].map(at).to_numpy()
    observed[i, 0, j] = table["ObsValue"]
    forecast[i, 0, j] = table["hofx1"]
    with publish(path, overwrite) as temporary, netCDF4.Dataset(temporary, "w") as data:
        data.setncatts({"standard_name": variable, "units": units_of(variable)})
        data.verif_version = "verif_1.0.0"
        for name, size in zip(("time", "leadtime", "location"), shape, strict=True):
            data.createDimension(name, size)
        seconds = (times - np.datetime64("1970-01-01")) / np.timedelta64(1, "s")
        _put(data, "time", "i4", ("time",), seconds)
        data["time"].units = "seconds since 1970-01-01 00:00:00 +00:00"
        _put(data, "leadtime", "f4", ("leadtime",), [0.0])
        _put(data, "location", "i4", ("location",), np.arange(len(stations)))
        for name, source in (("lat", "latitude"), ("lon", "longitude"), ("altitude", "elevation")):
            _put(data, name, "f4", ("location",), stations[source].to_numpy(float))
        for name, values in (("obs", observed), ("fcst", forecast)):
            _put(data, name, "f4", ("time", "leadtime", "location"), values)


def _put(
    data: netCDF4.Dataset, name: str, kind: str, dimensions: tuple[str, ...], values: Any
) -> None:
    data.createVariable(name, kind, dimensions)[:] = values
