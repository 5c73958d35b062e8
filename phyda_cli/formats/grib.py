"""GRIB1 and GRIB2 with mixed level types, read message by message with ecCodes into one data set.

cfgrib opens one level type and one set of levels at a time; a forecast file holds dozens, so the
messages are sorted here and the variables get cfgrib's names (ecCodes' ``cfVarName``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import eccodes
import numpy as np
import xarray as xr

from phyda_cli.errors import InputError
from phyda_cli.formats.netcdf import Selected, choose_member
from phyda_cli.formats.times import as_time, choose
from phyda_cli.names import VARIABLES, canonical_variable

__all__ = [
    "GribField",
    "GribMessage",
    "grib_dataset",
    "grib_fields",
    "grib_members",
    "grib_messages",
    "read_grib",
    "unique_names",
]

_SUPPORTED_GRIDS = ("regular_ll", "regular_gg")
_MISSING = 3.0e38
_ISOBARIC = ("isobaricInhPa", "isobaricInPa")
_PLAIN_TYPES = (*_ISOBARIC, "surface", "meanSea", "heightAboveGround")
_LEVEL_ATTRIBUTES = {
    "units": "hPa",
    "standard_name": "air_pressure",
    "long_name": "pressure",
    "positive": "down",
    "axis": "Z",
}


@dataclass(frozen=True)
class GribMessage:
    """What is needed of one field to sort it and find it again; ``index`` counts fields, not GRIB
    messages, in file order."""

    index: int
    name: str
    level_type: str
    level: float
    step_type: str
    reference: np.datetime64
    valid: np.datetime64
    member: int
    grid: tuple[Any, ...]
    offset: int  # of the GRIB message in the file [bytes]
    part: int = 0  # of the fields in that message


@dataclass(frozen=True, eq=False)
class GribField:
    """One field of a file: ``level`` is in hPa on a pressure level, else None; ``version`` is
    ECMWF's expver, 1 where there is none."""

    name: str
    level_type: str
    level: float | None
    valid: np.datetime64
    version: int
    latitude: np.ndarray
    longitude: np.ndarray
    values: np.ndarray


@contextmanager
def _multi_field() -> Iterator[None]:
    eccodes.codes_grib_multi_support_on()  # NCEP packs u and v into one message
    try:
        yield
    finally:
        eccodes.codes_grib_multi_support_off()


def _handles(path: Path, offset: int = 0) -> Iterator[int]:
    """Handles of the fields from the message at ``offset`` on."""
    with open(path, "rb") as file, _multi_field():
        eccodes.codes_grib_multi_support_reset_file(file)
        file.seek(offset)
        count = 0
        while True:
            try:
                handle = eccodes.codes_grib_new_from_file(file)
            except eccodes.CodesInternalError as error:
                raise InputError(
                    f"{path} is truncated or damaged after {count} fields: {error}",
                    hint="copy or produce the file again; is it still being written?",
                ) from error
            if handle is None:
                return
            count += 1
            try:
                yield handle
            finally:
                eccodes.codes_release(handle)


def _get(handle: int, key: str, default: Any = None) -> Any:
    try:
        return eccodes.codes_get(handle, key)
    except eccodes.KeyValueNotFoundError:
        return default


def _date(date: int, time: int) -> np.datetime64:
    return as_time(
        f"{date // 10000:04d}-{date // 100 % 100:02d}-{date % 100:02d}"
        f"T{time // 100:02d}:{time % 100:02d}"
    )


def _name(handle: int) -> str:
    name = _get(handle, "cfVarName", "unknown")
    if name != "unknown":
        return str(name)
    by_edition = {
        1: ("table2Version", "indicatorOfParameter"),
        2: ("discipline", "parameterCategory", "parameterNumber"),
    }
    keys = by_edition.get(_get(handle, "edition"), ())
    return "_".join(["unknown", *(str(_get(handle, key, "x")) for key in keys)])


