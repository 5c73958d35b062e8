"""Sums that all scores follow from, kept instead of the values: they add up over times and files.

One row of sums belongs to a :class:`Key`. All errors are state minus reference (truth or
observation). The sums of two files are those of both together, in whatever order.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import netCDF4
import numpy as np

from phyda_cli.errors import InputError
from phyda_cli.files.publish import publish
from phyda_cli.files.readable import check_input
from phyda_cli.files.worker import apart
from phyda_cli.verification.ranks import rebinned

__all__ = ["COLUMNS", "SCHEMA", "SERIES", "Key", "Sums", "read_sums"]

SCHEMA = 1
COLUMNS = (
    "count",  # points with an error of the analysis
    "weight",  # their weights; the sums below are weighted alike
    "a",  # error of the analysis
    "a_squared",
    "a_absolute",
    "weight_b",  # where the background's error is known too
    "b",
    "b_squared",
    "ab",
    "a_b",  # of the analysis where the background is known
    "a_squared_b",
    "crps",
    "weight_crps",
    "variance",  # of the state's distribution, with the observation error's where there is one
    "a_squared_v",  # squared errors where the variance is known
    "weight_v",
    "error_squared",  # of the observation error
    "chi2",  # (O-B)^2 / (sigma_o^2 + sigma_b^2)
    "weight_chi2",
    "jo_a",  # (O-A)^2 / sigma_o^2
    "jo_b",
    "signal",  # (O-A) (A-B) / sigma_o^2, whose sum estimates the trace of HK
    "s1_error",  # magnitudes of differences of gradients
    "s1_size",  # the larger of the two gradients' magnitudes
    "s1_error_b",
    "s1_size_b",
)
SERIES = ("time", "count", "weight", "a", "a_squared", "b", "b_squared", "crps", "weight_crps")
"""What is kept of every time: seconds since 1970, then sums."""

_INDEX = {name: i for i, name in enumerate(COLUMNS)}


class Key(NamedTuple):
    """What one row of sums is of: ``source`` (fields, observations), variable, level (hPa, layer
    or empty), region, group (of the time, station or type; empty for all) and ``independence``
    (withheld, next_background, used, same_origin, unknown)."""

    source: str
    variable: str
    level: str
    region: str
    group: str
    independence: str


@dataclass(eq=False)
class Sums:
    """Rows of sums, their rank histograms with ``bins`` intervals (of the first ensemble), a few
    sums of every time, and the valid ``times`` [s since 1970] with the file each came from."""

    rows: dict[Key, np.ndarray] = field(default_factory=dict)
    ranks: dict[Key, np.ndarray] = field(default_factory=dict)
    series: dict[Key, array[float]] = field(default_factory=dict)
    times: dict[int, str] = field(default_factory=dict)
    bins: int = 0

    def add(self, key: Key, values: Mapping[str, float]) -> None:
        """Add sums by name to the row of ``key``."""
        row = self.rows.get(key)
        if row is None:
            row = self.rows[key] = np.zeros(len(COLUMNS))
        for name, value in values.items():
            row[_INDEX[name]] += value

    def add_row(self, key: Key, values: np.ndarray) -> None:
        """Add a whole row (len(COLUMNS),)."""
        if key in self.rows:
            self.rows[key] += values
        else:
            self.rows[key] = np.array(values, float)

    def add_ranks(self, key: Key, counts: np.ndarray) -> None:
        """Add a rank histogram (K,); one of another size is brought to that of the first."""
        if not counts.sum() > 0:
            return
        self.bins = self.bins or counts.size
        counts = counts if counts.size == self.bins else rebinned(counts, self.bins)
        self.ranks[key] = self.ranks.get(key, 0.0) + counts

    def add_time(self, key: Key, time: int, row: np.ndarray) -> None:
        """Keep of a row (len(COLUMNS),) at ``time`` [s] what the series holds."""
        kept = self.series.setdefault(key, array("d"))
        kept.append(float(time))
        kept.extend(float(row[_INDEX[name]]) for name in SERIES[1:])

    def note_time(self, time: int, name: str) -> None:
        """Count the analysis of ``time`` [s]. Raises InputError when it has been counted."""
        if time in self.times:
            when = np.datetime_as_string(np.datetime64(time, "s"), unit="m")
            raise InputError(
                f"{self.times[time]} and {name} are both valid at {when}Z",
                hint="give each time once: two runs are compared with --against",
            )
        self.times[time] = name

    def merge(self, other: Sums) -> None:
        """Add ``other``. Raises InputError when both hold a time."""
        for time, name in other.times.items():
            self.note_time(time, name)
        for key, row in other.rows.items():
            self.add_row(key, row)
        for key, counts in other.ranks.items():
            self.add_ranks(key, counts)
        for key, values in other.series.items():
            self.series.setdefault(key, array("d")).extend(values)

    def value(self, key: Key, name: str) -> float:
        """One sum; zero where there is none."""
        row = self.rows.get(key)
        return 0.0 if row is None else float(row[_INDEX[name]])

    def series_of(self, key: Key) -> dict[str, np.ndarray]:
        """The columns of SERIES, each (T,), in the order of time."""
        table = np.array(self.series.get(key, array("d"))).reshape(-1, len(SERIES))
        table = table[np.argsort(table[:, 0], kind="stable")]
        return {name: table[:, i] for i, name in enumerate(SERIES)}

    def save(self, path: Path, attributes: Mapping[str, str], overwrite: bool = False) -> None:
        """Write everything to NetCDF. Raises OutputError."""
        keys = sorted(self.rows)
        series = sorted(self.series)
        with publish(path, overwrite) as temporary, netCDF4.Dataset(temporary, "w") as data:
            data.setncatts({"title": "sums of scores", "schema": SCHEMA, **attributes})
            _write_keys(data, "row", keys)
            _write_keys(data, "series", series)
            for name, size in (("column", len(COLUMNS)), ("bin", self.bins), ("time", None)):
                data.createDimension(name, size)
            data.columns = " ".join(COLUMNS)
            sums = data.createVariable("sums", "f8", ("row", "column"), compression="zlib")
            sums[:] = np.array([self.rows[k] for k in keys]).reshape(-1, len(COLUMNS))
            if self.bins:
                ranks = data.createVariable("ranks", "f8", ("row", "bin"), compression="zlib")
                empty = np.zeros(self.bins)
                ranks[:] = np.array([self.ranks.get(k, empty) for k in keys])
            times = data.createVariable("time", "i8", ("time",))
            times.units = "seconds since 1970-01-01 00:00:00"
            times[:] = list(self.times)
            names = data.createVariable("file", str, ("time",))
            for i, name in enumerate(self.times.values()):
                names[i] = name
            data.createDimension("kept", None)
            data.createDimension("value", len(SERIES))
            data.series = " ".join(SERIES)
            values = data.createVariable("values", "f8", ("kept", "value"), compression="zlib")
            owner = data.createVariable("owner", "i4", ("kept",), compression="zlib")
            lengths = [len(self.series[k]) // len(SERIES) for k in series]
            if series:
                stacked = np.concatenate([np.array(self.series[k]) for k in series])
                values[:] = stacked.reshape(-1, len(SERIES))
                owner[:] = np.repeat(np.arange(len(series)), lengths)


def _write_keys(data: netCDF4.Dataset, dimension: str, keys: list[Key]) -> None:
    data.createDimension(dimension, len(keys))
    for i, name in enumerate(Key._fields):
        variable = data.createVariable(f"{dimension}_{name}", str, (dimension,))
        for j, key in enumerate(keys):
            variable[j] = key[i]


def _read_keys(data: netCDF4.Dataset, dimension: str) -> list[Key]:
    columns = [data[f"{dimension}_{name}"][:] for name in Key._fields]
    return [Key(*map(str, parts)) for parts in zip(*columns, strict=True)]


def read_sums(paths: Iterable[Path]) -> Sums:
    """The sums of all files together. Raises InputError for a file that holds none, and when two
    hold the same time."""
    total = Sums()
    for path in paths:
        total.merge(_read(path))
    return total


@apart()
def _read(path: Path) -> Sums:
    check_input(path)
    try:
        with netCDF4.Dataset(path) as data:
            if "sums" not in data.variables or getattr(data, "schema", None) != SCHEMA:
                raise InputError(
                    f"{path} holds no sums of this version", hint="write it with --sums again"
                )
            data.set_auto_mask(False)
            found = Sums()
            keys = _read_keys(data, "row")
            place = [_INDEX[name] for name in data.columns.split() if name in _INDEX]
            known = [name in _INDEX for name in data.columns.split()]
            sums = np.zeros((len(keys), len(COLUMNS)))
            sums[:, place] = data["sums"][:][:, known]
            found.rows = dict(zip(keys, sums, strict=True))
            if "ranks" in data.variables:
                for key, counts in zip(keys, data["ranks"][:], strict=True):
                    found.add_ranks(key, counts)
            found.times = {
                int(t): str(n) for t, n in zip(data["time"][:], data["file"][:], strict=True)
            }
            values, owner = data["values"][:], data["owner"][:]
            for i, key in enumerate(_read_keys(data, "series")):
                found.series[key] = array("d", values[owner == i].ravel())
            return found
    except InputError:
        raise
    except Exception as error:  # of a damaged file netCDF4 raises many kinds
        raise InputError(f"cannot read {path}: {error}") from error
