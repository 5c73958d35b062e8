"""Whether the columns of a forecast can be an atmosphere. The limits are far from any weather: what
lies beyond is a level in the wrong place, or another variable."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from phyda_cli.constants import GRAVITY, R_D
from phyda_cli.errors import InputError
from phyda_cli.fields.grid import Fields

__all__ = ["check_columns"]

_MOST = 0.5  # of the points: terrain and missing values explain less
_THICKEST = 1.2  # ln of the pressures: across more, two temperatures say little of what is between
_WARMER = 70.0  # K between the temperature and the one that the thickness means
_STEEPEST = 25e-3  # K m-1; the dry adiabat has 9.8e-3
_LOW, _HIGH = (70000.0, 100000.0), (20000.0, 40000.0)  # Pa: below and in the upper troposphere
_STRATOSPHERE = (100.0, 2000.0)  # Pa: it warms upwards
_WARMEST, _ALOFT = 275.0, (1000.0, 30000.0)  # K that no air has between these pressures [Pa]
_COLDER = 15.0  # K by which its top may be colder than its bottom

Layer = tuple[int, int]


def check_columns(fields: Fields, path: object) -> None:
    """Raise InputError where most columns are upside down, unstable beyond anything in weather, or
    have a geopotential that their temperature cannot have (hydrostatic balance)."""
    t, z = fields.upper.get("t"), fields.upper.get("z")
    if t is not None:
        _check_order(fields.levels, t, path)
        for low, high in _layers(fields.levels, t):
            _check_lapse(fields.levels, t, low, high, path)
    if z is not None:
        for low, high in _layers(fields.levels, z):
            _check_thickness(fields.levels, z, t, low, high, path)
    if t is not None:
        _check_aloft(fields.levels, t, path)


def _layers(levels: np.ndarray, values: np.ndarray) -> Iterator[Layer]:
    """Indices of the lower and the upper level of every layer that ``values`` (L, H, W) has."""
    there = [k for k in np.argsort(-levels) if not np.isnan(values[k]).all()]
    for low, high in pairwise(there):
        if np.log(levels[low] / levels[high]) < _THICKEST:
            yield int(low), int(high)


def _mostly(wrong: np.ndarray, known: np.ndarray) -> bool:
    """Whether most of the points that are ``known`` are ``wrong``."""
    return bool(known.any() and wrong[known].mean() > _MOST)


def _refused(path: object, what: str) -> InputError:
    return InputError(
        f"{path} cannot be an atmosphere: {what}",
        hint="are the levels in the order and in the units that their coordinate says, and is it "
        "the variable that its name says? phyda inspect shows both",
    )


def _check_order(levels: np.ndarray, t: np.ndarray, path: object) -> None:
    known = [k for k in range(levels.size) if not np.isnan(t[k]).all()]
    low = [k for k in known if _LOW[0] <= levels[k] <= _LOW[1]]
    high = [k for k in known if _HIGH[0] <= levels[k] <= _HIGH[1]]
    if not low or not high:
        return
    below, above = min(low, key=lambda k: levels[k]), max(high, key=lambda k: levels[k])
    both = np.isfinite(t[below]) & np.isfinite(t[above])
    if _mostly(t[below] < t[above], both):
        raise _refused(
            path,
            f"most of it is colder at {levels[below] / 100:g} hPa "
            f"(median {np.median(t[below][both]):.0f} K) than at {levels[above] / 100:g} hPa "
            f"({np.median(t[above][both]):.0f} K), so the temperature is upside down",
        )


def _check_lapse(levels: np.ndarray, t: np.ndarray, low: int, high: int, path: object) -> None:
    mean = (t[low] + t[high]) / 2
    depth = R_D * mean * np.log(levels[low] / levels[high]) / GRAVITY  # m
    lapse = (t[low] - t[high]) / depth
    known = np.isfinite(lapse)
    if _mostly(lapse > _STEEPEST, known):
        raise _refused(
            path,
            f"between {levels[low] / 100:g} and {levels[high] / 100:g} hPa the temperature falls "
            f"by {1e3 * np.median(lapse[known]):.0f} K per km, which no layer can",
        )


def _check_thickness(
    levels: np.ndarray, z: np.ndarray, t: np.ndarray | None, low: int, high: int, path: object
) -> None:
    implied = (z[high] - z[low]) / (R_D * np.log(levels[low] / levels[high]))  # K
    where = f"between {levels[low] / 100:g} and {levels[high] / 100:g} hPa"
    if _mostly(implied <= 0, np.isfinite(implied)):
        raise _refused(path, f"the geopotential falls with height {where}")
    if t is None:
        return
    mean = (t[low] + t[high]) / 2
    known = np.isfinite(implied) & np.isfinite(mean)
    if _mostly(abs(implied - mean) > _WARMER, known):
        raise _refused(
            path,
            f"{where} the geopotential means {np.median(implied[known]):.0f} K and the "
            f"temperature is {np.median(mean[known]):.0f} K (medians)",
        )


def _check_aloft(levels: np.ndarray, t: np.ndarray, path: object) -> None:
    """Levels far up have temperatures of their own: an axis in other units than it says has not."""
    known = [k for k in range(levels.size) if not np.isnan(t[k]).all()]
    for k in (k for k in known if _ALOFT[0] <= levels[k] <= _ALOFT[1]):
        if _mostly(t[k] > _WARMEST, np.isfinite(t[k])):
            median = np.nanmedian(t[k])
            raise _refused(path, f"at {levels[k] / 100:g} hPa most of it has {median:.0f} K")
    warming = [k for k in known if _STRATOSPHERE[0] <= levels[k] <= _STRATOSPHERE[1]]
    if len(warming) > 2:
        bottom, top = max(warming, key=lambda k: levels[k]), min(warming, key=lambda k: levels[k])
        both = np.isfinite(t[bottom]) & np.isfinite(t[top])
        if _mostly(t[bottom] > t[top] + _COLDER, both):
            raise _refused(
                path,
                f"from {levels[bottom] / 100:g} to {levels[top] / 100:g} hPa, where air is warmer "
                f"above, the temperature falls from {np.median(t[bottom][both]):.0f} to "
                f"{np.median(t[top][both]):.0f} K (medians)",
            )
