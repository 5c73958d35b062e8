"""Valid times and lead times of a data set, and the choice of one of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import cftime
import numpy as np
import xarray as xr

from phyda_cli.errors import InputError, UsageError
from phyda_cli.formats.axes import coordinate_kind

__all__ = ["TimeAxis", "as_time", "choose", "decode", "time_axis", "to_seconds"]

_REFERENCE_NAMES = (
    "forecast_reference_time",
    "reference_time",
    "reftime",
    "initial_time",
    "init_time",
    "analysis_time",
)
_STEP_SECONDS = {
    "days": 86400.0,
    "d": 86400.0,
    "hours": 3600.0,
    "h": 3600.0,
    "minutes": 60.0,
    "seconds": 1.0,
    "s": 1.0,
    "milliseconds": 1e-3,
    "microseconds": 1e-6,
    "nanoseconds": 1e-9,
}
_GLOBAL_ATTRIBUTES = ("valid_time", "time", "date")


@dataclass(frozen=True)
class TimeAxis:
    """The times of a file: ``valid`` and ``lead`` [hours] have one axis per dimension in ``dims``.

    ``name`` is the coordinate that will carry the valid time; ``drop`` names the others, which a
    single time makes redundant.
    """

    name: str | None
    dims: tuple[str, ...]
    valid: np.ndarray
    lead: np.ndarray
    drop: tuple[str, ...] = ()


def as_time(value: object) -> np.datetime64:
    """``value`` (ISO text, datetime64, …) with nanosecond resolution; ValueError when it is no
    time."""
    time: np.datetime64 = np.array([value], "datetime64[ns]")[0]
    return time


def to_seconds(times: np.ndarray) -> np.ndarray:
    """``times`` to the nearest second, datetime64[s]."""
    return (times.astype("datetime64[ns]") + np.timedelta64(500, "ms")).astype("datetime64[s]")


def decode(variable: xr.DataArray, path: object) -> np.ndarray:
    """Datetime64[ns] of a CF time coordinate read undecoded.

    Dates of other calendars are taken as they read; InputError when one does not exist (30
    February) or the units are no time.
    """
    if np.issubdtype(variable.dtype, np.datetime64):
        return variable.values.astype("datetime64[ns]")
    if (written := _written(variable)) is not None:
        return written
    units, calendar = (
        str(variable.attrs.get("units", "")),
        str(variable.attrs.get("calendar", "standard")),
    )
    try:
        dates = np.atleast_1d(cftime.num2date(variable.values.astype(np.float64), units, calendar))
    except (ValueError, TypeError, OverflowError) as error:
        found = f"units {units!r}, calendar {calendar!r}"
        raise InputError(
            f"{path}: the times of {variable.name!r} are unreadable ({found}): {error}"
        ) from error
    try:
        decoded = [as_time(date.isoformat()) for date in dates.ravel()]
    except ValueError as error:
        raise InputError(
            f"{path}: a date of {variable.name!r} (calendar {calendar!r}) does not exist in the "
            f"real calendar: {error}",
            hint="observations live in the standard calendar; convert the file's time "
            "coordinate to it",
        ) from error
    return np.array(decoded, "datetime64[ns]").reshape(variable.shape)


def _written(variable: xr.DataArray) -> np.ndarray | None:
    """Datetime64[ns] of times written as text, in UTC; None for others."""
    if variable.dtype.kind not in "SUO":
        return None
    texts = (w.decode() if isinstance(w, bytes) else str(w) for w in variable.values.ravel())
    try:
        times = [as_time(re.sub(r"[ _]", "T", text.strip(" Z\0"), count=1)) for text in texts]
    except (ValueError, UnicodeDecodeError):
        return None
    return np.array(times, "datetime64[ns]").reshape(variable.shape)


def _seconds(step: xr.DataArray) -> np.ndarray:
    if np.issubdtype(step.dtype, np.timedelta64):
        return step.values / np.timedelta64(1, "s")
    unit = str(step.attrs.get("units", "hours")).strip().lower()
    factor = _STEP_SECONDS.get(unit, _STEP_SECONDS.get(unit + "s"))
    if factor is None:
        raise InputError(
            f"the forecast steps of {step.name!r} have units {unit!r}, expected one of "
            f"{', '.join(_STEP_SECONDS)}"
        )
    return np.asarray(step.values, np.float64) * factor


def _is_time(variable: xr.DataArray) -> bool:
    return " since " in str(variable.attrs.get("units", "")) or np.issubdtype(
        variable.dtype, np.datetime64
    )


def _roles(
    dataset: xr.Dataset, rename: Mapping[str, str]
) -> tuple[str | None, str | None, str | None]:
    """Names of the valid-time, reference-time and step variables. A time of any name is the valid
    time where there is no other."""
    valid: dict[int, str] = {}
    reference = step = None
    for name in map(str, dataset.variables):
        variable, lower = dataset[name], name.lower()
        standard = str(variable.attrs.get("standard_name", ""))
        kind = coordinate_kind(name, rename)
        if kind == "time" and _written(variable) is not None:
            valid.setdefault(_rank(lower, standard, kind, variable), name)
            continue
        if standard == "forecast_period" or (kind == "step" and not _is_time(variable)):
            step = step or name
        elif not _is_time(variable):
            continue
        elif standard == "forecast_reference_time" or lower in _REFERENCE_NAMES:
            reference = reference or name
        elif variable.ndim < 2 or kind == "time":
            valid.setdefault(_rank(lower, standard, kind, variable), name)
    if reference is not None and step is not None:
        valid = {rank: name for rank, name in valid.items() if rank < _UNNAMED - 1}
    best = valid[min(valid)] if valid else None
    if step is None or reference is not None or best is None:
        return best, reference, step
    if best == "valid_time":
        return best, "time" if "time" in valid.values() else None, step
    along = dataset[step].ndim > 0 and dataset[step].dims == dataset[best].dims
    # a time with a step across it is that of the initial state
    return (best, None, step) if along else (None, best, step)


_UNNAMED = 4  # no name of a time: one that stands along a dimension before one that does not


def _rank(lower: str, standard: str, kind: str | None, variable: xr.DataArray) -> int:
    if lower == "valid_time":
        return 0
    if standard == "time":
        return 1
    return 2 if kind == "time" else _UNNAMED - (variable.ndim > 0)


def time_axis(
    dataset: xr.Dataset,
    path: object,
    fallback: np.datetime64 | None = None,
    rename: Mapping[str, str] | None = None,
) -> TimeAxis:
    """The times of ``dataset`` (times undecoded). ``fallback`` is the valid time of a file that
    states none.

    Raises InputError when the times cannot be read, or when there are none and no ``fallback`` and
    no global attribute gives one.
    """
    valid, reference, step = _roles(dataset, rename or {})
    if valid is None and reference is None:
        return _stated(dataset, path, fallback)

    def times(name: str) -> xr.DataArray:
        return xr.DataArray(decode(dataset[name], path), dims=dataset[name].dims)

    hour = np.timedelta64(3600 * 10**9, "ns")
    lead = (
        xr.DataArray(0.0)
        if step is None
        else xr.DataArray(_seconds(dataset[step]) / 3600, dims=dataset[step].dims)
    )
    if valid is None:
        assert reference is not None
        time = times(reference) + (lead * 3600e9).round().astype("timedelta64[ns]")
    else:
        time = times(valid)
        lead = lead if reference is None else (time - times(reference)) / hour
    time, lead = xr.broadcast(time, lead)
    drop = tuple(n for n in (valid, reference, step) if n is not None)
    name = "time" if "time" in drop else valid or reference
    return TimeAxis(
        name, tuple(map(str, time.dims)), time.values.astype("datetime64[ns]"), lead.values, drop
    )


def _stated(dataset: xr.Dataset, path: object, fallback: np.datetime64 | None) -> TimeAxis:
    stated = fallback
    if stated is None:
        for key in _GLOBAL_ATTRIBUTES:
            try:
                stated = as_time(str(dataset.attrs[key]).strip().rstrip("Z").replace(" ", "T", 1))
                break
            except (KeyError, ValueError):
                continue
    if stated is None or np.isnat(stated):
        raise InputError(
            f"{path} states no valid time: found no time coordinate among "
            f"{', '.join(map(str, dataset.variables)) or 'no variables'}",
            hint="give it with --valid-time 2024-01-31T12, or add a CF time coordinate",
        )
    return TimeAxis(None, (), np.array(as_time(stated)), np.array(0.0))


def _listed(times: np.ndarray) -> str:
    text = [str(t)[:16] for t in np.unique(times)]
    return (
        ", ".join(text)
        if len(text) <= 8
        else f"{', '.join(text[:4])}, … {', '.join(text[-2:])} ({len(text)} times)"
    )


def of_start(valid: np.ndarray, lead: np.ndarray, start: np.datetime64) -> np.ndarray:
    """Which frames (N,), valid at ``valid`` after ``lead`` hours, are of the forecast from
    ``start``."""
    began = valid.astype("datetime64[ns]") - (lead * 3600e9).round().astype("timedelta64[ns]")
    return np.asarray(np.abs(began - start) < np.timedelta64(1, "m"))


def choose(
    valid: np.ndarray,
    lead: np.ndarray,
    time: np.datetime64 | None,
    near: np.datetime64 | None,
    path: object,
) -> int:
    """Flat index of the wanted time: exactly ``time``, else the only one, else the nearest to
    ``near`` (the earlier of two).

    Of several forecasts valid at that time the one with the shortest lead. UsageError, listing the
    times, when none can be chosen.
    """
    valid, lead = np.asarray(valid).ravel(), np.asarray(lead).ravel()
    unique = np.unique(valid)
    if time is not None:
        wanted = as_time(time)
        if wanted not in unique:
            raise UsageError(
                f"{path} has no time {str(wanted)[:16]}; it has {_listed(unique)}",
                hint="choose one of them with --time",
            )
    elif unique.size == 1:
        wanted = unique[0]
    elif near is not None:
        wanted = unique[np.argmin(np.abs(unique - as_time(near)))]
    else:
        raise UsageError(
            f"{path} has several times: {_listed(unique)}", hint="choose one with --time"
        )
    at = np.flatnonzero(valid == wanted)
    return int(at[np.argmin(lead[at])])
