"""Which column of a text table is what, in which unit: the content of a mapping file
(``--obs-map``), and of the layouts that are known by their header."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from phyda_cli.errors import InputError, UsageError
from phyda_cli.files.readable import check_input
from phyda_cli.names import OBSERVABLES, canonical_observable
from phyda_cli.units import conversion

__all__ = [
    "METADATA_UNITS",
    "Column",
    "ObservationMap",
    "TimeColumn",
    "explain",
    "keys_text",
    "load_mapping",
]

METADATA_UNITS = {
    "latitude": "degree",
    "longitude": "degree",
    "elevation": "m",
    "pressure": "Pa",
    "pressure_top": "Pa",
    "height": "m",
}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Column(_Frozen):
    """Cells of a column, or one ``value`` for every row: quantity = (cell * scale + offset) in
    ``unit``; ``missing`` lists further cells without a value.

    Of cells that join several things (``+0117,5``), ``part`` counts from 0 which is the value,
    ``flag_part`` which is its quality flag; a value with one of the flags ``bad`` is rejected.
    """

    column: str | None = Field(None, description="Name of the column.")
    value: float | str | None = Field(
        None, description="One value for every row, in place of a column."
    )
    unit: str | None = Field(
        None, description="Unit of the cells; without one, that of the header or SI."
    )
    scale: float = Field(1.0, description="Multiply the cells by this number first.")
    offset: float = Field(0.0, description="Add this number after that.")
    missing: tuple[str, ...] = Field((), description="Cells of this column that hold no value.")
    part: int | None = Field(None, description="Which part of a joined cell is the value, from 0.")
    joined_by: str = Field(",", description="What separates the parts of a joined cell.")
    flag_part: int | None = Field(
        None, description="Which part of a joined cell is its quality flag, from 0."
    )
    bad: tuple[str, ...] = Field((), description="Reject a value with one of these flags.")

    @model_validator(mode="before")
    @classmethod
    def _short(cls, data: Any) -> Any:
        if isinstance(data, str):
            return {"column": data}
        return {"value": data} if isinstance(data, (int, float)) else data

    @model_validator(mode="after")
    def _either(self) -> Column:
        if (self.column is None) == (self.value is None):
            raise ValueError("expected a column, or a value for every row")
        return self


class TimeColumn(_Frozen):
    """Time of observation, UTC unless it names its offset or ``timezone`` says another; several
    columns are joined by a blank.

    ``format``: ``unix`` or ``unix_ms`` (seconds or milliseconds since 1970), ``date+hour`` or
    ``date+hhmm`` of two columns, or a strptime pattern; without it ISO 8601.
    """

    column: str | Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        description="Name of the column, or of several that are joined by a blank."
    )
    format: str | None = Field(
        None,
        description="unix, unix_ms, date+hour, date+hhmm, or a strptime pattern; ISO 8601 without "
        "one.",
    )
    timezone: str | None = Field(
        None, description="Time zone such as Europe/Rome; UTC without one."
    )

    @model_validator(mode="before")
    @classmethod
    def _short(cls, data: Any) -> Any:
        return data if isinstance(data, dict) else {"column": data}

    @field_validator("format")
    @classmethod
    def _valid(cls, pattern: str | None) -> str | None:
        if pattern is not None and pattern not in ("unix", "unix_ms", "date+hour", "date+hhmm"):
            try:  # ValueError for a bad directive
                pd.to_datetime(["?"], format=pattern, errors="coerce")
            except re.error as error:
                raise ValueError(f"a directive stands twice in {pattern[:80]!r}") from error
        return pattern

    @field_validator("timezone")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        if name is not None:
            try:
                ZoneInfo(name)
            except (KeyError, OSError, ValueError) as error:
                raise ValueError(
                    f"unknown time zone {name!r}: expected a name such as Europe/Rome or Etc/GMT+6"
                ) from error
        return name

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns to join."""
        return (self.column,) if isinstance(self.column, str) else self.column