def _describe(index: int, handle: int, path: Path) -> GribMessage:
    grid_type = str(_get(handle, "gridType"))
    keys = (
        "Ni",
        "Nj",
        "latitudeOfFirstGridPointInDegrees",
        "longitudeOfFirstGridPointInDegrees",
        "latitudeOfLastGridPointInDegrees",
        "longitudeOfLastGridPointInDegrees",
    )
    level_type = str(_get(handle, "typeOfLevel", "unknown"))
    level = round(float(eccodes.codes_get_double(handle, "level")), 6)
    try:
        reference = _date(_get(handle, "dataDate"), _get(handle, "dataTime"))
        valid = _date(_get(handle, "validityDate"), _get(handle, "validityTime"))
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{path}: the date of field {index + 1} ({_name(handle)}) is unreadable: {error}"
        ) from error
    return GribMessage(
        index=index,
        name=_name(handle),
        level_type="isobaricInhPa" if level_type in _ISOBARIC else level_type,
        level=level / 100 if level_type == "isobaricInPa" else level,
        step_type=str(_get(handle, "stepType", "instant")),
        reference=reference,
        valid=valid,
        member=int(_get(handle, "number", 0) or 0),
        grid=(grid_type, *(_get(handle, k) for k in keys if grid_type in _SUPPORTED_GRIDS)),
        offset=int(_get(handle, "offset", 0)),
    )


def read_grib(
    path: Path, time: np.datetime64 | None, near: np.datetime64 | None, member: int | None
) -> Selected:
    """One valid time and one member of a GRIB file as a data set with the dimensions time, level
    type, latitude, longitude.

    Levels missing from a variable that others of its level type have are NaN. Raises InputError for
    damaged files and for grids that are not regular in latitude and longitude, UsageError when the
    time or the member must be chosen.
    """
    messages, notes = grib_messages(path)
    base = [m for m in messages if m.step_type == "instant"] or messages
    pairs = sorted({(m.valid, m.reference) for m in base})
    i = choose(
        np.array([v for v, _ in pairs]),
        np.array([(v - r) / np.timedelta64(1, "h") for v, r in pairs]),
        time,
        near,
        path,
    )
    valid, reference = pairs[i]
    everything = messages
    messages = [m for m in messages if (m.valid, m.reference) == (valid, reference)]
    members = np.unique([m.member for m in messages])
    wanted = members[choose_member(members, member, path)]
    messages = [m for m in messages if m.member == wanted]
    messages += _statics(everything, messages)
    if len(pairs) > 1:
        notes.append(f"time {str(valid)[:16]} of {len(pairs)} in the file")
    if members.size > 1:
        notes.append(f"member {wanted} of {members.size}")
    return (
        grib_dataset(path, messages, valid, notes),
        valid,
        float((valid - reference) / np.timedelta64(1, "h")),
        "time",
        notes,
    )


def grib_messages(path: Path) -> tuple[list[GribMessage], list[str]]:
    """The fields of a file that are on its main grid, and a note on the others. Raises InputError
    for damaged files."""
    messages: list[GribMessage] = []
    for i, handle in enumerate(_handles(path)):
        m = _describe(i, handle, path)
        same = bool(messages) and messages[-1].offset == m.offset
        messages.append(replace(m, part=messages[-1].part + 1) if same else m)
    if not messages:
        raise InputError(f"{path} holds no GRIB message")
    grid, notes = _main_grid(messages, path)
    return [m for m in messages if m.grid == grid], notes


def grib_fields(path: Path) -> Iterator[GribField]:
    """Field after field in the order of the file, which may be larger than memory. Raises
    InputError for damaged files."""
    axes: dict[tuple[Any, ...], tuple[np.ndarray, np.ndarray]] = {}
    for index, handle in enumerate(_handles(path)):
        message = _describe(index, handle, path)
        if message.grid not in axes:
            axes[message.grid] = _coordinates(handle, path)
        level = message.level if message.level_type in _ISOBARIC else None
        version = str(_get(handle, "expver", "1"))
        yield GribField(
            message.name,
            message.level_type,
            level,
            message.valid,
            int(version) if version.isdigit() else 1,
            *axes[message.grid],
            _values(handle, path, message, axes[message.grid]),
        )


