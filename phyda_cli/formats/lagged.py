"""Lagged forecasts: those of other starts that are valid at the background's time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from phyda_cli.errors import InputError
from phyda_cli.fields.grid import Fields
from phyda_cli.files.worker import apart
from phyda_cli.formats.background import Background, background_of
from phyda_cli.formats.inputs import FieldInput, name_of, open_forecast

__all__ = ["Lagged", "read_lagged"]


@dataclass(frozen=True, eq=False)
class Lagged:
    """The ``members`` and what to say about them, nothing where there are none."""

    members: tuple[Fields, ...] = ()
    notes: tuple[str, ...] = ()


def read_lagged(
    given: Sequence[FieldInput],
    own: Sequence[FieldInput],
    background: Background,
    rename: Mapping[str, str],
) -> Lagged:
    """One forecast of each start other than the background's that is valid at its time: of every
    file of ``given``, and of the background's ``own`` files where they hold several starts.

    A forecast of zero hours is somebody's analysis, with observations of the time in it, and not
    taken. Raises InputError where ``given`` holds none.
    """
    time, start = background.fields.time, _start(background.fields)
    found: dict[object, Fields] = {}
    without = []
    if background.starts == 1:  # it need not be read again
        own = [path for path in own if name_of(path) != background.path]
    for path in [*given, *own]:
        of_background = any(path is other for other in own)
        there = _valid_at(path, time, of_background, rename)
        if not there and not of_background:
            without.append(name_of(path).name)
        for fields in there:
            began = _start(fields)
            if began != start or (not of_background and began == time):
                # a file that states no start is told apart by its name
                found.setdefault(str(name_of(path)) if began == time else began, fields)
    if given and not found:
        raise InputError(
            f"no forecast of --lagged is of another start and valid at {str(time)[:16]}; looked in "
            f"{', '.join(name_of(path).name for path in given[:5])}",
            hint="give forecasts that started before the background and reach its time",
        )
    notes = []
    if found:
        hours = sorted(f.lead_hours for f in found.values())
        ages = ", ".join(f"{h:g}" for h in hours[:12])
        notes.append(
            f"{len(found)} lagged forecasts as members beside the static ones, {ages} h old"
        )
    if without:
        notes.append(f"{len(without)} lagged files do not hold the time, such as {without[0]}")
    return Lagged(tuple(found.values()), tuple(notes))


def _start(fields: Fields) -> np.datetime64:
    """When a forecast started."""
    lead = np.timedelta64(round(fields.lead_hours * 3600), "s")
    return np.datetime64(fields.time.astype("datetime64[s]") - lead, "s")


@apart()
def _valid_at(
    path: FieldInput, time: np.datetime64, stated: bool, rename: Mapping[str, str]
) -> list[Fields]:
    """The forecasts of an input that are valid at ``time``, the first member of each; with their
    start ``stated`` only."""
    series = open_forecast(path, rename)
    with closing(series.frames):
        at = np.flatnonzero(series.valid == time)
        taken = [i for i in at if series.lead[i] > 0 or not (series.forecasts or stated)]
        first = {series.lead[i]: int(i) for i in reversed(taken)}
        return [background_of(series, index, rename).fields for index in first.values()]
