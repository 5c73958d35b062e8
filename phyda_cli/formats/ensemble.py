"""An ensemble of forecasts: members in one file or in several, and their mean as a background."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace

import numpy as np
import xarray as xr

from phyda_cli.errors import InputError, UsageError
from phyda_cli.fields.grid import Fields
from phyda_cli.files.worker import apart
from phyda_cli.formats.background import Background, background_of
from phyda_cli.formats.inputs import FieldInput, name_of, open_forecast

__all__ = ["member_labels", "read_ensemble"]


@apart()
def member_labels(
    path: FieldInput,
    rename: Mapping[str, str] | None = None,
    assume: np.datetime64 | None = None,
) -> list[int | str]:
    """The members that a file tells apart, none for a file of a single forecast. Raises
    InputError."""
    series = open_forecast(path, rename, assume)
    with closing(series.frames):
        return series.labels


def read_ensemble(
    paths: Sequence[FieldInput],
    time: np.datetime64 | None = None,
    near: np.datetime64 | None = None,
    rename: Mapping[str, str] | None = None,
    assume: np.datetime64 | None = None,
) -> tuple[Background, list[Fields]]:
    """The mean of all members of all files, in the layout of the first, and every member.

    Arguments as in :func:`read_background`; all members are of the time of the first. Raises
    InputError where their grids, levels or variables differ, UsageError when there are fewer than
    two.
    """
    first: Background | None = None
    sums: dict[str, np.ndarray] = {}
    members: list[Fields] = []
    for found, label in _members(paths, time, near, rename, assume):
        first = first or found
        _check_same(first, found, label)
        members.append(found.fields)
        for name, values in _numbers(found.source).items():
            sums[name] = sums.get(name, 0.0) + values.astype(np.float64)
    if first is None or len(members) < 2:
        listed = ", ".join(name_of(p).name for p in paths)
        raise UsageError(
            f"an ensemble needs at least two members, found {len(members)} in {listed}",
            hint="give all files with --ensemble",
        )
    source = first.source.assign(
        {
            name: (
                first.source[name].dims,
                (total / len(members)).astype(first.source[name].dtype),
                first.source[name].attrs,
            )
            for name, total in sums.items()
        }
    )
    files = first.path.name if len(paths) == 1 else f"{len(paths)} files"
    notes = [note for note in first.notes if not note.startswith("member ")]
    return replace(
        first,
        fields=_mean(members),
        source=source,
        frame=None,
        notes=[f"mean of {len(members)} members of {files}", *notes],
    ), members


def _members(
    paths: Sequence[FieldInput],
    time: np.datetime64 | None,
    near: np.datetime64 | None,
    rename: Mapping[str, str] | None,
    assume: np.datetime64 | None,
) -> Iterator[tuple[Background, int | str | None]]:
    """Every member of every file, at the time of the first; each file is opened once."""
    for path in paths:
        for found, label in _members_of(path, time, near, rename, assume):
            time = found.fields.time
            yield found, label


@apart()
def _members_of(
    path: FieldInput,
    time: np.datetime64 | None,
    near: np.datetime64 | None,
    rename: Mapping[str, str] | None,
    assume: np.datetime64 | None,
) -> Iterator[tuple[Background, int | str | None]]:
    """Every member of one file, at the time of the first."""
    series = open_forecast(path, rename, assume if time is None else time)
    with closing(series.frames):
        labels: list[int | str | None] = [*series.labels] or [None]
        for label in labels:
            found = background_of(series, series.find(time, near, label), rename)
            time = found.fields.time
            yield found, label


def _numbers(source: xr.Dataset) -> dict[str, np.ndarray]:
    return {
        str(n): v.values for n, v in source.data_vars.items() if np.issubdtype(v.dtype, np.floating)
    }


def _mean(members: Sequence[Fields]) -> Fields:
    """The mean, in double precision."""
    first = members[0]

    def mean(kind: str) -> dict[str, np.ndarray]:
        stacks = {
            name: np.stack([getattr(m, kind)[name] for m in members])
            for name in getattr(first, kind)
        }
        return {
            name: np.asarray(stack.mean(axis=0, dtype=np.float64)) for name, stack in stacks.items()
        }

    return replace(first, upper=mean("upper"), surface=mean("surface"))


def _check_same(first: Background, other: Background, label: int | str | None) -> None:
    ours, theirs = first.fields, other.fields
    differs = [
        what
        for what, same in {
            "grid": ours.grid.same_as(theirs.grid),
            "levels": ours.levels.shape == theirs.levels.shape
            and bool(np.allclose(ours.levels, theirs.levels)),
            "variables": (set(ours.upper), set(ours.surface))
            == (set(theirs.upper), set(theirs.surface)),
            "layout": {n: v.shape for n, v in _numbers(first.source).items()}
            == {n: v.shape for n, v in _numbers(other.source).items()},
        }.items()
        if not same
    ]
    if differs:
        which = other.path.name if label is None else f"member {label} of {other.path.name}"
        raise InputError(
            f"not one ensemble: {which} differs from {first.path.name} in its {differs[0]}"
        )
