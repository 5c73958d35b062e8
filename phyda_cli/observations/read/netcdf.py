"""Observations in NetCDF: our own feedback, IODA of both naming generations, and MADIS."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import netCDF4
import numpy as np

from phyda_cli.errors import InputError
from phyda_cli.formats.classic import reject_truncated
from phyda_cli.observations.feedback import read_feedback
from phyda_cli.observations.read.ioda import read_ioda
from phyda_cli.observations.read.madis import TIME_NAMES, read_madis
from phyda_cli.observations.report import ReadResult
from phyda_cli.observations.table import LEVEL, QC, check, make

__all__ = ["read_netcdf"]

_RUN_DEPENDENT = (QC.TIME_WINDOW, QC.BLACKLIST, QC.DUPLICATE)
_DENSEST = 1100  # times that zlib can shrink


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
            for known, reader in _READERS:
                if known(data):
                    return reader(data, path, file)
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


_READERS: tuple[
    tuple[Callable[[netCDF4.Dataset], bool], Callable[[netCDF4.Dataset, Path, str], ReadResult]],
    ...,
] = (
    (lambda data: {"ObsValue", "EffectiveQC", "source_row"} <= set(data.variables), _read_feedback),
    (
        lambda data: (
            "ObsValue" in data.groups or any(name.endswith("@ObsValue") for name in data.variables)
        ),
        read_ioda,
    ),
    (
        lambda data: "latitude" in data.variables and any(n in data.variables for n in TIME_NAMES),
        read_madis,
    ),
)