def grib_members(path: Path) -> list[int]:
    """Member numbers of a GRIB file, none where there is a single one. Raises InputError."""
    numbers = np.unique(
        [_describe(i, handle, path).member for i, handle in enumerate(_handles(path))]
    )
    return [] if numbers.size < 2 else [int(n) for n in numbers]


def _statics(everything: list[GribMessage], chosen: list[GribMessage]) -> list[GribMessage]:
    """Orography and land-sea mask, which many files hold for the first step only."""
    have = {m.name for m in chosen if m.level_type == "surface"}
    static: dict[str, GribMessage] = {}
    for m in everything:
        if (
            m.level_type == "surface"
            and m.name not in have
            and m.name in ("orog", "lsm", "z", "gh")
        ):
            static.setdefault(m.name, m)
    return list(static.values())


def _main_grid(messages: list[GribMessage], path: Path) -> tuple[tuple[Any, ...], list[str]]:
    """The grid of the pressure-level fields, or of most fields, and a note on those left out."""
    counts = Counter(
        m.grid for m in [m for m in messages if m.level_type == "isobaricInhPa"] or messages
    )
    usable = [grid for grid, _ in counts.most_common() if grid[0] in _SUPPORTED_GRIDS]
    if not usable:
        raise InputError(
            f"{path} is on a {counts.most_common(1)[0][0][0]!r} grid, which is not supported",
            hint="phyda reads regular latitude-longitude and regular Gaussian grids; remap the "
            "file first, for example with cdo remapbil",
        )
    left = sum(m.grid != usable[0] for m in messages)
    return usable[0], [f"{left} fields on another grid are left out"] if left else []


def unique_names(messages: list[GribMessage]) -> dict[tuple[str, str, str], str]:
    """Variable name of each (name, level type, step type): plain for the most useful, with the
    level type or step type for the others."""
    names: dict[tuple[str, str, str], str] = {}

    def rank(key: tuple[str, str, str]) -> tuple[int, bool, str]:
        return (
            _PLAIN_TYPES.index(key[1]) if key[1] in _PLAIN_TYPES else len(_PLAIN_TYPES),
            key[2] != "instant",
            key[1],
        )

    for key in sorted({(m.name, m.level_type, m.step_type) for m in messages}, key=rank):
        name, level_type, step_type = key
        known = canonical_variable(name)
        misleading = (
            known is not None and not VARIABLES[known].surface and level_type != "isobaricInhPa"
        )
        candidates = [name] * (not misleading) + [
            f"{name}_{level_type}",
            f"{name}_{level_type}_{step_type}",
        ]
        names[key] = next(c for c in candidates if c not in names.values())
    return names


def grib_dataset(
    path: Path, messages: list[GribMessage], valid: np.datetime64, notes: list[str]
) -> xr.Dataset:
    """``messages`` of one time and one member as a data set; what cannot be placed is added to
    ``notes``."""
    names = unique_names(messages)
    types = {m.level_type for m in messages}
    levels = {
        t: sorted({m.level for m in messages if m.level_type == t}, reverse=t == "isobaricInhPa")
        for t in types
    }
    counts = {
        key: len({m.level for m in messages if (m.name, m.level_type, m.step_type) == key})
        for key in names
    }
    arrays: dict[str, np.ndarray] = {}
    attributes: dict[str, dict[str, Any]] = {}
    filled: set[tuple[str, float]] = set()
    coordinates: tuple[np.ndarray, np.ndarray] | None = None
    for message, handle in _wanted(path, messages):
        coordinates = coordinates or _coordinates(handle, path)
        key = (message.name, message.level_type, message.step_type)
        name, own = names[key], levels[message.level_type]
        if (name, message.level) in filled:
            notes.append(f"a second {name} at {message.level_type} {message.level:g} is left out")
            continue
        filled.add((name, message.level))
        values = _values(handle, path, message, coordinates)
        if counts[key] == 1 and message.level_type != "isobaricInhPa":
            arrays[name] = values
        else:
            arrays.setdefault(name, np.full((len(own), *values.shape), np.nan, np.float32))[
                own.index(message.level)
            ] = values
        attributes.setdefault(name, _attributes(handle, message))
    assert coordinates is not None
    return _dataset(arrays, attributes, levels, coordinates, valid)


