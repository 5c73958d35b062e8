"""Which fields two files share, and which of their grids to compare them on."""

from __future__ import annotations

import numpy as np

from phyda_cli.errors import InputError
from phyda_cli.fields.grid import Fields, Grid
from phyda_cli.fields.mesh import Mesh
from phyda_cli.fields.remap import present
from phyda_cli.names import STATICS, Channel

__all__ = ["coarser", "common_channels", "level_name", "nested"]


def _existing(fields: Fields) -> list[Channel]:
    levels = present(fields)
    upper = [
        Channel(v, float(p) / 100)
        for v in fields.upper
        for p, there in zip(fields.levels, levels[v], strict=True)
        if there
    ]
    surface = [
        Channel(v)
        for v, values in fields.surface.items()
        if v not in STATICS and not np.isnan(values).all()
    ]
    return upper + surface


def common_channels(fields: Fields, truth: Fields) -> list[Channel]:
    """The variables and levels (equal to 0.1 %) that both have, in the order of ``fields``.
    InputError when there is none."""
    ours, theirs = _existing(fields), _existing(truth)
    shared = [c for c in ours if any(_same(c, d) for d in theirs)]
    if not shared:
        raise InputError(
            f"the two have no variable and level in common: one has {_listed(ours)}; the other "
            f"{_listed(theirs)}",
            hint="compare files with the same variables on the same pressure levels",
        )
    return shared


def _same(a: Channel, b: Channel) -> bool:
    if a.variable != b.variable or (a.level is None) != (b.level is None):
        return False
    return a.level is None or b.level is None or abs(a.level - b.level) <= 1e-3 * b.level


def _listed(channels: list[Channel]) -> str:
    shown = ", ".join(c.key for c in channels[:12])
    return f"{shown or 'nothing'}{f', … ({len(channels)} in all)' if len(channels) > 12 else ''}"


def coarser(a: Grid, b: Grid) -> Grid:
    """The grid with the larger cells; the second of two alike."""
    return a if a.spacing > 1.005 * b.spacing else b


def nested(small: Grid, large: Grid) -> bool:
    """Whether every point of ``small`` is one of ``large``'s, so that nothing is interpolated."""
    if isinstance(small, Mesh) or isinstance(large, Mesh):
        return small.same_as(large)
    rows = np.abs(small.latitude[:, None] - large.latitude).min(axis=1)
    away = (small.longitude[:, None] - large.longitude + 180) % 360 - 180
    return bool(rows.max() < 1e-4 and np.abs(away).min(axis=1).max() < 1e-4)


def level_name(channel: Channel) -> str:
    """``850`` for 850 hPa, empty at the surface."""
    return "" if channel.level is None else f"{channel.level:g}"
