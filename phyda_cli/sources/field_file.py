"""One downloaded file: NetCDF written block by block, so that a month of any resolution fits in
memory, and checked before it counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import netCDF4
import numpy as np

from phyda_cli import cf
from phyda_cli.errors import InputError
from phyda_cli.files.publish import publish
from phyda_cli.names import VARIABLES

__all__ = ["Layout", "check", "preliminary", "write"]

_HOUR = np.timedelta64(1, "h")
_EPOCH = np.datetime64("1970-01-01", "h")
_PRELIMINARY = 5
_BLOCK_BYTES = 64 << 20
_DIMENSIONS = ("level", "latitude", "longitude")

_HEADER = 12_000  # bytes


@dataclass(frozen=True, eq=False)
class Layout:
    """Axes and variables of a file. Analyses run along ``times`` (T,); a forecast has one start
    time and ``leads`` (S,) [h]."""

    times: np.ndarray
    levels: np.ndarray  # hPa
    latitude: np.ndarray
    longitude: np.ndarray
    upper: tuple[str, ...]
    surface: tuple[str, ...]
    statics: tuple[str, ...]
    attributes: dict[str, str]
    leads: np.ndarray | None = None
    expver: bool = False  # whether a variable along the times says which version of ERA5 each is of

    @property
    def length(self) -> int:
        """Size of the first dimension."""
        return int(self.times.size if self.leads is None else self.leads.size)

    @property
    def along(self) -> str:
        """The first dimension: ``time`` or ``step``."""
        return "time" if self.leads is None else "step"

    @property
    def block(self) -> int:
        """Entries of the first dimension to handle at once: all levels of a variable in some tens
        of MB."""
        return max(
            1,
            _BLOCK_BYTES
            // (4 * self.latitude.size * self.longitude.size * max(1, self.levels.size)),
        )

    @property
    def nbytes(self) -> int:
        """Bytes of all fields (float32), and about what names and attributes take."""
        each = len(self.upper) * self.levels.size + len(self.surface)
        fields = self.length * each + len(self.statics)
        return 4 * self.latitude.size * self.longitude.size * fields + _HEADER


def write(path: Path, layout: Layout, fill: Callable[[netCDF4.Dataset], None]) -> None:
    """Publish ``path``: the empty file of ``layout``, what ``fill`` puts into its variables, then
    :func:`check`."""
    with (
        publish(path, overwrite=True, check=lambda finished: check(finished, layout)) as temporary,
        netCDF4.Dataset(temporary, "w") as file,
    ):
        _define(file, layout)
        fill(file)


def _define(file: netCDF4.Dataset, layout: Layout) -> None:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    file.setncatts(
        {
            "Conventions": cf.CONVENTIONS,
            "title": _title(layout),
            "history": f"{now} downloaded by phyda",
            **layout.attributes,
        }
    )
    axes = {
        "level": (layout.levels, cf.LEVEL),
        "latitude": (layout.latitude, cf.LATITUDE),
        "longitude": (layout.longitude, cf.LONGITUDE),
    }
    since = cf.CALENDAR | {"units": "hours since 1970-01-01"}
    hours = (layout.times - _EPOCH) / _HOUR
    if layout.leads is None:
        axes["time"] = (hours, cf.TIME | since)
    else:
        # by "dtype" xarray tells a time span from a number
        axes["step"] = (
            layout.leads,
            cf.LEAD | {"units": "hours", "dtype": "timedelta64[ns]"},
        )
        file.createVariable("time", "f8", ()).setncatts(cf.START | since)
        file["time"][...] = hours[0]
    for name, (values, attributes) in axes.items():
        file.createDimension(name, len(values))
        file.createVariable(name, "f8", (name,)).setncatts(attributes)
        file[name][:] = values
    for name in (*layout.upper, *layout.surface, *layout.statics):
        dims = _dimensions(name, layout)
        sizes = [1 if d == layout.along else file.dimensions[d].size for d in dims]
        variable = file.createVariable(
            name, "f4", dims, chunksizes=sizes, fill_value=np.float32(np.nan)
        )
        variable.setncatts(cf.of_variable(name))
        if layout.leads is not None:
            variable.coordinates = "time"
    if layout.expver:
        file.createVariable(
            "expver", "i2", (layout.along,)
        ).long_name = "version of ERA5: 1 final, 5 preliminary (ERA5T)"


def _title(layout: Layout) -> str:
    return "analyses" if layout.leads is None else "forecasts from one initial time"


def _dimensions(name: str, layout: Layout) -> tuple[str, ...]:
    if name in layout.statics:
        return _DIMENSIONS[1:]
    return (
        (layout.along, *_DIMENSIONS) if name in layout.upper else (layout.along, *_DIMENSIONS[1:])
    )


def check(path: Path, layout: Layout) -> None:
    """Raises InputError unless ``path`` has the axes of ``layout`` and every value of every
    variable is there, finite and possible."""
    try:
        with netCDF4.Dataset(path) as file:
            _check_axes(file, path, layout)
            for name in (*layout.upper, *layout.surface, *layout.statics):
                for start in range(0, 1 if name in layout.statics else layout.length, layout.block):
                    block = ... if name in layout.statics else slice(start, start + layout.block)
                    values = np.ma.filled(file[name][block], np.nan)
                    _check_values(
                        values[None] if name in layout.statics else values,
                        name,
                        start,
                        path,
                        layout,
                    )
    except (OSError, RuntimeError, KeyError, IndexError) as error:
        raise InputError(
            f"{path} is damaged: {error}", hint="remove it; the same command fetches it again"
        ) from error


def _check_axes(file: netCDF4.Dataset, path: Path, layout: Layout) -> None:
    axes = {
        "level": layout.levels,
        "latitude": layout.latitude,
        "longitude": layout.longitude,
        "time": (layout.times - _EPOCH) / _HOUR,
    }
    if layout.leads is not None:
        axes["step"] = layout.leads
    for name, expected in axes.items():
        found = np.atleast_1d(np.asarray(file[name][...], float))
        if found.shape != np.shape(expected) or not np.allclose(found, expected, atol=1e-3):
            raise InputError(
                f"{path}: {name} is not what was asked for: {found.size} values from "
                f"{found[0]:g}, not {np.size(expected)}"
            )


def _check_values(values: np.ndarray, name: str, start: int, path: Path, layout: Layout) -> None:
    """``values`` (n, ...) are those of the file's entries from ``start`` on."""
    bad = (~np.isfinite(values)).reshape(len(values), -1).sum(axis=1)
    if bad.any():
        first = int(np.argmax(bad > 0))
        raise InputError(
            f"{name} at {_when(layout, start + first)}: {bad[first]} of {values[first].size} "
            "values are missing in the archive",
            hint="leave the variable or the year out, or take another source; no file was "
            "written for this date",
        )
    low, high = VARIABLES[name].valid_range
    margin = 0.1 * (
        high - low
    )  # reanalyses overshoot: humidity a little below zero, high winds at 1 hPa
    if values.min() < low - margin or values.max() > high + margin:
        raise InputError(
            f"{path}: {name} goes from {values.min():g} to {values.max():g}, possible are "
            f"{low:g} to {high:g}"
        )


def _when(layout: Layout, i: int) -> str:
    return (
        str(layout.times[i])[:13]
        if layout.leads is None
        else f"{str(layout.times[0])[:13]} +{layout.leads[i]:g} h"
    )


def preliminary(path: Path) -> np.datetime64 | None:
    """The last day of a file's preliminary (ERA5T, expver 5) times, None when all are final."""
    with netCDF4.Dataset(path) as file:
        if "expver" not in file.variables or not np.any(file["expver"][:] == _PRELIMINARY):
            return None
        hours = file["time"][:][file["expver"][:] == _PRELIMINARY]
        return (_EPOCH + int(hours.max()) * _HOUR).astype("datetime64[D]")
