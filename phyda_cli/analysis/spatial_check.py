r"""The spatial consistency check: every surface observation against what the stations around it
report (Lussana et al. 2010, QJRMS 136, 1075), with the covariance of the fine scales.

That covariance is estimated from the innovations d at hand: the check knows how far stations tell
of each other today, what height and coast do to that, and how large misfits are. The nearest others
predict each station by optimal interpolation,

.. math:: \hat d_i = c_i^T (C + R)^{-1} d, \qquad s_i^2 = C_{ii} + R_{ii} - c_i^T (C + R)^{-1} c_i

and it is rejected where :math:`|d_i - \hat d_i|` is beyond a multiple of s. The worst of a
neighbourhood goes first, and what it may have spoilt is judged again without it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from scipy.spatial import cKDTree

from phyda_cli.analysis import fine_groups as groups
from phyda_cli.analysis.fine_covariance import Points, SmallScale, covariance, separation
from phyda_cli.analysis.fine_drift import drift
from phyda_cli.analysis.fine_estimate import estimate
from phyda_cli.analysis.fine_solve import one_thread
from phyda_cli.fields.grid import Fields
from phyda_cli.observations.qc import set_codes
from phyda_cli.observations.table import QC
from phyda_cli.settings.fine import FineSettings

__all__ = ["Neighbourhoods", "spatial_check"]

NEIGHBOURS = 12
SAMPLE = 150  # stations that the covariance is estimated with
CLOSE, CLOSE_KM = 3, 150.0  # so many others within so many km must be there to have a say
_ROUNDS = 30
_AT_ONCE = 1000  # stations
_NO_SAY = 1e6  # variance of a neighbour that does not count, over that of all


@one_thread()
def spatial_check(
    table: pd.DataFrame,
    background: Fields,
    innovation: np.ndarray,
    factor: float,
    settings: FineSettings,
) -> pd.DataFrame:
    """QC 46 for used surface rows that are more than ``factor`` standard deviations from what other
    stations predict; both components of a wind go together.

    ``innovation`` (P,) is y - H(x_b) in the rows' units. Passive rows are neither checked nor
    consulted. Stations without three others within 150 km, groups of fewer than the settings'
    ``min_stations`` reports, and those without small scales that these can tell are not checked:
    where stations are few, a background that is far off makes good ones disagree.
    """
    bad = np.zeros(len(table), bool)
    usable = np.isfinite(innovation) & (table["qc"] == QC.PASS).to_numpy()
    hofx, error = table["value"].to_numpy() - innovation, table["error"].to_numpy()
    for group, names in groups.GROUPS.items():
        rows = groups.reports(table, usable, names, together=group == "wind")
        if len(rows) < settings.min_stations:
            continue
        of = table.iloc[rows[:, 0]]
        places, ground = groups.stations(background, of)
        residual = innovation[rows] / groups.unit(group, hofx)[rows]
        shape = groups.predictors(group, places, hofx[rows], ground)
        values = residual - shape @ drift(shape, residual)
        values = groups.vectors(places.position, values, group)
        radius, size = settings.radius_km, residual.shape[1]
        apart = groups.one_a_place(places, values, np.ones(len(values)))
        small = estimate(*apart[:2], radius, size, sample=SAMPLE)
        if small is None:
            continue
        noise = float(small.noise) * (error[rows] / np.median(error[rows])).max(axis=1) ** 2
        station = of.groupby(["station_id", "latitude", "longitude"], sort=False).ngroup()
        of_each = station.to_numpy()
        hoods = Neighbourhoods.of(small, places, values, noise, of_each, radius, size)
        bad[rows] |= hoods.inconsistent(factor)[:, None]
    return set_codes(table, bad, QC.SPATIAL)


@dataclass(frozen=True, eq=False)
class Neighbourhoods:
    """Scaled ``values`` (m, V) at ``places`` (m,) with the variance of their ``noise`` (m,), and
    the nearest (m, N) of each, those ``other`` (m, N) than the station itself; a horizontal wind in
    space has two ``components``."""

    small: SmallScale
    places: Points
    values: np.ndarray
    noise: np.ndarray
    near: np.ndarray
    other: np.ndarray
    radius: float
    components: int

    @classmethod
    def of(
        cls,
        small: SmallScale,
        places: Points,
        values: np.ndarray,
        noise: np.ndarray,
        station: np.ndarray,
        radius: float,
        components: int = 1,
    ) -> Neighbourhoods:
        """Those of the numbers ``station`` (m,), of which one may have several reports; of the V
        values ``components`` are independent."""
        count = min(NEIGHBOURS + 1, len(values))
        near = cKDTree(places.position).query(places.position, count)[1]
        other = station[near] != station[:, None]
        return cls(small, places, values, noise, near, other, radius, components)

    def inconsistent(self, factor: float) -> np.ndarray:
        """Which (m,) are beyond ``factor``. The bad ones had their share in the estimate of s, so
        it shrinks to the spread of those that are left."""
        bad = np.zeros(len(self.values), bool)
        ratio = self.misfit(np.arange(bad.size), bad)
        for _ in range(_ROUNDS):
            judged = ratio[(ratio > 0) & ~bad]
            if not judged.size:
                break
            spread = min(1.0, float(np.sqrt(np.mean(judged**2) / self.components)))
            suspect = np.where((ratio > factor * spread) & ~bad, ratio, 0.0)
            around = np.where(self.other, suspect[self.near], 0.0).max(axis=1)
            worst = (suspect > 0) & (suspect >= around)
            if not worst.any():
                break
            bad |= worst
            touched = np.flatnonzero((worst[self.near] & self.other).any(axis=1))
            ratio[touched] = self.misfit(touched, bad)
        return bad

    def misfit(self, rows: np.ndarray, bad: np.ndarray) -> np.ndarray:
        """|d - d^| / s of ``rows`` (k,) without the stations that are ``bad`` (m,); zero where the
        others cannot tell."""
        parts = range(0, len(rows), _AT_ONCE)
        found = [self._some_misfit(rows[i : i + _AT_ONCE], bad) for i in parts]
        return np.concatenate([np.zeros(0), *found])

    def _some_misfit(self, rows: np.ndarray, bad: np.ndarray) -> np.ndarray:
        small, near = self.small, self.near[rows]
        prior, valid = float(small.variance), self.other[rows] & ~bad[near]
        one, others = self.places.take(rows[:, None]), self.places.take(near)
        nothing = _NO_SAY * (prior + self.noise.max())
        noise = torch.from_numpy(np.where(valid, self.noise[near], nothing))
        cross = covariance(small, separation(others, one), self.radius)
        system = covariance(small, separation(others, others), self.radius)
        factor = torch.linalg.cholesky(system + torch.diag_embed(noise))
        weight = torch.cholesky_solve(cross, factor)
        explained = (weight * cross).sum(dim=(1, 2)).numpy()
        given = torch.from_numpy(np.where(valid[..., None], self.values[near], 0.0))
        misfit = self.values[rows] - (weight * given).sum(dim=1).numpy()
        ratio = np.sqrt((misfit**2).sum(axis=1) / (prior - explained + self.noise[rows]))
        apart = np.linalg.norm(others.position - one.position, axis=-1)
        return np.where((valid & (apart < CLOSE_KM)).sum(axis=1) >= CLOSE, ratio, 0.0)
