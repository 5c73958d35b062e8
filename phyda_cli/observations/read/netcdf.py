"""Observations in NetCDF: what wrote a file is recognised by its variables. Our own feedback, and
what the readers of other kinds share."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import netCDF4
import numpy as np

from phyda_cli.errors import InputError
from phyda_cli.formats.classic import reject_truncated
from phyda_cli.names import OBSERVABLES
from phyda_cli.observations.feedback import read_feedback
from phyda_cli.observations.read.columns import ObservationMap
from phyda_cli.observations.read.decode import Source, reader
from phyda_cli.observations.report import ReadResult
from phyda_cli.observations.table import LEVEL, QC, check, make
from phyda_cli.units import conversion

__all__ = [
    "Group",
    "first_of",
    "netcdf_reader",
    "numbers",
    "positive",
    "raw_numbers",
    "read_netcdf",
    "since_1970",
    "texts",
    "unit_factors",
]

Group = dict[str, netCDF4.Variable]
Known = Callable[[netCDF4.Dataset], bool]
Read = Callable[[netCDF4.Dataset, Path, str], ReadResult]

_EPOCH = np.datetime64("1970-01-01", "ns")
_READERS: dict[str, tuple[Known, Read]] = {}

_RUN_DEPENDENT = (QC.TIME_WINDOW, QC.BLACKLIST, QC.DUPLICATE)
_DENSEST = 1100  # times that zlib can shrink


def netcdf_reader(name: str, known: Known) -> Callable[[Read], Read]:
    """Register the function below as what reads NetCDF files of the kind ``name``, which ``known``
    recognises by their groups and variables."""

    def register(read: Read) -> Read:
        _READERS[name] = known, read
        return read

    return register


@reader("NetCDF", lambda source: source.head.startswith((b"CDF", b"\x89HDF")))
def _read_file(source: Source, _: ObservationMap | None) -> ReadResult:
    with source.on_disk() as path:
        return read_netcdf(path, str(source.path))


def read_netcdf(path: Path, file: str) -> ReadResult:
    """Observations in the NetCDF file ``path``, called ``file`` in messages; what wrote it is
    recognised by its variables.

    A row of the account is a location (IODA), a record (MADIS) or an observation (feedback).
    Raises InputError when the file cannot be read or is none of these.
    """
    reject_truncated(path, file)
    try:
        with netCDF4.Dataset(path) as data:
            _refuse_impossible_sizes(data, path.stat().st_size, file)
            for known, read in _READERS.values():
                if known(data):
                    return read(data, path, file)
            found = ", ".join([*data.groups, *data.variables][:20])
    except InputError:
        raise
    except (
        OSError,
        RuntimeError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        OverflowError,
        MemoryError,
    ) as error:
        reason = str(error).replace(str(path), file)
        raise InputError(
            f"{file}: the NetCDF content cannot be read as observations: {reason}",
            hint="is the file complete?",
        ) from error
    raise InputError(
        f"{file} is a NetCDF file of no known kind of observations; it holds: {found}",
        hint="feedback files, IODA (groups MetaData and ObsValue, or variable@Group) and MADIS "
        "are read",
    )


def _refuse_impossible_sizes(data: netCDF4.Dataset, size: int, file: str) -> None:
    """Raise InputError when a variable is larger than ``size`` bytes of file can hold: a damaged
    header, not worth trying."""
    most = _DENSEST * size + 10_000_000
    for group in (data, *data.groups.values()):
        for name, variable in group.variables.items():
            if variable.size * (1 if variable.dtype is str else variable.dtype.itemsize) > most:
                raise InputError(
                    f"{file}: {name} claims {variable.size} values, more than the file holds",
                    hint="the file is damaged",
                )


@netcdf_reader(
    "feedback", lambda data: {"ObsValue", "EffectiveQC", "source_row"} <= set(data.variables)
)
def _read_feedback(_: netCDF4.Dataset, path: Path, file: str) -> ReadResult:
    """The observations of an earlier run: values, errors, passive ones passive, rejected ones as
    they were before the model.

    What depends on that run's time window, blacklist and other observations is left to be decided
    anew.
    """
    rows = read_feedback(path)
    flags = rows["PreQC"].to_numpy(int)
    flags = np.where(np.isin(flags, _RUN_DEPENDENT), QC.PASS, flags)
    kept = ("station_id", "time", "latitude", "longitude", "elevation", "variable", *LEVEL, "use")
    columns = {k: rows[k].to_numpy() for k in kept if k in rows}
    unplaced = (
        ~rows["latitude"].between(-90, 90)
        | ~rows["longitude"].between(0, 360)
        | rows["time"].isna()
        | (rows["ObsError"] <= 0)
    )
    table = make(
        **columns,
        value=rows["ObsValue"].to_numpy(),
        error=rows["ObsError"].to_numpy(),
        qc=np.where(unplaced & (flags == 0), QC.PRE_QC, flags),
        file=rows["source_file"].to_numpy(object),
        row=rows["source_row"].to_numpy(),
    )
    check(table)
    return ReadResult(table, len(table), len(table), 0, 0)


def first_of(variables: Group, names: tuple[str, ...]) -> netCDF4.Variable | None:
    """The first of ``names`` that is there."""
    return next((variables[name] for name in names if name in variables), None)


def numbers(variable: netCDF4.Variable, limit: float = 1e8) -> np.ndarray:
    """Numbers as floats, NaN where missing; fill values written without saying so (beyond
    ``limit``) are missing too."""
    values: np.ndarray = np.ma.filled(np.ma.asarray(variable[:], dtype=float), np.nan)
    return np.where(np.abs(values) < limit, values, np.nan)


def raw_numbers(variable: netCDF4.Variable) -> np.ndarray:
    """Seconds as they stand in a time variable."""
    return numbers(variable, limit=np.inf)


def positive(values: np.ndarray) -> np.ndarray:
    """``values``, NaN where they are not positive."""
    return np.where(values > 0, values, np.nan)


def unit_factors(
    variable: netCDF4.Variable, ours: str, file: str, default: str | None
) -> tuple[float, float]:
    """Scale and offset from the units of ``variable``, ``default`` without any, to ours. Raises
    InputError when they do not fit."""
    canonical = OBSERVABLES[ours].units
    aliases = {"kelvin": "K", "pascal": "Pa", "meter/sec": "m/s", "meter": "m", "percent": "%"}
    unit = str(getattr(variable, "units", default or canonical)) or canonical
    try:
        return conversion(aliases.get(unit.lower(), unit), canonical)
    except ValueError as error:
        raise InputError(f"{file}: {variable.name}: {error}") from error


def texts(variable: netCDF4.Variable) -> np.ndarray:
    """Texts (N,) of a string or character variable."""
    variable.set_auto_mask(False)
    variable.set_auto_chartostring(False)
    letters = variable[:]
    if letters.dtype.kind == "S" and letters.ndim > 1:
        letters = np.ascontiguousarray(letters).view(f"S{letters.shape[1]}").ravel()
    words = (
        w.decode("utf-8", "replace") if isinstance(w, bytes) else str(w)
        for w in letters.ravel().tolist()
    )
    return np.array([re.sub(r"[^\x20-\x7e]", "", w).strip() for w in words] or [""], object)[
        : len(letters)
    ]


def since_1970(values: np.ndarray) -> np.ndarray:
    """Times (N,) from seconds since 1970."""
    known = np.abs(values) < 9e9
    micro = np.round(np.where(known, values, 0) * 1e6).astype("timedelta64[us]")
    return np.where(known, _EPOCH + micro, np.datetime64("NaT")).astype("datetime64[ns]")
