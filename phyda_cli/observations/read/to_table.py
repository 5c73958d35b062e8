"""From columns of decoded reports to the observation table and the account of every report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from phyda_cli.observations.report import Note, Problem, ReadResult
from phyda_cli.observations.table import QC, by_position, concat, make

__all__ = ["Values", "assemble"]

_PLACE = ("station_id", "time", "latitude", "longitude", "elevation", "pressure", "height")


@dataclass(frozen=True)
class Values:
    """One variable of N reports in canonical units, NaN where not reported.

    ``upper`` values need a pressure or height, the others have none. ``error`` and ``flag`` (a QC
    code) are (N,); ``elevation`` (N,) replaces the report's where the instrument stands elsewhere.
    """

    variable: str
    value: np.ndarray
    upper: bool = False
    error: np.ndarray | None = None
    flag: np.ndarray | None = None
    elevation: np.ndarray | None = None


def assemble(
    file: str,
    row: np.ndarray,
    place: Mapping[str, np.ndarray],
    values: Sequence[Values],
    doubts: Sequence[tuple[np.ndarray, QC, str]] = (),
    lost: Sequence[Problem] = (),
    ignored: Sequence[str] = (),
    notes: Sequence[Note] = (),
) -> ReadResult:
    """The table of ``values`` at N reports, variable after variable within each report, and the
    account.

    ``row`` (N,) is where each report stands in ``file``; ``place`` has station_id, time, latitude
    and longitude (N,) and may have elevation, pressure and height. ``doubts`` are masks (N,) with a
    code and, for a problem to be told, a reason; the first wins. ``lost`` are rows that could not
    be decoded at all: they count as unreadable. A report without an identifier is named by its
    position.
    """
    size = len(row)
    latitude, longitude = place["latitude"], place["longitude"]
    level = np.isnan(place.get("pressure", np.full(size, np.nan))) & np.isnan(
        place.get("height", np.full(size, np.nan))
    )
    outside = (np.abs(latitude) > 90) | (longitude < -180) | (longitude > 360)
    checks = [
        (np.isnan(latitude) | np.isnan(longitude), QC.PRE_QC, "no position"),
        (np.isnat(place["time"]), QC.PRE_QC, "no readable time"),
        (outside, QC.DOMAIN, "latitude outside -90..90 or longitude outside -180..360"),
        *doubts,
    ]
    code, reason = _first(checks, size)
    present = np.array([~np.isnan(v.value) for v in values], bool).reshape(len(values), size).T
    upper = np.array([v.upper for v in values], bool)
    floating = present & upper & (level & (code == 0))[:, None]
    index, variable = np.nonzero(present)

    def stack(arrays: list[np.ndarray]) -> np.ndarray:
        return np.array(arrays, float).reshape(len(values), size).T[index, variable]

    nothing = np.full(size, np.nan)
    flags = stack([np.zeros(size) if v.flag is None else v.flag for v in values])
    place = dict(place)
    if "station_id" in place:
        place["station_id"] = by_position(place["station_id"], latitude, longitude)
    columns = {k: place[k][index] for k in _PLACE if k in place}
    for name in ("pressure", "height"):
        if name in columns:
            columns[name] = np.where(upper[variable], columns[name], np.nan)
    columns["elevation"] = stack(
        [place.get("elevation", nothing) if v.elevation is None else v.elevation for v in values]
    )
    own = np.where(code[index] != 0, code[index], flags)
    table = (
        make(
            **columns,
            variable=np.array([v.variable for v in values], object)[variable],
            value=stack([v.value for v in values]),
            error=stack([nothing if v.error is None else v.error for v in values]),
            qc=np.where(floating[index, variable] & (own == 0), QC.PRE_QC, own),
            file=file,
            row=np.asarray(row)[index],
        )
        if index.size
        else concat([])
    )
    filled = present.any(axis=1)
    reason[floating.any(axis=1)] = "a level without pressure or height"
    told = [
        Problem(file, int(row[i]), str(reason[i])) for i in np.flatnonzero(filled & (reason != ""))
    ]
    return ReadResult(
        table=table,
        rows_read=size + len(lost),
        rows_with_values=int(filled.sum()),
        rows_without_values=int((~filled).sum()),
        rows_unreadable=len(lost),
        problems=sorted([*told, *lost], key=lambda p: p.row),
        ignored_columns={file: list(ignored)} if ignored else {},
        notes=list(notes),
    )


def _first(
    checks: Sequence[tuple[np.ndarray, QC, str]], size: int
) -> tuple[np.ndarray, np.ndarray]:
    """The code and the reason of the first of ``checks`` whose mask holds, 0 and nothing where none
    does, (size,) each."""
    code, reason = np.zeros(size, int), np.full(size, "", object)
    for mask, verdict, text in checks:
        new = mask & (code == 0)
        code[new], reason[new] = verdict, text
    return code, reason