def _wanted(path: Path, messages: list[GribMessage]) -> Iterator[tuple[GribMessage, int]]:
    """Each of ``messages`` with its handle, in file order; what lies between is not read."""
    for offset, group in groupby(sorted(messages, key=lambda m: m.index), key=lambda m: m.offset):
        parts = {m.part: m for m in group}
        for part, handle in enumerate(_handles(path, offset)):
            if part in parts:
                yield parts[part], handle
            if part >= max(parts):
                break


def _attributes(handle: int, message: GribMessage) -> dict[str, Any]:
    standard = _get(handle, "cfName", "unknown")
    attributes = {
        "long_name": _get(handle, "name", message.name),
        "units": _get(handle, "units", "unknown"),
    }
    if standard not in ("unknown", None):
        attributes["standard_name"] = standard
    return attributes | {
        "GRIB_paramId": int(_get(handle, "paramId", 0)),
        "GRIB_shortName": _get(handle, "shortName", ""),
        "GRIB_typeOfLevel": message.level_type,
        "GRIB_stepType": message.step_type,
    }


def _dataset(
    arrays: dict[str, np.ndarray],
    attributes: dict[str, dict[str, Any]],
    levels: dict[str, list[float]],
    coordinates: tuple[np.ndarray, np.ndarray],
    valid: np.datetime64,
) -> xr.Dataset:
    horizontal = ("latitude", "longitude")
    data = {}
    for name, values in arrays.items():
        level_type = attributes[name]["GRIB_typeOfLevel"]
        dims = ("time", *((level_type,) if values.ndim == 3 else ()), *horizontal)
        data[name] = (dims, values[None], attributes[name])
    coords: dict[str, Any] = {
        "time": ("time", np.array([valid])),
        "latitude": (
            "latitude",
            coordinates[0],
            {"units": "degrees_north", "standard_name": "latitude"},
        ),
        "longitude": (
            "longitude",
            coordinates[1],
            {"units": "degrees_east", "standard_name": "longitude"},
        ),
    }
    for level_type in {attributes[n]["GRIB_typeOfLevel"] for n, v in arrays.items() if v.ndim == 3}:
        extra = _LEVEL_ATTRIBUTES if level_type == "isobaricInhPa" else {"long_name": level_type}
        coords[level_type] = (level_type, np.array(levels[level_type]), extra)
    return xr.Dataset(data, coords)


def _coordinates(handle: int, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Latitude of the rows and longitude of the columns, in the order :func:`_values` returns
    them."""
    lat, lon = (eccodes.codes_get_array(handle, key) for key in ("latitudes", "longitudes"))
    lat, lon = _shaped(handle, lat), _shaped(handle, lon)
    if not (np.allclose(lat, lat[:, :1], atol=1e-4) and np.allclose(lon, lon[:1], atol=1e-4)):
        raise InputError(
            f"{path}: the rows of the grid alternate in direction or are not aligned, which is "
            "not supported"
        )
    return lat[:, 0], lon[0]


def _shaped(handle: int, values: np.ndarray) -> np.ndarray:
    n_lon, n_lat = int(_get(handle, "Ni")), int(_get(handle, "Nj"))
    return (
        values.reshape(n_lon, n_lat).T
        if _get(handle, "jPointsAreConsecutive", 0)
        else values.reshape(n_lat, n_lon)
    )


def _values(
    handle: int, path: Path, message: GribMessage, coordinates: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    try:
        eccodes.codes_set(handle, "missingValue", _MISSING)
        values = eccodes.codes_get_values(handle)
    except eccodes.CodesInternalError as error:
        raise InputError(
            f"{path}: {message.name} at {message.level_type} {message.level:g} cannot be "
            f"decoded: {error}"
        ) from error
    expected = coordinates[0].size * coordinates[1].size
    if values.size != expected:
        raise InputError(
            f"{path}: {message.name} at {message.level_type} {message.level:g} has {values.size} "
            f"values, expected {expected}"
        )
    values = _shaped(handle, values)
    return np.where(values >= _MISSING, np.nan, values).astype(np.float32)
