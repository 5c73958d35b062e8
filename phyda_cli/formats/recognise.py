"""What the variables of a file are, by the evidence in this order: the user's word, GRIB keys,
coordinates, standard_name, the name (families.py), the long name, and the values themselves.

A name never outweighs what the file states: a field called U10 whose long name says wind speed is
not u10.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from phyda_cli.errors import InputError, UsageError
from phyda_cli.formats.axes import Axes, Vertical, find_axes, find_vertical
from phyda_cli.formats.families import (
    FAMILY,
    STANDARD_NAMES,
    Position,
    canonical_at,
    in_words,
    measured,
    quantity_in_text,
    read_name,
    statistic_of,
)
from phyda_cli.formats.judged_units import judged
from phyda_cli.names import COORDINATES, VARIABLES, canonical_coordinate, canonical_variable
from phyda_cli.units import factors_of_variable

__all__ = ["Axes", "Finding", "Source", "find_axes", "find_sources", "inspect_variables"]

IGNORE = "ignore"
_GRIB_TYPES = {"surface": "surface", "meanSea": "sea", "heightAboveGround": "height"}
_ISOBARIC = ("isobaricInhPa", "isobaricInPa")  # not the layers between two pressures
_OURS = ("_increment", "_spread", "_members")
_HEIGHTS = ("z", "gh")
_GROUND = ("surface", "sea", "height")
_BARE_LEAST, _BARE_STEP, _BARE_MOST = 10, 5, 1100  # hPa


@dataclass(frozen=True)
class Source:
    """Where a canonical variable lives in a file: canonical = scale * value + offset.

    ``levels`` (L,) [Pa] are the file's, in its order, along ``level_dim`` (None when the variable
    has a single level and no such dimension); both are None for a surface variable. ``relative``
    marks relative humidity that stands for specific humidity.
    """

    variable: str
    name: str
    scale: float
    offset: float
    levels: np.ndarray | None = None
    level_dim: str | None = None
    relative: bool = False


@dataclass(frozen=True)
class Finding:
    """What one field of a file is used as (``source``), or why it is not: what it ``looks_like``,
    the ``reason``, and a ``hint`` that works. ``certain``: the file itself says so."""

    name: str
    source: Source | None = None
    looks_like: str | None = None
    reason: str = ""
    hint: str = ""
    certain: bool = False
    rank: int = 0  # of the evidence: the lower the better
    note: str = ""
    assumed: bool = False  # without units, and its values fit the canonical ones

    @property
    def line(self) -> str:
        """One line about a field that is not used."""
        looks = f"looks like {self.looks_like}, but " if self.looks_like else ""
        return (
            f"not used: {self.name} ({looks}{self.reason}{f'; {self.hint}' if self.hint else ''})"
        )


def find_sources(
    dataset: xr.Dataset, axes: Axes, path: object, rename: Mapping[str, str]
) -> tuple[list[Source], list[str]]:
    """Every variable the table knows, those found by name before those found by standard_name; and
    notes on what was assumed and on the doubtful ones.

    Raises InputError when none is found (listing both sides) or a unit is unknown, UsageError for a
    ``rename`` that names nothing.
    """
    findings = inspect_variables(dataset, axes, path, rename)
    used = sorted((f for f in findings if f.source is not None), key=lambda f: f.rank)
    sources = [f.source for f in used if f.source is not None]
    found = {s.variable for s in sources}
    lines = [
        f.line
        for f in findings
        if f.source is None
        and f.looks_like is not None
        and not (f.certain and f.looks_like in found)
        and rename.get(f.name) != IGNORE
    ]
    if not sources:
        wanted = ", ".join(v for v in VARIABLES if v not in ("wind_speed", "wind_direction", "qnh"))
        named = ", ".join(map(str, dataset.data_vars)) or "none"
        raise InputError(
            f"{path} has no variable phyda knows: found {named}; looked for {wanted} (and their "
            "usual names)",
            hint="map the names with --rename NAME=t, or add standard_name attributes"
            + (f" ({'; '.join(lines)})" if lines else ""),
        )
    assumed = [f.source for f in used if f.source is not None and f.assumed]
    given = [f"{s.name} in {VARIABLES[s.variable].units}" for s in assumed]
    on_levels = {s.level_dim for s in sources}
    vertical = find_vertical(dataset, axes, rename)
    given += [f"{name} in {unit}" for name, unit in vertical.assumed if name in on_levels]
    notes = [f"without units, taken as their values suggest: {', '.join(given)}"] if given else []
    return sources, [*notes, *(f.note for f in used if f.note), *lines, *_repeated(sources)]


def _repeated(sources: Sequence[Source]) -> list[str]:
    """Lines about the single fields of what one before them is already."""
    first: dict[tuple[str, float], str] = {}
    lines = []
    for s in sources:
        if s.level_dim is not None:
            continue  # it may lack some of its levels, which another one has
        key = s.variable, 0.0 if s.levels is None else float(s.levels[0])
        if first.setdefault(key, s.name) != s.name:
            lines.append(f"not used: {s.name} ({first[key]} is {s.variable} already)")
    return lines


def check_rename(dataset: xr.Dataset, rename: Mapping[str, str], path: object) -> None:
    """UsageError for a ``rename`` of a variable that is not there, or to what is not known."""
    for old, new in rename.items():
        if old not in dataset.variables and old not in dataset.dims:
            raise UsageError(
                f"--rename {old}={new}: {path} has no variable {old}; it has "
                f"{', '.join(map(str, dataset.variables))}"
            )
        if new != IGNORE and canonical_coordinate(new) is None and _told(new) is None:
            raise UsageError(
                f"--rename {old}={new}: {new} is not known; choose among "
                f"{', '.join([*VARIABLES, *COORDINATES, IGNORE])}, or a variable with its level "
                "such as t500hPa"
            )


def _told(new: str) -> tuple[str, float | None] | None:
    """Canonical variable and level [Pa] that the user gives."""
    known = canonical_variable(new)
    if known is not None:
        return known, None
    quantity, position = read_name(new)
    if position is None or quantity is None:
        return None
    if position.kind in ("number", "pressure") and quantity in VARIABLES:
        value = position.value or 0.0
        return quantity, value * 100 if position.kind == "number" else value
    at = canonical_at(quantity, position)
    return None if at is None else (at, None)


def inspect_variables(
    dataset: xr.Dataset,
    axes: Axes,
    path: object,
    rename: Mapping[str, str],
    strict: bool = True,
) -> list[Finding]:
    """A finding for every field on the grid of ``axes``, in the order of the file. Units that
    nobody knows are an InputError where it is ``strict``, else a reason not to use a field."""
    check_rename(dataset, rename, path)
    vertical = find_vertical(dataset, axes, rename)
    reader = _Reader(dataset, axes, vertical, path, rename)
    names = [str(n) for n in dataset.data_vars if _is_field(dataset, str(n), axes)]
    findings = []
    for name in names:
        try:
            findings.append(reader.finding(name, names))
        except InputError as error:
            if strict:
                raise
            findings.append(Finding(name, None, None, error.message, f"--rename {name}=ignore"))
    return _without_copies(findings)


def _is_field(dataset: xr.Dataset, name: str, axes: Axes) -> bool:
    variable = dataset[name]
    stem = next((name[: -len(s)] for s in _OURS if name.endswith(s)), "")
    return (
        stem not in dataset
        and {axes.latitude, axes.longitude} <= set(variable.dims)
        and np.issubdtype(variable.dtype, np.number)
    )


def _without_copies(findings: list[Finding]) -> list[Finding]:
    """Of fields whose names differ in a counter alone and that claim the same, the first of those
    with the best evidence."""
    seen: set[tuple[str, str]] = set()
    kept = list(findings)
    for number, f in sorted(enumerate(findings), key=lambda pair: pair[1].rank):
        if f.source is None:
            continue
        levels = "" if f.source.levels is None else str(f.source.levels.tolist())
        key = (f.source.variable + levels, _stem(f.name))
        if key in seen:
            reason = "another field of that name is used"
            hint = f"--rename {f.name}=ignore"
            kept[number] = Finding(f.name, None, f.source.variable, reason, hint)
        seen.add(key)
    return kept


def _stem(name: str) -> str:
    return name.lower().rstrip("0123456789_")


@dataclass(frozen=True)
class _Reader:
    """Judges the variables of one data set."""

    dataset: xr.Dataset
    axes: Axes
    vertical: Vertical
    path: object
    rename: Mapping[str, str]

    def finding(self, name: str, names: Sequence[str]) -> Finding:
        """What ``name``, one of the fields ``names``, is."""
        variable = self.dataset[name]
        attributes = {str(k): str(v) for k, v in variable.attrs.items()}
        told = self.rename.get(name)
        if told == IGNORE:
            return Finding(name, reason="as --rename says", certain=True)
        position, dim = self._stated(name, attributes)
        if told is not None and (given := _told(told)) is not None:
            return self._as_told(name, given, position, dim, attributes)
        quantity, by, rank = self._quantity(name, attributes)
        if quantity is None:
            return Finding(name, reason="phyda does not know it", certain=True)
        if by is not None and by.kind == "height" and by.value is None:
            by = measured(f"{attributes.get('level', '')} m") or by  # NCL's attribute
        shared = position == Position("height")  # of GRIB, and only a coordinate states the metres
        if shared and by is not None and by.kind in ("height", "number") and by.value is not None:
            position, shared = Position("height", by.value), False
        elif shared:
            position = self._height_of_grib()
        if position is None:
            text = attributes.get("long_name", "")
            position = by
            if position is not None and position.kind == "number":
                position = measured(text) or self._of_number(name, position, names)
            if position is None:
                position = in_words(text)
            if position is None and (quantity in _HEIGHTS or quantity == "lsm") and rank < 2:
                position = self._at_ground(name, quantity)
        elif by is not None and by.kind in ("surface", "sea") and position.kind == "height":
            position = by  # a pressure at sea level has no height, whatever coordinate lies about
        elif by is not None and by.kind in _GROUND and position.kind == "pressure" and dim is None:
            position = by  # a lone level belongs to the fields of levels
        elif by is not None and by.kind in ("sea", "height") and position.kind == "surface":
            position = by  # GRIB 1 of ECMWF says surface of all single levels, also of msl and 2t
        looks = canonical_at(quantity, Position("axis")) if quantity in VARIABLES else quantity
        if (by is not None and by.kind == "height") or (position and "heights" in position.text):
            looks = canonical_at(quantity, Position("height")) or looks
        canonical = canonical_at(quantity, position)
        what = statistic_of(self.dataset, name)
        if what is not None:
            return Finding(name, None, canonical or looks, f"it is a {what}", certain=True)
        text = attributes.get("long_name", "") or attributes.get("description", "")
        said = quantity_in_text(text) if rank > 0 else None
        if said is not None and _family(said) != _family(quantity):
            return Finding(
                name, None, canonical or looks, f"its long name says {text!r}", certain=True
            )
        if canonical is None:
            return self._misplaced(name, quantity, looks, position)
        return self._source(name, canonical, position, dim, attributes, rank + int(shared))

    def _height_of_grib(self) -> Position:
        """What cfgrib's coordinate says. Fields of several heights share it once they are merged,
        so that a name that states the height counts more."""
        height = self.dataset.variables.get("heightAboveGround")
        if height is None or height.size != 1:
            return Position("height")
        return Position("height", float(height.values.item()))

    def _quantity(
        self, name: str, attributes: Mapping[str, str]
    ) -> tuple[str | None, Position | None, int]:
        """Quantity, the position its name implies, and the rank of the evidence."""
        grib = attributes.get("GRIB_cfVarName") or attributes.get("GRIB_shortName")
        if grib and grib != "unknown":
            quantity, position = read_name(grib)
            if quantity is not None:
                return quantity, position, 0
        by_name, position = read_name(name)
        standard = attributes.get("standard_name", "").strip().lower().replace(" ", "_")
        if standard in STANDARD_NAMES:
            quantity, own = STANDARD_NAMES[standard]
            return quantity, own or position, 1 if by_name is not None else 2
        if standard not in ("", "unknown") and by_name is not None:
            said = quantity_in_text(standard)
            if said is not None and _family(said) != _family(by_name):
                return None, None, 1
        return by_name, position, 1

    def _stated(
        self, name: str, attributes: Mapping[str, str]
    ) -> tuple[Position | None, str | None]:
        """The position that GRIB keys and coordinates state, and the dimension of the levels."""
        variable = self.dataset[name]
        others = [
            str(d) for d in variable.dims if d not in (self.axes.latitude, self.axes.longitude)
        ]
        long = [d for d in others if variable.sizes[d] > 1 and d not in self.vertical.pressure]
        levels = [d for d in others if d in self.vertical.pressure]
        if long or len(levels) > 1:
            dims = ", ".join([*long, *(levels if len(levels) > 1 else [])])
            why = next((self.vertical.other[d] for d in long if d in self.vertical.other), "")
            text = f"it lies on {dims}, not on pressure levels{f' ({why})' if why else ''}"
            return Position("other", text=text), None
        if levels:
            return Position("axis"), levels[0]
        kind = attributes.get("GRIB_typeOfLevel")
        if kind and kind not in _ISOBARIC:
            level = attributes.get("GRIB_level")
            height = None if level is None else float(level)
            if kind in _GRIB_TYPES:
                return Position(_GRIB_TYPES[kind], height), None
            return Position("other", text=f"it is at {kind}"), None
        listed = str(variable.encoding.get("coordinates") or attributes.get("coordinates", ""))
        for coordinate, position in self.vertical.single.items():
            if coordinate in others or coordinate in listed.split():
                return position, None
        if kind and "GRIB_level" in attributes:
            return Position("pressure", float(attributes["GRIB_level"]) * 100), None
        return None, None

    def _of_number(self, name: str, position: Position, names: Sequence[str]) -> Position | None:
        """A bare number in a name as hPa, where nothing contradicts it."""
        number = position.value or 0.0
        stem = _stem(name)
        quantity = read_name(name)[0]
        siblings = {
            p.value
            for n in names
            if _stem(n) == stem and (p := read_name(n)[1]) is not None and p.kind == "number"
        }
        on_axis = [
            n
            for n in names
            if n != name and self._stated(n, {})[1] is not None and read_name(n)[0] == quantity
        ]
        if on_axis:
            return Position("number", text=f"{on_axis[0]} has the levels, its number may count")
        if number < _BARE_LEAST or number > _BARE_MOST or number % _BARE_STEP:
            return Position("number", text="it has no pressure level: its number is not one in hPa")
        if {number - 1, number + 1} & siblings:
            return Position("number", text="it has no pressure level: the numbers count layers")
        near = f"{stem}10" in {n.lower() for n in names}
        if quantity in ("u", "v") and near and siblings <= {100.0, 200.0}:
            return Position("number", text=f"{number:g} may be metres or hPa")
        return Position("pressure", number * 100)

    def _at_ground(self, name: str, quantity: str) -> Position | None:
        """A field of one level that a name alone describes: z is the orography, also of ERA5."""
        if read_name(name)[0] is None:
            return None
        sized = [d for d in self.dataset[name].dims if d in self.vertical.other]
        pressures = [p for p in self.vertical.single.values() if p.kind == "pressure"]
        if pressures and not sized and quantity in _HEIGHTS:
            return pressures[0]
        return Position("surface")

    def _as_told(
        self,
        name: str,
        given: tuple[str, float | None],
        position: Position | None,
        dim: str | None,
        attributes: Mapping[str, str],
    ) -> Finding:
        canonical, pressure = given
        if pressure is not None:
            position, dim = Position("pressure", pressure), None
        on_levels = position is not None and position.kind in ("axis", "pressure")
        if VARIABLES[canonical].surface:
            if dim is not None:
                return Finding(name, None, canonical, "it has levels")
            position = Position("surface")
        elif not on_levels:
            by = read_name(name)[1]
            if by is not None and by.kind in ("pressure", "number") and by.value:
                position = Position("pressure", by.value * (100 if by.kind == "number" else 1))
            else:
                singles = [p for p in self.vertical.single.values() if p.kind == "pressure"]
                position = singles[0] if singles and position is None else position
        if not VARIABLES[canonical].surface and (
            position is None or position.kind not in ("axis", "pressure")
        ):
            reason = (
                position.text
                if position is not None and position.text
                else ("it has no pressure level")
            )
            return Finding(name, None, canonical, reason, f"--rename {name}={canonical}500hPa")
        return self._source(name, canonical, position, dim, attributes, 0)

    def _misplaced(
        self, name: str, quantity: str, looks: str | None, position: Position | None
    ) -> Finding:
        """A known quantity that is nowhere the model has it."""
        if position is None:
            singles = [p for p in self.vertical.single.values() if p.kind == "pressure"]
            if singles and quantity in VARIABLES:
                dim = None
                attributes = {str(k): str(v) for k, v in self.dataset[name].attrs.items()}
                return self._source(name, quantity, singles[0], dim, attributes, 2)
            reason = "it has no pressure level and no height"
        else:
            at = {
                "height": f"{position.value or 0:g} m",
                "surface": "the surface",
                "sea": "sea level",
            }
            reason = position.text or f"it is at {at.get(position.kind, position.kind)}"
        if quantity not in VARIABLES:
            looks = {"td": "d2m", "pressure": "sp"}.get(quantity)
        certain = position is not None and position.kind != "number"
        hint = f"--rename {name}=ignore"
        if not certain and looks is not None and not VARIABLES[looks].surface:
            hint = f"--rename {name}={looks}500hPa if it is at 500 hPa, {name}=ignore if not"
        return Finding(name, None, looks, reason, "" if certain else hint, certain)

    def _source(
        self,
        name: str,
        canonical: str,
        position: Position | None,
        dim: str | None,
        attributes: Mapping[str, str],
        rank: int,
    ) -> Finding:
        levels: np.ndarray | None = None
        if dim is not None:
            levels = self.vertical.pressure[dim]
        elif position is not None and position.kind == "pressure" and position.value is not None:
            levels = np.array([position.value])
        units = attributes.get("units", "").strip()
        note, assumed = "", False
        if units:
            factors = factors_of_variable(canonical, units)
        else:
            factors, note = judged(canonical, name, *self._sample(name, dim, levels))
            assumed = not note
        if factors is None and canonical == "w":
            reason = f"its units {units!r} are not those of a pressure tendency"
            return Finding(name, None, canonical, reason, certain=True)
        if factors is None:
            known = VARIABLES[canonical]
            raise InputError(
                f"{self.path}: {name} has units {units!r}, expected those of {known.long_name} "
                f"such as {known.units!r}",
                hint="correct the units attribute, or leave the variable out with --rename "
                f"{name}=ignore",
            )
        if "time: mean" in attributes.get("cell_methods", ""):
            note = "; ".join(filter(None, [note, f"{name} is a mean over time (cell_methods)"]))
        variable = "z" if canonical == "gh" else canonical
        source = Source(variable, name, *factors, levels, dim)
        return Finding(name, source, rank=rank, note=note, assumed=assumed)

    def _sample(
        self, name: str, dim: str | None, levels: np.ndarray | None
    ) -> tuple[np.ndarray, float | None]:
        """One slice of a variable, that of the highest level, and its pressure."""
        variable = self.dataset[name]
        level = 0 if levels is None else int(np.argmin(levels))
        horizontal = (self.axes.latitude, self.axes.longitude)
        at = {d: level if d == dim else 0 for d in variable.dims if d not in horizontal}
        values = np.asarray(variable.isel(at).values, np.float64)
        return values[np.isfinite(values)], None if levels is None else float(levels[level])


def _family(quantity: str) -> str:
    return FAMILY.get(quantity, quantity)


def as_relative(source: Source) -> Source:
    """``source`` of relative humidity as one that stands for specific humidity."""
    return replace(source, variable="q", relative=True)
