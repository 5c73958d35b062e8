"""The fields of a GRIB file: what each is, and its values and coordinates.

Messages are read through ``cfgrib.messages`` (``FileStream``, ``Message.message_get``), the layer
of cfgrib that wraps ecCodes. Its data sets are not used: ``cfgrib.open_dataset`` opens one level
type with one set of levels, and ``cfgrib.open_datasets``, which tries all of them, takes minutes
for a forecast file of some 340 fields and loses those whose steps or levels form no hypercube.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from threading import RLock
from typing import Any

from phyda_cli import libproj  # noqa: F401  before ecCodes

# isort: split
import eccodes
import numpy as np
from cfgrib.messages import FileStream, Message, multi_enabled

from phyda_cli.errors import InputError
from phyda_cli.formats.projection import scanned_backwards
from phyda_cli.formats.times import as_time

__all__ = [
    "ECCODES",
    "ISOBARIC",
    "GribField",
    "GribMessage",
    "attributes_of",
    "coordinates_of",
    "decoded",
    "fields_in_order",
    "flattened",
    "grib_fields",
    "scan",
    "values_of_message",
]

ECCODES = RLock()  # its multi-field switch is global
_REGULAR = ("regular_ll", "regular_gg")
_ROTATED = ("rotated_ll", "rotated_gg")
_MESHES = ("lambert", "polar_stereographic", "mercator", *_ROTATED)
_REDUCED = ("reduced_gg", "reduced_ll")
_SUPPORTED_GRIDS = (*_REGULAR, *_MESHES, *_REDUCED)
_COMPONENTS = {"eastward_wind": "x_wind", "northward_wind": "y_wind"}
_ALONG_GRID = 8  # of the resolution and component flags: the winds are
_MISSING = 3.0e38  # cfgrib.messages sets missing values to the largest float32
_MOST_POINTS = 1 << 29  # of a field; more than any model has, and what memory can hold
ISOBARIC = ("isobaricInhPa", "isobaricInPa")
_REMAP = "cdo remapbil,r360x181 in.grib out.grib"
_WAYS = {  # what brings a grid to a regular one
    "sh": "cdo sp2gpl in.grib out.grib",
    "unstructured_grid": "cdo remapdis,r360x181 -setgrid,GRID.nc in.grib out.nc, with the file "
    "that describes its grid",
    "healpix": "cdo remapdis,r360x181 in.grib out.nc",
}
_GRID_KEYS = (
    "Ni",
    "Nj",
    "latitudeOfFirstGridPointInDegrees",
    "longitudeOfFirstGridPointInDegrees",
    "latitudeOfLastGridPointInDegrees",
    "longitudeOfLastGridPointInDegrees",
    "md5GridSection",
)
# ECMWF's dataType (MARS type) of what is no state of the atmosphere
_NO_STATE = {
    "es": "ensemble spread",
    "ses": "scaled ensemble spread",
    "fcstdev": "ensemble spread",
    "ssd": "simulated satellite data",
    "ep": "probability",
    "cp": "probability",
    "pd": "probability",
    "pb": "probability",
    "efi": "extreme forecast index",
    "efic": "extreme forecast index",
    "sot": "shift of tails",
    "cd": "climate distribution",
    "me": "model error",
    "ef": "error of the first guess",
    "ea": "error of the analysis",
    "fcmin": "minimum over an ensemble",
    "fcmax": "maximum over an ensemble",
    "tpa": "tendency",
    "ob": "observations",
}
_MONTHLY = ("moda", "mnth", "edmo", "edmm", "msmm")  # ECMWF's streams
# GRIB2 code table 4.3, type of generating process
_NO_STATE_MADE = {
    5: "probability",
    6: "error of a forecast",
    7: "error of an analysis",
    8: "observations",
    9: "climatology",
}
_MEANS = ("em", "fcmean", "wem")
# GRIB2 code table 4.7, derived forecast: 0, 1 and 6 are means
_DERIVED = {
    2: "standard deviation of an ensemble",
    3: "standard deviation of an ensemble",
    4: "ensemble spread",
    5: "large anomaly index",
    7: "range between quartiles",
    8: "minimum over an ensemble",
    9: "maximum over an ensemble",
}
_PROBABILITY_TEMPLATES = (5, 9)  # GRIB2 code table 4.0
_PERCENTILE_TEMPLATES = (6, 10)


@dataclass(frozen=True)
class GribMessage:
    """What is needed of one field to sort it and find it again; ``index`` counts fields, not GRIB
    messages, in file order. ``kind`` says what it is where it is no state, such as a spread."""

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
    kind: str = ""
    mean: bool = False
    version: int = 1  # ECMWF's expver, 1 where there is none


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
def _decoding(what: str, hint: str = "") -> Iterator[None]:
    """Turn what ecCodes and its wrappers raise of a damaged message into an InputError about
    ``what``."""
    try:
        yield
    except InputError:
        raise
    except (eccodes.CodesInternalError, KeyError, ValueError, TypeError, OverflowError) as error:
        raise InputError(f"{what}: {error}", hint=hint) from error
    except (MemoryError, AttributeError, IndexError) as error:
        raise InputError(f"{what}: {type(error).__name__} {error}", hint=hint) from error


def fields_in_order(path: Path) -> Iterator[tuple[int, int, Message]]:
    """Offset of the GRIB message, number of the field in it, and the field, in file order."""
    count, items = 0, iter(FileStream(str(path), errors="raise").items())
    while True:
        try:
            with _decoding(
                f"{path} is truncated or damaged after {count} fields",
                "copy or produce the file again; is it still being written?",
            ):
                found = next(items, None)
        except EOFError as error:
            raise InputError(f"{path} holds no GRIB message") from error
        if found is None:
            return
        count += 1
        offset, part = found[0] if isinstance(found[0], tuple) else (found[0], 0)
        yield offset, part, found[1]


def scan(path: Path) -> tuple[list[GribMessage], list[str]]:
    """The states of a file that are on its main grid, and notes on the other fields; a file that
    has not changed is scanned once in a process.

    Raises InputError for damaged files and for those that hold no state.
    """
    stamp = path.stat()
    with ECCODES:
        messages, notes = _scan(path, stamp.st_size, stamp.st_mtime_ns)
    return list(messages), list(notes)


@lru_cache(maxsize=8)
def _scan(path: Path, _size: int, _changed: int) -> tuple[tuple[GribMessage, ...], tuple[str, ...]]:
    messages = [
        _describe(i, offset, part, message, path)
        for i, (offset, part, message) in enumerate(fields_in_order(path))
    ]
    kinds = Counter(m.kind for m in messages if m.kind)
    notes = [f"{n} fields of {kind} are left out" for kind, n in kinds.items()]
    states = [m for m in messages if not m.kind]
    if not states:
        raise InputError(f"{path} holds no state of the atmosphere: {', '.join(kinds)}")
    single = {(m.valid, m.reference) for m in states if not m.mean}
    kept = [m for m in states if not m.mean or (m.valid, m.reference) not in single]
    if len(kept) < len(states):
        count = len(states) - len(kept)
        notes.append(f"{count} fields of an ensemble mean are left out beside those of forecasts")
    grid, others = _main_grid(kept, path)
    return tuple(m for m in kept if m.grid == grid), (*notes, *others)


def _main_grid(messages: Sequence[GribMessage], path: Path) -> tuple[tuple[Any, ...], list[str]]:
    """The grid of the pressure-level fields, or of most fields, and a note on those left out."""
    counts = Counter(
        m.grid for m in [m for m in messages if m.level_type == "isobaricInhPa"] or messages
    )
    usable = [grid for grid, _ in counts.most_common() if grid[0] in _SUPPORTED_GRIDS]
    if not usable:
        grid_type = counts.most_common(1)[0][0][0]
        raise InputError(
            f"{path} is on a {grid_type!r} grid, which is not supported",
            hint="phyda reads latitude-longitude, Gaussian, rotated and conformal grids; bring the "
            f"file to one first: {_WAYS.get(grid_type, _REMAP)}",
        )
    left = sum(m.grid != usable[0] for m in messages)
    return usable[0], [f"{left} fields on another grid are left out"] if left else []


def _describe(index: int, offset: int, part: int, message: Message, path: Path) -> GribMessage:
    get = message.message_get
    with _decoding(f"{path}: field {index + 1} cannot be described"):
        grid_type = str(get("gridType", default=None))
        level_type = str(get("typeOfLevel", default="unknown"))
        level = round(float(get("level", float)), 6)
        kind, mean = _kind(message)
        version = str(get("expver", default="1"))
        name = _name(message)
        step_type = str(get("stepType", default="instant"))
        member = int(get("number", default=0) or 0)
        grid = tuple(get(k, default=None) for k in _GRID_KEYS if grid_type in _SUPPORTED_GRIDS)
    with _decoding(f"{path}: the date of field {index + 1} ({name}) is unreadable"):
        reference = _date(get("dataDate", default=None), get("dataTime", default=None))
        valid = _date(get("validityDate", default=None), get("validityTime", default=None))
    return GribMessage(
        index=index,
        name=name,
        level_type="isobaricInhPa" if level_type in ISOBARIC else level_type,
        level=level / 100 if level_type == "isobaricInPa" else level,
        step_type=step_type,
        reference=reference,
        valid=valid,
        member=member,
        grid=(grid_type, *grid),
        offset=offset,
        part=part,
        kind=kind,
        mean=mean,
        version=int(version) if version.isdigit() else 1,
    )


def _date(date: int, time: int) -> np.datetime64:
    return as_time(
        f"{date // 10000:04d}-{date // 100 % 100:02d}-{date % 100:02d}"
        f"T{time // 100:02d}:{time % 100:02d}"
    )


def _name(message: Message) -> str:
    name = message.message_get("cfVarName", default="unknown")
    if name != "unknown":
        return str(name)
    by_edition = {
        1: ("table2Version", "indicatorOfParameter"),
        2: ("discipline", "parameterCategory", "parameterNumber"),
    }
    keys = by_edition.get(message.message_get("edition", default=0), ())
    return "_".join(["unknown", *(str(message.message_get(key, default="x")) for key in keys)])


def _kind(message: Message) -> tuple[str, bool]:
    """What a field is where it is no state, and whether it is the mean of an ensemble."""
    kind = str(message.message_get("dataType", default=""))
    if kind in _NO_STATE:
        return f"{_NO_STATE[kind]} (dataType {kind})", False
    if (stream := str(message.message_get("stream", default=""))) in _MONTHLY:
        return f"monthly statistics (stream {stream})", False
    template = message.message_get("productDefinitionTemplateNumber", default=0)
    if message.message_get("edition", default=0) == 2:
        derived = message.message_get("derivedForecast", default=None)
        if derived in _DERIVED:
            return f"{_DERIVED[derived]} (derivedForecast {derived})", False
        process = message.message_get("typeOfGeneratingProcess", default=None)
        if process in _NO_STATE_MADE:
            return f"{_NO_STATE_MADE[process]} (typeOfGeneratingProcess {process})", False
        if template in _PROBABILITY_TEMPLATES:
            return f"probability (product template {template})", False
        if template in _PERCENTILE_TEMPLATES:
            return f"percentile (product template {template})", False
        return "", derived is not None or kind in _MEANS
    return "", kind in _MEANS


def grib_fields(path: Path) -> Iterator[GribField]:
    """Field after field in the order of the file, which may be larger than memory. Raises
    InputError for damaged files."""
    axes: dict[tuple[Any, ...], tuple[np.ndarray, np.ndarray]] = {}
    for index, (offset, part, message) in enumerate(fields_in_order(path)):
        m = _describe(index, offset, part, message, path)
        if m.grid not in axes:
            axes[m.grid] = coordinates_of(message, path, m)
        level = m.level if m.level_type in ISOBARIC else None
        values = values_of_message(message, path, m, axes[m.grid])
        yield GribField(m.name, m.level_type, level, m.valid, m.version, *axes[m.grid], values)


def decoded(path: Path, messages: Sequence[GribMessage]) -> Iterator[tuple[GribMessage, Message]]:
    """Each of ``messages`` with its field, in file order; what lies between is not read."""
    ordered = sorted(messages, key=lambda m: m.index)
    with open(path, "rb") as file:
        for offset, group in groupby(ordered, key=lambda m: m.offset):
            parts = {m.part: m for m in group}
            with multi_enabled(file):
                file.seek(offset)
                for part in range(max(parts) + 1):
                    with _decoding(f"{path} is damaged, or changed while it was read"):
                        message = Message.from_file(file, errors="raise")
                    if part in parts:
                        yield parts[part], message


def attributes_of(message: Message, m: GribMessage, several: bool) -> dict[str, Any]:
    with _decoding(f"field {m.index + 1} ({m.name}) cannot be described"):
        standard = message.message_get("cfName", default="unknown")
        flags = int(message.message_get("resolutionAndComponentFlags", default=0))
        if m.grid[0] in _MESHES and flags & _ALONG_GRID:
            standard = _COMPONENTS.get(standard, standard)
        attributes = {
            "long_name": message.message_get("name", default=m.name),
            "units": message.message_get("units", default="unknown"),
        }
        if standard not in ("unknown", None):
            attributes["standard_name"] = standard
        attributes |= {
            "GRIB_paramId": int(message.message_get("paramId", default=0)),
            "GRIB_shortName": message.message_get("shortName", default=""),
            "GRIB_typeOfLevel": m.level_type,
            "GRIB_stepType": m.step_type,
        }
    return attributes if several else attributes | {"GRIB_level": m.level}


def coordinates_of(message: Message, path: Path, m: GribMessage) -> tuple[np.ndarray, np.ndarray]:
    """Latitude of the rows and longitude of the columns, in the order that
    :func:`values_of_message` returns them; the longitudes of a row that runs eastwards increase. Of
    a projected or rotated grid both are (H, W), of a reduced one (1, N)."""
    which = f"{m.name} at {m.level:g} hPa" if m.level_type == "isobaricInhPa" else m.name
    with _decoding(
        f"{path}: the grid of {which} is described inconsistently (N, Ni, Nj), ecCodes cannot "
        "place its points",
        "produce the file again, or correct the grid's keys with grib_set",
    ):
        _check_size(message)
        projected = scanned_backwards(message) if m.grid[0] in _MESHES else None
        lat, lon = projected or (
            _rectangle(message, np.asarray(message.message_get(key)))
            for key in ("latitudes", "longitudes")
        )
    if projected is None and m.grid[0] in _ROTATED and message.message_get("iScansNegatively"):
        lat, lon = lat[:, ::-1], lon[:, ::-1]
    if m.grid[0] in (*_MESHES, *_REDUCED):
        return lat, (lon + 180) % 360 - 180
    if not (np.allclose(lat, lat[:, :1], atol=1e-4) and np.allclose(lon, lon[:1], atol=1e-4)):
        raise InputError(
            f"{path}: the rows of the grid alternate in direction or are not aligned, which is "
            "not supported"
        )
    columns = lon[0]
    eastwards = columns[0] + (columns - columns[0]) % 360
    return lat[:, 0], eastwards if np.all(np.diff(eastwards) > 0) else columns


def _check_size(message: Message) -> None:
    """ValueError for a grid of more points than a field can have, before memory is asked for."""
    n_lat, n_lon = _shape(message)
    if n_lon < 1 or n_lat < 1 or n_lon * n_lat > _MOST_POINTS:
        raise ValueError(f"{n_lon} x {n_lat} points")


def _shape(message: Message) -> tuple[int, int]:
    """Rows and columns; the points of a reduced grid are one row."""
    if message.message_get("gridType") in _REDUCED:
        return 1, int(message.message_get("numberOfDataPoints"))
    return int(message.message_get("Nj")), int(message.message_get("Ni"))


def _shaped(message: Message, values: np.ndarray) -> np.ndarray:
    """Values of a message (n,) as (H, W), of projected grids with columns along the x axis."""
    return _along_x(message, _rectangle(message, values))


def _rectangle(message: Message, values: np.ndarray) -> np.ndarray:
    n_lat, n_lon = _shape(message)
    if message.message_get("jPointsAreConsecutive", default=0):
        return values.reshape(n_lon, n_lat).T
    return values.reshape(n_lat, n_lon)


def flattened(message: Message, values: np.ndarray) -> np.ndarray:
    """The way back (n,) from (H, W)."""
    values = _along_x(message, values)
    by_column = message.message_get("jPointsAreConsecutive", default=0)
    return (values.T if by_column else values).ravel()


def _along_x(message: Message, values: np.ndarray) -> np.ndarray:
    """``values`` (H, W) from the order of scanning, or back into it."""
    if message.message_get("gridType") not in _MESHES:
        return values
    backwards = message.message_get("iScansNegatively", default=0)
    if not message.message_get("alternativeRowScanning", default=0):
        return values[:, ::-1] if backwards else values
    turned = values.copy()
    first = 0 if backwards else 1
    turned[first::2] = turned[first::2, ::-1]
    return turned


def values_of_message(
    message: Message, path: Path, m: GribMessage, coordinates: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    what = f"{path}: {m.name} at {m.level_type} {m.level:g}"
    with _decoding(f"{what} cannot be decoded"):
        _check_size(message)
        values = np.asarray(message.message_get("values", float))
    latitude, longitude = coordinates
    expected = latitude.size if latitude.ndim > 1 else latitude.size * longitude.size
    if values.size != expected:
        raise InputError(f"{what} has {values.size} values, expected {expected}")
    with _decoding(f"{what} cannot be decoded"):
        values = _shaped(message, values)
    return np.where(values >= _MISSING, np.nan, values).astype(np.float32)
