"""Whether fields can be what they claim to be. Single points that are missing or impossible are
left out, and said; a field that is impossible as a whole is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from phyda_cli.constants import STANDARD_PRESSURE
from phyda_cli.errors import InputError
from phyda_cli.fields.grid import Fields, Grid
from phyda_cli.formats.judged_units import fitting_units, height_units
from phyda_cli.formats.recognise import Source
from phyda_cli.names import VARIABLES
from phyda_cli.units import looks_like

__all__ = ["check_fields", "check_range"]

_TOLERATED = 0.01  # fraction of points outside the valid range
_WHOLE = 0.5  # beyond this fraction no terrain explains it
_UNKNOWN_TERRAIN = 0.15  # more of the Earth than lies above 3000 m, on any grid of it
_SLACK = 1e-3  # of the range: spectral models have slightly negative humidity
_HIGH_GROUND = 3000.0  # m: above it a reduced pressure is a guess
_LOW_PRESSURE = 7e4  # Pa, about that of 3000 m
_ICE_SHEET, _ICE_LATITUDE = 1500.0, 60.0  # m and degrees: Greenland and Antarctica
_DRIEST = 2.5e-5  # kg kg-1: no field below 850 hPa is drier everywhere
_FRACTION = 1.6  # %: no field of relative humidity stays below


@dataclass
class _Account:
    """Points of one variable that are left out, by level; and where the impossible ones are."""

    name: str
    missing: dict[str, int] = field(default_factory=dict)
    odd: dict[str, int] = field(default_factory=dict)
    places: list[str] = field(default_factory=list)
    fills: set[float] = field(default_factory=set)

    def notes(self, size: int, variable: str) -> list[str]:
        low, high = VARIABLES[variable].valid_range
        notes = []
        if self.missing:
            fills = ", ".join(f"{v:.6g}" for v in sorted(self.fills))
            notes.append(
                f"{self.name} is missing at {_counts(self.missing, size)}"
                + (f" (the value {fills} there is taken as missing)" if fills else "")
                + ": these points are left out and stay as they are"
            )
        if self.odd:
            notes.append(
                f"{self.name} is outside {low:g} to {high:g} {VARIABLES[variable].units} at "
                f"{_counts(self.odd, size)}, {self.places[0]}: these points are left out"
            )
        return notes


def _counts(counts: Mapping[str, int], size: int) -> str:
    shown = [f"{n} of {size} points{where}" for where, n in counts.items()]
    return ", ".join(shown[:3]) + (
        f" and on {len(shown) - 3} more levels" if len(shown) > 3 else ""
    )


def check_fields(
    fields: Fields, path: object, stated: Mapping[str, tuple[Source, str]]
) -> tuple[Fields, list[str]]:
    """``fields`` with NaN at every point that is missing or outside the valid range of its
    variable, without the variables that are missing everywhere, and notes that say so.

    InputError when more than 1 % of a field is outside, but for points where a field on that level
    is extrapolated: below ground, over ice sheets, sea-level pressure above 3000 m. ``stated`` maps
    a canonical variable to its source and to the units the file states.
    """
    upper, surface = dict(fields.upper), dict(fields.surface)
    notes: list[str] = []
    for group in (surface, upper):
        for variable, values in list(group.items()):
            source, units = stated[variable]
            account = _Account(source.name)
            stack = values if group is upper else values[None]
            if np.isnan(stack).all():
                notes.append(f"{source.name} is missing everywhere: it is not used")
                del group[variable]
                continue
            known = _known(fields, variable, stack, path, source, units, account)
            group[variable] = known if group is upper else known[0]
            notes += account.notes(fields.grid.size, variable)
    return replace(fields, upper=upper, surface=surface), notes


def _known(
    fields: Fields,
    variable: str,
    stack: np.ndarray,
    path: object,
    source: Source,
    units: str,
    account: _Account,
) -> np.ndarray:
    """``stack`` (L, H, W) with NaN where it is not usable."""
    known = stack
    for k in np.flatnonzero(~np.isnan(stack).all(axis=(1, 2))):
        pressure = None if VARIABLES[variable].surface else float(fields.levels[k])
        where = "" if pressure is None else f" at {pressure / 100:g} hPa"
        values = stack[k]
        lacking = ~np.isfinite(values)
        fill, value = _fill_value(variable, values, lacking)
        outside = _outside(variable, values) & ~lacking & ~fill
        excused = _extrapolated(fields, variable, pressure, outside)
        used = values[~lacking & ~fill] if (lacking | fill).any() else values
        if (outside & ~excused).mean() > _TOLERATED or outside.mean() > _WHOLE:
            area = f"{outside.sum()} of {outside.size} points, {outside.mean():.0%}, are outside: "
            area += _area(fields.grid, outside)
            raise _refused(variable, used, stack, where, path, source, units, area)
        _check_magnitude(variable, used, stack, pressure, path, source, units)
        if (lacking | fill).any():
            under = _extrapolated(fields, variable, pressure, lacking | fill)
            ground = " (below the surface)" if (under & (lacking | fill)).any() else ""
            account.missing[where + ground] = int((lacking | fill).sum())
            account.fills |= {value} if fill.any() else set()
        if outside.any():
            account.odd[where] = int(outside.sum())
            account.places.append(_area(fields.grid, outside))
        if (fill | outside | np.isinf(values)).any():
            known = known.copy() if known is stack else known
            known[k][lacking | fill | outside] = np.nan
    return known


def _outside(variable: str, values: np.ndarray) -> np.ndarray:
    low, high = VARIABLES[variable].valid_range
    slack = _SLACK * (high - low)
    return (values < low - slack) | (values > high + slack)


def _fill_value(variable: str, values: np.ndarray, lacking: np.ndarray) -> tuple[np.ndarray, float]:
    """Where one and the same impossible value stands, which the file does not say means missing."""
    outside = _outside(variable, values) & ~lacking
    nothing = np.zeros(values.shape, bool)
    if outside.sum() < 2:
        return nothing, np.nan
    found = np.unique(values[outside])
    return (outside, float(found[0])) if found.size == 1 else (nothing, np.nan)


def _extrapolated(
    fields: Fields, variable: str, pressure: float | None, outside: np.ndarray
) -> np.ndarray:
    """Which points hold a value that nothing real stands behind (H, W)."""
    nothing = np.zeros(fields.grid.shape, bool)
    if not outside.any() or (pressure is None and variable != "msl"):
        return nothing
    height, sp = fields.surface.get("orography"), fields.surface.get("sp")
    high = nothing.copy()
    if height is not None:
        ice = (height > _ICE_SHEET) & (np.abs(fields.grid.mesh[0]) > _ICE_LATITUDE)
        high |= (height > _HIGH_GROUND) | ice
        if pressure is not None:
            high |= STANDARD_PRESSURE * np.exp(-np.asarray(height, float) / 7500.0) < pressure
    if sp is not None:
        high |= (sp < _LOW_PRESSURE) if pressure is None else (sp < pressure)
    if height is None and sp is None and variable == "msl":
        high[:] = outside.mean() < _UNKNOWN_TERRAIN
    return high


def _area(grid: Grid, points: np.ndarray) -> str:
    lat, lon = (x[points] for x in grid.mesh)
    return f"latitudes {lat.min():g} to {lat.max():g}, longitudes {lon.min():g} to {lon.max():g}"


def _refused(
    variable: str,
    values: np.ndarray,
    stack: np.ndarray,
    where: str,
    path: object,
    source: Source,
    units: str,
    area: str,
) -> InputError:
    """Says what the file says, and what it holds on a level and on all, in its own units."""
    raw = _raw(stack, source)
    other = None if source.relative else fitting_units(variable, raw, (source.scale, source.offset))
    if other is not None:
        return _other_units(path, source.name, units, raw, other)
    low, high = VARIABLES[variable].valid_range
    return InputError(
        f"{path}: {source.name}{where} ranges from {values.min():.6g} to {values.max():.6g} "
        f"{VARIABLES[variable].units}, expected {low:g} to {high:g} ({area})",
        hint=f"is it another variable, or damaged? --rename {source.name}=ignore leaves it out",
    )


def _raw(stack: np.ndarray, source: Source) -> np.ndarray:
    """All values that a variable has, in its own units (n,)."""
    return np.asarray((stack[np.isfinite(stack)] - source.offset) / source.scale)


def _other_units(path: object, name: str, units: str, raw: np.ndarray, other: str) -> InputError:
    says = f"says its units are {units!r}" if units else "has no units"
    return InputError(
        f"{path}: {name} {says}, but its values ({raw.min():.4g} to {raw.max():.4g}) look "
        f"like {other}",
        hint=f"correct the units attribute of {name}",
    )


def _check_magnitude(
    variable: str,
    values: np.ndarray,
    stack: np.ndarray,
    pressure: float | None,
    path: object,
    source: Source,
    units: str,
) -> None:
    """InputError for ``values`` of a level that another unit would explain and the range does not
    tell apart; it says what the variable has on all levels."""
    if not values.size or pressure is None or source.relative:
        return
    if variable == "z":
        found = height_units(float(np.median(values)), pressure)
        if found not in (None, "m2 s-2"):
            other = height_units(float(np.median(values)) / source.scale, pressure)
            raise _other_units(path, source.name, units, _raw(stack, source), str(other))
    if variable == "q" and pressure >= 85000 and values.max() < _DRIEST and source.scale < 1:
        raise _other_units(path, source.name, units, _raw(stack, source), "kg kg-1")
    if variable == "r" and 0 < values.max() <= _FRACTION and source.scale == 1:
        raise _other_units(path, source.name, units, _raw(stack, source), "a fraction (units 1)")


def check_range(
    variable: str, values: np.ndarray, where: str, path: object, name: str, pressure: float | None
) -> None:
    """InputError when more than 1 % of ``values`` [canonical units, finite] is outside the valid
    range of ``variable``, or, for a geopotential at ``pressure`` [Pa], is a height. ``where`` and
    ``name`` say in the message which field of ``path`` it is."""
    low, high = VARIABLES[variable].valid_range
    outside = _outside(variable, values)
    if outside.mean() > _TOLERATED:
        units = VARIABLES[variable].units
        other = looks_like(variable, values)
        raise InputError(
            f"{path}: {name}{where} ranges from {values.min():.6g} to {values.max():.6g} {units}, "
            f"expected {low:g} to {high:g} ({outside.sum()} of {outside.size} points, "
            f"{outside.mean():.0%}, are outside)" + (f"; it looks like {other}" if other else ""),
            hint=f"correct the units attribute of {name}"
            if other
            else "is it another variable, or damaged?",
        )
    if variable == "z" and pressure is not None:
        found = height_units(float(np.median(values)), pressure)
        if found not in (None, "m2 s-2"):
            raise InputError(
                f"{path}: {name}{where} has a median of {np.median(values):.6g} m2 s-2; it looks "
                f"like {found} (geopotential height)",
                hint=f"correct the units attribute of {name}",
            )
