"""Scores of fields against fields, by variable and level, area-weighted, on the coarser of the two
grids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from phyda_cli.errors import InputError
from phyda_cli.fields.grid import Fields, Grid
from phyda_cli.fields.remap import present, to_grid
from phyda_cli.names import VARIABLES, Channel
from phyda_cli.verification.scores import crps_ensemble, crps_gaussian, mae, mean, rms

__all__ = ["FieldScore", "coarser", "common_channels", "score_fields"]

_STATIC = ("orography", "lsm")


@dataclass(frozen=True)
class FieldScore:
    """Scores of one channel in its ``units``; None what could not be computed.

    ``n`` points with both values; ``background_*`` and ``ratio`` (of the RMSEs) when a background
    was given; ``spread`` the root mean analysis variance, ``spread_skill`` that over the RMSE,
    ``crps`` that of the members, else of the Gaussian.
    """

    channel: str
    units: str
    n: int
    rmse: float
    bias: float
    mae: float
    background_rmse: float | None = None
    background_bias: float | None = None
    ratio: float | None = None
    spread: float | None = None
    spread_skill: float | None = None
    crps: float | None = None

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self)


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
        if v not in _STATIC and not np.isnan(values).all()
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
    cell = [
        abs(float(np.median(np.diff(g.latitude)) * np.median(np.diff(g.longitude)))) for g in (a, b)
    ]
    return a if cell[0] > 1.01 * cell[1] else b


def score_fields(
    analysis: Fields,
    truth: Fields,
    background: Fields | None = None,
    spread: Fields | None = None,
    members: Sequence[Fields] = (),
) -> list[FieldScore]:
    """Scores of every variable and level that ``analysis`` and ``truth`` (and ``background``)
    share.

    Everything is taken to the coarser grid first; points outside either area do not count. Raises
    InputError when there is nothing in common, or no point.
    """
    channels = common_channels(analysis, truth)
    if background is not None:
        wanted = {c.key for c in common_channels(background, truth)}
        channels = [c for c in channels if c.key in wanted] or channels
    grid = coarser(analysis.grid, truth.grid)
    target = to_grid(truth, channels, grid)[0]
    error = to_grid(analysis, channels, grid)[0] - target
    if not np.isfinite(error).any():
        raise InputError("the two cover no common area", hint="compare files of the same region")
    before = None if background is None else to_grid(background, channels, grid)[0] - target
    widths = None if spread is None else to_grid(spread, channels, grid)[0]
    ensemble = np.stack([to_grid(m, channels, grid)[0] for m in members]) if members else None
    weights = grid.area_weights[:, None]
    return [
        _score(
            channel,
            weights,
            error[i],
            None if before is None else before[i],
            None if widths is None else widths[i],
            None if ensemble is None else ensemble[:, i] - target[i],
        )
        for i, channel in enumerate(channels)
        if np.isfinite(error[i]).any()
    ]


def _score(
    channel: Channel,
    weights: np.ndarray,
    error: np.ndarray,
    before: np.ndarray | None,
    widths: np.ndarray | None,
    members: np.ndarray | None,
) -> FieldScore:
    """Scores from errors (H, W), spread (H, W) and members' errors (M, H, W)."""
    rmse = rms(error, weights)
    background_rmse = None if before is None else _known(rms(before, weights))
    width = crps = None
    if members is not None and members.shape[0] > 1 and np.isfinite(members).any():
        # The finite ensemble's mean has an error of its own: without the factor it would look too
        # narrow.
        width = _known(
            rms(members.std(axis=0, ddof=1), weights) * np.sqrt(1 + 1 / members.shape[0])
        )
        crps = _known(mean(crps_ensemble(members, np.zeros(())), weights))
    elif widths is not None:
        width = _known(rms(np.where(np.isfinite(error), widths, np.nan), weights))
        crps = _known(mean(crps_gaussian(error, widths, np.zeros(())), weights))
    return FieldScore(
        channel=channel.key,
        units=VARIABLES[channel.variable].units,
        n=int(np.isfinite(error).sum()),
        rmse=rmse,
        bias=mean(error, weights),
        mae=mae(error, weights),
        background_rmse=background_rmse,
        background_bias=None if before is None else _known(mean(before, weights)),
        ratio=rmse / background_rmse if background_rmse else None,
        spread=width,
        spread_skill=width / rmse if width is not None and rmse > 0 else None,
        crps=crps,
    )


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
