"""Rows of levels aloft that would pass as reports of the surface: a text table whose column of
levels is not known as one, or has no zero or unit that anyone could know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from phyda_cli.errors import InputError
from phyda_cli.observations.read.cells import Cells
from phyda_cli.observations.read.columns import ObservationMap
from phyda_cli.observations.read.header import bare_name

__all__ = ["refuse_hidden_levels"]

_PRESSURE = 'pressure = {{ column = "{name}", unit = "hPa" }}'
_SEA = 'height = {{ column = "{name}", unit = "m" }} if it is above the sea'
_GROUND = (
    'height = {{ column = "{name}", unit = "m", offset = 100 }}, with the height of the ground '
    "above the sea as the offset"
)
_FLIGHT = 'height = {{ column = "{name}", unit = "ft", scale = 100 }}'
_ALWAYS = {  # a mapping file's way to give a level, and names that are levels in any case
    _PRESSURE: ("level", "lev", "pressure_level", "plevel"),
    _FLIGHT: ("flight_level", "flightlevel", "fl"),
    _GROUND: ("height_agl", "agl", "height_above_ground", "heightagl", "hagl"),
}
_IN_PROFILES = {  # names that are levels where they differ within one report
    _PRESSURE: ("pres", "press", "prs", "p_hpa"),
    _SEA: ("height", "hght", "gph", "gh", "geopotential_height", "altitude", "alt", "z", "hgt"),
}


def refuse_hidden_levels(table: Cells, chosen: ObservationMap) -> None:
    """Raise InputError for a wide table without a level where a column that is not used says that
    its rows are levels."""
    if chosen.long or chosen.pressure is not None or chosen.height is not None:
        return
    used = {name.casefold() for name in (*chosen.columns(), *chosen.ignore)}
    for name in table.header:
        if name.casefold() in used:
            continue
        text = bare_name(name)
        always, in_profiles = _way(_ALWAYS, text), _way(_IN_PROFILES, text)
        if not (always or in_profiles):
            continue
        numbers = pd.to_numeric(table.column(name), errors="coerce")
        several = _differs_in_a_report(numbers, table, chosen)
        if several or (always and numbers.notna().any()):
            way = (always or in_profiles).format(name=name)
            raise InputError(
                f"{table.file}: column {name!r} says at which level a row is, and it is not known "
                "in which way",
                hint=f"say it in a mapping file (--obs-map): {way}; a level that "
                f'says nothing is left out with ignore = ["{name}"]',
            )


def _way(names: Mapping[str, Sequence[str]], name: str) -> str:
    return next((way for way, known in names.items() if name in known), "")


def _differs_in_a_report(numbers: pd.Series, table: Cells, chosen: ObservationMap) -> bool:
    """Whether most rows share station, time and place with another one, but not the level."""
    assert chosen.time is not None
    columns = [c for c in (chosen.station_id, chosen.latitude, chosen.longitude) if c is not None]
    report = pd.Series("", index=range(len(table.line)))
    for cells in (*(table.column(n) for n in chosen.time.columns), *(table.of(c) for c in columns)):
        report = report + "|" + cells
    known = numbers.notna()
    levels = numbers[known].groupby(report[known]).transform("nunique")
    return bool(len(levels) > 1 and (levels > 1).mean() > 0.5)
