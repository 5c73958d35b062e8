"""Whether fields can be what they claim to be: finite, and within what the variable can take."""

from __future__ import annotations

import numpy as np

from phyda_cli.constants import GRAVITY, STANDARD_PRESSURE
from phyda_cli.errors import InputError
from phyda_cli.fields.grid import Fields
from phyda_cli.names import VARIABLES
from phyda_cli.units import looks_like

__all__ = ["check_fields", "check_range"]

_TOLERATED = 0.01  # fraction of points outside the valid range
_SLACK = 1e-3  # of the range: spectral models have slightly negative humidity


def check_fields(fields: Fields, path: object, names: dict[str, str]) -> None:
    """InputError when a field has missing values or more than 1 % of its points outside the valid
    range of its variable.

    ``names`` maps a canonical variable to its name in the file ``path``. A level that is missing as
    a whole is absent, not an error, as long as the variable has others.
    """
    for variable, field in fields.surface.items():
        _check(variable, field, "", path, names[variable])
    for variable, field in fields.upper.items():
        whole = np.isnan(field).all(axis=(1, 2))
        if whole.all():
            raise InputError(
                f"{path}: {names[variable]} is missing everywhere (all {field.size} values are NaN)"
            )
        for k in np.flatnonzero(~whole):
            _check(
                variable,
                field[k],
                f" at {fields.levels[k] / 100:g} hPa",
                path,
                names[variable],
                float(fields.levels[k]),
            )


def _check(
    variable: str,
    field: np.ndarray,
    where: str,
    path: object,
    name: str,
    pressure: float | None = None,
) -> None:
    bad = int(field.size - np.isfinite(field).sum())
    if bad:
        raise InputError(
            f"{path}: {name}{where} has {bad} of {field.size} values missing (NaN)",
            hint="fill them before the analysis; phyda does not guess missing values",
        )
    check_range(variable, field, where, path, name, pressure)


def check_range(
    variable: str, field: np.ndarray, where: str, path: object, name: str, pressure: float | None
) -> None:
    """InputError when more than 1 % of ``field`` [canonical units, finite] is outside the valid
    range of ``variable``, or, for a geopotential at ``pressure`` [Pa], is a height. ``where`` and
    ``name`` say in the message which field of ``path`` it is."""
    low, high = VARIABLES[variable].valid_range
    slack = _SLACK * (high - low)
    outside = float(np.mean((field < low - slack) | (field > high + slack)))
    if outside > _TOLERATED:
        units = VARIABLES[variable].units
        other = looks_like(variable, field)
        raise InputError(
            f"{path}: {name}{where} ranges from {field.min():.6g} to {field.max():.6g} {units}, "
            f"expected {low:g} to {high:g} "
            f"({outside:.0%} of the points are outside)"
            + (f"; it looks like {other}" if other else ""),
            hint=f"correct the units attribute of {name}"
            if other
            else "is it another variable, or damaged?",
        )
    if variable == "z" and pressure is not None:
        _check_height(field, pressure, path, name)


def _check_height(field: np.ndarray, pressure: float, path: object, name: str) -> None:
    # Geopotential in m2 s-2 is ten times the height, which the range of the variable cannot tell
    # for low heights.
    standard = GRAVITY * 7000.0 * np.log(STANDARD_PRESSURE / pressure)
    if pressure < 7.5e4 and float(np.median(field)) < 0.4 * standard:
        raise InputError(
            f"{path}: {name} at {pressure / 100:g} hPa has a median of {np.median(field):.6g} m2 "
            f"s-2, expected about {standard:.6g}; "
            f"it looks like m (geopotential height)",
            hint=f"correct the units attribute of {name}",
        )
