"""Observations in ODB-2 files, as ECMWF archives them; needs pyodc (the extra ``phyda[odb]``)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from phyda_cli.errors import InputError
from phyda_cli.observations.read.columns import ObservationMap
from phyda_cli.observations.read.decode import Source, reader
from phyda_cli.observations.read.levels import are_levels, placed
from phyda_cli.observations.read.to_table import assemble
from phyda_cli.observations.report import ReadResult

__all__ = ["from_odb", "read_odb"]

_VARNO = {  # ECMWF's varno
    1: "z",
    2: "t",
    3: "u",
    4: "v",
    7: "q",
    29: "r",
    59: "td",
    111: "wind_direction",
    112: "wind_speed",
    39: "t2m",
    40: "d2m",
    41: "u10",
    42: "v10",
    58: "rh2m",
    107: "sp",
    108: "msl",
    110: "sp",
}
_OF_BOTH = (111, 112)  # of the surface as well as of levels; the others state which
_PRESSURE, _HEIGHT = 1, 2  # vertco_type
_NEEDED = ("lat", "lon", "date", "time", "varno", "obsvalue")


@reader("ODB-2", lambda source: source.head.startswith(b"\xff\xffODA"))
def _read_file(source: Source, _: ObservationMap | None) -> ReadResult:
    with source.on_disk() as path:
        return read_odb(path, str(source.path))


def read_odb(path: Path, file: str) -> ReadResult:
    """Observations in the ODB-2 file ``path``, called ``file`` in messages. Raises InputError also
    when pyodc is not installed."""
    try:
        import pyodc
    except ImportError as error:
        raise InputError(
            f"{file} is an ODB-2 file: reading it needs pyodc", hint="pip install 'phyda[odb]'"
        ) from error
    try:
        rows = pyodc.read_odb(str(path), single=True)
    except Exception as error:  # pyodc raises many kinds, all of them about the file's content
        raise InputError(
            f"{file}: the ODB-2 content cannot be decoded: {error}", hint="is the file complete?"
        ) from error
    return from_odb(rows, file)


def from_odb(rows: pd.DataFrame, file: str) -> ReadResult:
    """The observations in the rows of an ODB, one value each; columns may be named ``lat`` or
    ``lat@hdr``.

    Rows of variables that no analysis here uses count as without values, and are named in
    ``ignored_columns``. Raises InputError when a needed column is missing.
    """
    rows = rows.rename(columns=lambda name: str(name).partition("@")[0]).reset_index(drop=True)
    rows = rows.loc[:, ~rows.columns.duplicated()]
    absent = [name for name in _NEEDED if name not in rows]
    if absent:
        raise InputError(
            f"{file}: no column {', '.join(absent)}; found columns: {', '.join(rows.columns)}"
        )
    size = len(rows)

    def numbers(name: str) -> np.ndarray:
        return (
            pd.to_numeric(rows[name], errors="coerce").to_numpy(float)
            if name in rows
            else np.full(size, np.nan)
        )

    varno, value = numbers("varno"), numbers("obsvalue")
    coordinate, kind = numbers("vertco_reference_1"), numbers("vertco_type")
    digits = rows["date"].map("{:.0f}".format) + rows["time"].map(
        lambda t: f"{t:06.0f}" if t == t else ""
    )
    station = (
        rows["statid"].astype(str).str.strip("'\" \0").to_numpy(object)
        if "statid" in rows
        else np.full(size, "", object)
    )
    place = {
        "station_id": station,
        "time": pd.to_datetime(digits, format="%Y%m%d%H%M%S", errors="coerce")
        .to_numpy()
        .astype("datetime64[ns]"),
        "latitude": numbers("lat"),
        "longitude": numbers("lon"),
        "elevation": numbers("stalt"),
        "pressure": np.where(kind == _PRESSURE, coordinate, np.nan),
        "height": np.where(kind == _HEIGHT, coordinate, np.nan),
    }
    error = numbers("obs_error")
    error = np.where(error > 0, error, np.nan)
    level = np.where(np.isin(varno, _OF_BOTH), _levels(place), True)
    values = [
        found
        for number, name in _VARNO.items()
        if (varno == number).any()
        for found in placed(name, np.where(varno == number, value, np.nan), level, error)
    ]
    unknown = sorted({int(v) for v in varno[~np.isnan(varno)]} - set(_VARNO))
    return assemble(
        file, np.arange(1, size + 1), place, values, ignored=[f"varno {v}" for v in unknown]
    )


def _levels(place: Mapping[str, np.ndarray]) -> np.ndarray:
    """Which rows lie at a level, by their coordinates."""
    profile = (
        pd.Series(place["station_id"]).astype(str) + "|" + pd.Series(place["time"]).astype(str)
    )
    return are_levels(profile.to_numpy(), place["pressure"], place["height"], place["elevation"])
