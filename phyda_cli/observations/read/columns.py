"""Which column of a text table is what, in which unit: from a TOML file (``--obs-map``), or
recognised from the header."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from phyda_cli.errors import InputError, UsageError
from phyda_cli.names import OBSERVABLES, canonical_observable
from phyda_cli.units import conversion, is_unit

__all__ = ["Column", "ObservationMap", "TimeColumn", "load_mapping", "recognise"]

MISSING = (
    "",
    "NA",
    "N/A",
    "NaN",
    "nan",
    "null",
    "NULL",
    "None",
    "M",
    "-",
    "--",
    "-9999",
    "-9999.0",
)
"""Cells that mean "no value" in every column."""

_METADATA_UNITS = {
    "latitude": "degree",
    "longitude": "degree",
    "elevation": "m",
    "pressure": "Pa",
    "pressure_top": "Pa",
    "height": "m",
}

_METADATA: dict[str, str] = {
    "station_id": "station_id station stationid station_identifier id stid stnid icao wmo "
    "wmo_id site",
    "time": "time valid_time datetime date_time date valid obs_time obstime timestamp time_utc "
    "datetime_utc unix_time epoch",
    "latitude": "latitude lat",
    "longitude": "longitude lon long lng",
    "elevation": "elevation elev altitude alt station_height station_elevation",
    "pressure": "pressure plev air_pressure p",
    "pressure_top": "pressure_top",
    "height": "height",
    "variable": "variable parameter obs_type",
    "value": "value obs_value obsvalue",
    "error": "error obs_error obserror sigma",
    "use": "use",
}

# An archive's names that stand for a unit too (IEM's ASOS export).
_IMPLIED_UNITS = {
    "sknt": "kt",
    "tmpf": "degF",
    "dwpf": "degF",
    "tmpc": "degC",
    "dwpc": "degC",
    "relh": "%",
    "alti": "inHg",
}
_IMPLIED_NAMES = {"tmpf": "t2m", "dwpf": "d2m", "tmpc": "t2m", "dwpc": "d2m", "relh": "rh2m"}

_AT_SURFACE = {"t": "t2m", "td": "d2m", "r": "rh2m", "q": "q2m", "u": "u10", "v": "v10"}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Column(_Frozen):
    """A column of numbers: quantity = (cell * scale + offset) in ``unit``; ``missing`` lists
    further cells without a value."""

    column: str
    unit: str | None = None
    scale: float = 1.0
    offset: float = 0.0
    missing: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _short(cls, data: Any) -> Any:
        return {"column": data} if isinstance(data, str) else data


class TimeColumn(_Frozen):
    """Time of observation, UTC unless it names its offset; several columns are joined by a blank.

    ``format``: ``unix`` (seconds), or a strptime pattern; without it ISO 8601.
    """

    column: str | tuple[str, ...]
    format: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, data: Any) -> Any:
        return data if isinstance(data, dict) else {"column": data}

    @field_validator("format")
    @classmethod
    def _valid(cls, pattern: str | None) -> str | None:
        if pattern not in (None, "unix"):
            pd.to_datetime(
                ["?"], format=pattern, errors="coerce"
            )  # raises ValueError for a bad directive
        return pattern

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns to join."""
        return (self.column,) if isinstance(self.column, str) else self.column


class ObservationMap(_Frozen):
    """The columns of a text table: either ``variables`` (wide), or ``variable`` and ``value``
    (long: one value a line)."""

    station_id: Column
    time: TimeColumn
    latitude: Column
    longitude: Column
    elevation: Column | None = None
    pressure: Column | None = None
    pressure_top: Column | None = None
    height: Column | None = None
    variables: dict[str, Column] = Field(default_factory=dict)
    variable: Column | None = None
    value: Column | None = None
    error: Column | None = None
    use: Column | None = None
    missing: tuple[str, ...] = ()

    @field_validator("variables")
    @classmethod
    def _known(cls, variables: dict[str, Column]) -> dict[str, Column]:
        canonical = {}
        for name, column in variables.items():
            found = canonical_observable(name)
            if found is None:
                raise ValueError(
                    f"unknown variable {name!r}: expected one of {', '.join(sorted(OBSERVABLES))}"
                )
            conversion(column.unit, OBSERVABLES[found].units)
            canonical[found] = column
        return canonical

    @model_validator(mode="after")
    def _consistent(self) -> ObservationMap:
        for name, units in _METADATA_UNITS.items():
            column: Column | None = getattr(self, name)
            if column is not None:
                conversion(column.unit, units)
        if bool(self.variables) == self.long or (self.variable is None) != (self.value is None):
            raise ValueError("expected either a table [variables], or both variable and value")
        return self

    @property
    def long(self) -> bool:
        """Whether each line holds one value and the name of its variable."""
        return self.variable is not None

    def factors(self, name: str) -> tuple[float, float]:
        """Scale and offset from the cells of ``name`` (a variable or metadata) to canonical
        units."""
        metadata = name in _METADATA_UNITS
        column: Column = getattr(self, name) if metadata else self.variables[name]
        scale, offset = conversion(
            column.unit, _METADATA_UNITS[name] if metadata else OBSERVABLES[name].units
        )
        return column.scale * scale, column.offset * scale + offset

    def columns(self) -> list[str]:
        """Every column the map needs."""
        single = [
            getattr(self, name)
            for name in type(self).model_fields
            if name not in ("time", "variables", "missing")
        ]
        return [
            *self.time.columns,
            *(c.column for c in (*single, *self.variables.values()) if c is not None),
        ]