class ObservationMap(_Frozen):
    """The columns of a text table: either ``variables`` (wide), or ``variable`` and ``value``
    (long: one value a line). What a mapping file leaves out is recognised from the header.

    Columns in ``ignore`` are not looked at. ``stations`` is a table of positions by identifier,
    beside the mapping file.
    """

    station_id: Column | None = Field(None, description="Identifier of the station.")
    time: TimeColumn | None = Field(None, description="Time of the observation.")
    latitude: Column | None = Field(None, description="Latitude in degrees north.")
    longitude: Column | None = Field(None, description="Longitude in degrees east.")
    elevation: Column | None = Field(None, description="Height of the station above the sea.")
    pressure: Column | None = Field(None, description="Pressure of the level.")
    pressure_top: Column | None = Field(None, description="Pressure at the top of a layer.")
    height: Column | None = Field(None, description="Height of the level above the sea.")
    variables: dict[str, Column] = Field(
        default_factory=dict, description="Column of each variable, in a wide table."
    )
    variable: Column | None = Field(None, description="Name of the variable, in a long table.")
    value: Column | None = Field(None, description="The value, in a long table.")
    unit: Column | None = Field(None, description="Unit of the value, in a long table.")
    error: Column | None = Field(
        None, description="Error standard deviation of the value, in its unit."
    )
    use: Column | None = Field(
        None, description="1 uses the value, 0 only compares it, in a long table."
    )
    missing: tuple[str, ...] = Field((), description="Cells of any column that hold no value.")
    ignore: tuple[str, ...] = Field((), description="Columns that are not read.")
    stations: Path | None = Field(
        None, description="Table of positions by identifier, beside this file."
    )
    decimal: Literal["point", "comma"] | None = Field(None, description="How decimals are written.")

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
        for name, units in METADATA_UNITS.items():
            column: Column | None = getattr(self, name)
            if column is not None:
                conversion(column.unit, units)
        both = bool(self.variables) and self.long
        if both or (self.variable is None) != (self.value is None):
            raise ValueError("expected either a table [variables], or both variable and value")
        return self

    @property
    def long(self) -> bool:
        """Whether each line holds one value and the name of its variable."""
        return self.variable is not None

    def factors(self, name: str) -> tuple[float, float]:
        """Scale and offset from the cells of ``name`` (a variable or metadata) to canonical
        units."""
        metadata = name in METADATA_UNITS
        column: Column = getattr(self, name) if metadata else self.variables[name]
        scale, offset = conversion(
            column.unit, METADATA_UNITS[name] if metadata else OBSERVABLES[name].units
        )
        return column.scale * scale, column.offset * scale + offset

    def cells(self) -> dict[str, Column]:
        """Everything but the time by what it is, the metadata first."""
        single = {
            name: column
            for name in type(self).model_fields
            if isinstance(column := getattr(self, name), Column)
        }
        return single | self.variables

    def columns(self) -> list[str]:
        """Every column the map needs."""
        return [
            *(() if self.time is None else self.time.columns),
            *(c.column for c in self.cells().values() if c.column is not None),
        ]


def load_mapping(path: Path) -> ObservationMap:
    """The map in a TOML file. Raises InputError when it cannot be read, UsageError when its content
    is not a map."""
    check_input(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read the observation map {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"the observation map {path} is no TOML: {error}") from error
    try:
        mapping = ObservationMap.model_validate(content)
    except ValidationError as error:
        raise UsageError(
            f"observation map {path}: {explain(error)}",
            hint="`phyda obs maps` prints examples; docs/reference/observations.md lists the rest",
        ) from error
    if mapping.stations is not None:
        return mapping.model_copy(update={"stations": path.parent / mapping.stations})
    return mapping


def explain(error: ValidationError) -> str:
    """What is wrong with a map, in one line."""
    parts = (
        (".".join(map(str, e["loc"])), e["msg"].removeprefix("Value error, "))
        for e in error.errors()
    )
    return "; ".join(": ".join(filter(None, part)) for part in parts)


def keys_text() -> str:
    """What a mapping file may say, a line a key."""
    kinds = (("of the file", ObservationMap), ("of a column", Column), ("of the time", TimeColumn))
    lines: list[str] = []
    for title, model in kinds:
        lines += ["", f"# Keys {title}"] if lines else [f"# Keys {title}"]
        lines += [f"{name:13} {field.description}" for name, field in model.model_fields.items()]
    return "\n".join(lines) + "\n"