def load_mapping(path: Path) -> ObservationMap:
    """The map in a TOML file. Raises InputError when it cannot be read, UsageError when its content
    is not a map."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read the observation map {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"the observation map {path} is no TOML: {error}") from error
    try:
        return ObservationMap.model_validate(content)
    except ValidationError as error:
        raise UsageError(
            f"observation map {path}: {_explain(error)}",
            hint="examples/metar.toml shows a working one",
        ) from error


def _explain(error: ValidationError) -> str:
    parts = (
        (".".join(map(str, e["loc"])), e["msg"].removeprefix("Value error, "))
        for e in error.errors()
    )
    return "; ".join(": ".join(filter(None, part)) for part in parts)


def _split(header: str) -> list[tuple[str, str | None]]:
    """Ways to read a column name as a name and a unit: ``wind_speed_kt``, ``Temp [degC]``, ``t2m``;
    the whole name first."""
    text = header.strip().lower()
    if text[-1:] in "])" and ("[" in text or "(" in text):
        name, unit = text[:-1].replace("(", "[").split("[", 1)
        return [(name.strip(" _").replace(" ", "_"), unit.strip() or None)]
    text = text.replace(" ", "_")
    if text in _IMPLIED_UNITS:
        return [(_IMPLIED_NAMES.get(text, text), _IMPLIED_UNITS[text])]
    cuts = [i for i, letter in enumerate(text) if letter == "_"]
    return [(text, None), *((text[:i], text[i + 1 :]) for i in cuts if is_unit(text[i + 1 :]))]


def _metadata(header: list[str]) -> dict[str, Column]:
    """Metadata columns by target; of several candidates the one whose name comes first in the alias
    table."""
    found: dict[str, tuple[int, Column]] = {}
    for column in header:
        for name, unit in _split(column):
            for target, aliases in _METADATA.items():
                rank = aliases.split().index(name) if name in aliases.split() else -1
                if rank >= 0 and (target not in found or rank < found[target][0]):
                    found[target] = rank, Column(column=column, unit=unit)
    return {target: column for target, (_, column) in found.items()}


def recognise(header: list[str], file: str) -> ObservationMap:
    """The map of a table with this header, by names, aliases and unit suffixes.

    In a wide table without a pressure column, upper-air names (``temperature``, ``u``) mean the
    surface. Raises InputError, with the columns found and looked for, when a required column is
    missing or one is ambiguous.
    """
    metadata = _metadata(header)
    required = ("station_id", "time", "latitude", "longitude")
    absent = [name for name in required if name not in metadata]
    if absent:
        raise InputError(
            f"{file}: no column for {', '.join(absent)}; found columns: {', '.join(header)}",
            hint="; ".join(
                f"{name} may be called {', '.join(_METADATA[name].split())}" for name in absent
            )
            + "; or name the columns in a mapping file (--obs-map)",
        )
    long = "variable" in metadata and "value" in metadata
    if (
        not long
    ):  # in a table of stations "height" may as well be the station's: only a mapping file can tell
        metadata = {
            k: c for k, c in metadata.items() if k not in ("height", "variable", "value", "error")
        }
    upper_air = "pressure" in metadata
    used = {c.column for c in metadata.values()}
    variables: dict[str, Column] = {}
    for column in [] if long else [c for c in header if c not in used]:
        for name, unit in _split(column):
            canonical = canonical_observable(name)
            if canonical is not None and not upper_air:
                canonical = (
                    canonical if OBSERVABLES[canonical].surface else _AT_SURFACE.get(canonical)
                )
            if canonical is None:
                continue
            if canonical in variables:
                raise InputError(
                    f"{file}: columns {variables[canonical].column!r} and {column!r} are both "
                    f"{canonical}",
                    hint="say which one to read in a mapping file (--obs-map)",
                )
            variables[canonical] = Column(column=column, unit=unit)
            break
    if not long and not variables:
        raise InputError(
            f"{file}: no column of observed values; found columns: {', '.join(header)}",
            hint=f"expected variable and value, or some of {', '.join(sorted(OBSERVABLES))}, "
            "with units as in t2m_degC; or use --obs-map",
        )
    name = metadata.pop("time").column
    time = TimeColumn(
        column=name, format="unix" if name.strip().lower() in ("unix_time", "epoch") else None
    )
    try:
        return ObservationMap.model_validate({**metadata, "time": time, "variables": variables})
    except ValidationError as error:
        raise InputError(f"{file}: {_explain(error)}") from error
